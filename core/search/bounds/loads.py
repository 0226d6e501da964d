"""Work divided over the cluster: prices per resource, and what they prove.

For prices y >= 0 of resource time and z >= 0 of bytes held, every item pays at least its cheapest
option, and all that can be paid for is y * capacity * time plus z * capacity. A linear program
gives good prices; any prices give a valid bound, so nothing rests on the solver's word.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from attrs import frozen

from parplan.errors import SolverError
from parplan.search.bounds.instance import Array
from parplan.search.bounds.one_machine import ROUNDING, preemptive_bound
from parplan.search.bounds.usage import Index, Usage

CLASSES = 200
"""Most classes of items that the linear program tells apart."""


@frozen(eq=False)
class Prices:
    """Prices per unit: of resource time (rows up to R) and of what is held throughout (the rest).

    Scaled so that all resources together can pay 1 per tick, ``sum(y * capacity) = 1``.
    """

    values: Array
    held: float
    """What can be paid for held bytes: sum of z * capacity."""


def find_prices(usage: Usage, capacities: Array, least: float) -> Prices | None:
    """Return prices that make the whole load's bound large; None if nothing is used at all.

    Parameters
    ----------
    capacities
        Of each resource, ``(R,)``.
    least
        A known bound of the makespan in ticks, to set aside idle time before first tasks.
    """
    timed = usage.row < len(capacities)
    if not (usage.amount[timed] > 0).any():
        return None
    duals = _solve(usage, capacities, least)
    y, z = duals[: len(capacities)], duals[len(capacities) :]
    total = float(y @ capacities)
    if not total > 0:
        return None
    values = np.concatenate([y, z]) / total
    return Prices(values, float(values[len(capacities) :] @ capacities))


def load_bound(usage: Usage, prices: Prices) -> float:
    """Return the bound of all subsets of items by head and tail: head + load + tail."""
    paid = usage.cost(prices.values)
    return preemptive_bound(usage.heads, paid, usage.tails) - prices.held * (1 + ROUNDING)


def idle_bound(usage: Usage, prices: Prices, capacities: Array, least: float) -> float:
    """Return the bound of the whole load, with each resource idle at first and at last."""
    idle = np.minimum(idle_times(usage, len(capacities)), least)
    paid = float(usage.cost(prices.values).sum())
    apart = float((prices.values[: len(capacities)] * capacities) @ idle)
    return (paid + apart) * (1 - ROUNDING) - prices.held * (1 + ROUNDING)


def idle_times(usage: Usage, count: int) -> Array:
    """Return the least head plus the least tail of whatever may use each resource, ``(R,)``."""
    heads, tails = np.full(count, np.inf), np.full(count, np.inf)
    at = (usage.row < count) & (usage.amount > 0)
    np.minimum.at(heads, usage.row[at], usage.option_heads[usage.option[at]])
    np.minimum.at(tails, usage.row[at], usage.option_tails[usage.option[at]])
    total = heads + tails
    return np.where(np.isfinite(total), total, 0.0)


def _solve(usage: Usage, capacities: Array, least: float) -> Array:
    """Return the row duals of the division of all load, ``(2 R,)``, none negative.

    minimise T; sum_a x_ca = 1 for each class c; sum_ca use_car x_ca <= capacity_r (T - idle_r) for
    resource time, <= capacity_r for what is held.
    """
    count = len(capacities)
    options, entries = _classes(usage)
    rows = np.unique(entries[1])
    place = np.full(2 * count, -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    timed = rows < count
    limit = np.concatenate([capacities, capacities])[rows]
    idle = np.minimum(idle_times(usage, count), least)
    scale = max(1.0, float(entries[2][entries[1] < count].max()))
    scales = np.where(timed, scale, np.maximum(limit, 1.0))
    upper = np.where(timed, -limit * np.append(idle, idle)[rows], limit) / scales
    import highspy  # takes long to load, and many searches end before they need it

    model = highspy.Highs()
    model.silent()
    model.setOptionValue("threads", 1)
    infinity = highspy.kHighsInf
    model.addVar(0.0, infinity)
    model.changeColCost(0, 1.0)
    for r in range(len(rows)):
        at = np.array([0] if timed[r] else [], dtype=np.int32)
        model.addRow(-infinity, upper[r], len(at), at, np.array([-limit[r]] * len(at)))
    for class_rows in options:
        start = model.getNumCol()
        for option in class_rows:
            at = entries[0] == option
            index = place[entries[1][at]]
            model.addCol(
                0.0,
                0.0,
                infinity,
                len(index),
                index.astype(np.int32),
                entries[2][at] / scales[index],
            )
        columns = np.arange(start, model.getNumCol(), dtype=np.int32)
        model.addRow(1.0, 1.0, len(columns), columns, np.ones(len(columns)))
    # Its threads are one pool per process, and a model that asks for another number is refused:
    # here after whoever used HiGHS before, and in a fork after this.
    highspy.Highs.resetGlobalScheduler(True)
    model.run()
    highspy.Highs.resetGlobalScheduler(True)
    duals = np.zeros(2 * count)
    status = model.getModelStatus()
    if status == highspy.HighsModelStatus.kInfeasible:
        return duals  # the parameters do not fit, however they are divided
    if status != highspy.HighsModelStatus.kOptimal:
        message = f"stopped with {model.modelStatusToString(status)} on the division of the load"
        raise SolverError(message, solver="highs")
    found = np.array(list(model.getSolution().row_dual)[: len(rows)], dtype=float)
    duals[rows] = np.maximum(-found, 0.0) / scales
    return duals


def _classes(usage: Usage) -> tuple[list[range], tuple[Index, Index, Array]]:
    """Return the options of each class, and the entries of all, alike items added up.

    Items with the same proportions between their options are one class without loss. If that
    leaves too many, proportions are rounded more and more coarsely, which can only blunt the
    prices; of what is still too many the largest are taken.
    """
    order = np.argsort(usage.option, kind="stable")
    option, row, amount = usage.option[order], usage.row[order], usage.amount[order]
    bounds = np.searchsorted(option, np.append(usage.first, len(usage.option_heads)))
    for digits in (6, 2, 1, 0):
        classes: dict[bytes, list[int]] = {}
        for item, (low, high) in enumerate(pairwise(bounds.tolist())):
            part = amount[low:high]
            ratio = np.round(part / max(float(part.max(initial=0.0)), 1e-300), digits)
            usable = np.isfinite(usage.option_heads[usage.first[item] : usage.last[item]])
            local = option[low:high] - usage.first[item]
            key = local.tobytes() + row[low:high].tobytes() + ratio.tobytes() + usable.tobytes()
            classes.setdefault(key, []).append(item)
        if len(classes) <= CLASSES:
            break
    groups = sorted(
        classes.values(),
        key=lambda items: -sum(amount[bounds[i] : bounds[i + 1]].sum() for i in items),
    )[:CLASSES]
    options: list[range] = []
    entries: list[tuple[Index, Index, Array]] = []
    offset = 0
    for items in groups:
        one = items[0]
        spans = [slice(bounds[i], bounds[i + 1]) for i in items]
        usable = np.isfinite(usage.option_heads[usage.first[one] : usage.last[one]])
        local = option[spans[0]] - usage.first[one]
        total = np.sum([amount[s] for s in spans], axis=0)
        number = np.cumsum(usable) - 1
        keep = usable[local]
        entries.append((number[local[keep]] + offset, row[spans[0]][keep], total[keep]))
        options.append(range(offset, offset + int(usable.sum())))
        offset += int(usable.sum())
    return options, (
        np.concatenate([e[0] for e in entries]),
        np.concatenate([e[1] for e in entries]),
        np.concatenate([e[2] for e in entries]),
    )
