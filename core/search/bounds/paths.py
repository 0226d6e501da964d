"""Heads and tails of every task in every choice, and the bounds that rest on paths alone."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from attrs import frozen

from parplan.errors import InfeasibleError
from parplan.search.bounds.beside import Beside
from parplan.search.bounds.instance import Arc, Array, Instance, is_step
from parplan.search.bounds.one_machine import secured
from parplan.search.bounds.plain_paths import plain_windows


@frozen(eq=False)
class Windows:
    """Earliest starts and least remainders, in ticks.

    Attributes
    ----------
    heads
        Earliest start of a task in each choice, ``(columns, A)`` per operator.
    tails
        Least time from a task's end to the end of the schedule, likewise.
    series
        Least time between the first start and the last end of an operator's microbatches, which
        share one choice, ``(groups, A)`` per operator.
    """

    instance: Instance
    heads: tuple[Array, ...]
    tails: tuple[Array, ...]
    series: tuple[Array, ...]

    @cached_property
    def head(self) -> tuple[Array, ...]:
        """Least head of each task over its choices, ``(columns,)`` per operator."""
        return tuple(h.min(axis=1) for h in self.heads)

    @cached_property
    def tail(self) -> tuple[Array, ...]:
        """Least tail of each task over its choices, ``(columns,)`` per operator."""
        return tuple(t.min(axis=1) for t in self.tails)


def find_windows(instance: Instance) -> Windows:
    """Return heads and tails; a longest path in which each reader picks its best producer.

    Several producers of one reader count together, too, in graphs that are not large: see
    ``beside``.

    Raises
    ------
    InfeasibleError
        If an operator has no choice whose inputs and outputs can reach it.
    """
    series = tuple(_series(instance, o) for o in range(len(instance.choices)))
    beside = Beside(instance)
    plain = None if beside.applies else plain_windows(instance)
    if plain is not None:
        for times in plain:
            _check_all(instance, times)
        return Windows(instance, *plain, series)
    with np.errstate(invalid="ignore"):
        heads, tails = _heads(instance, series, beside), _tails(instance, series, beside)
    return Windows(instance, heads, tails, series)


def _heads(instance: Instance, series: tuple[Array, ...], beside: Beside) -> tuple[Array, ...]:
    """Return the earliest starts, producers first."""
    heads: list[Array] = [np.zeros(0)] * len(instance.choices)
    for o in instance.order:
        columns = instance.columns_of(o)
        release = np.array([[float(c.release)] for c in columns])
        found = np.where(instance.usable[o], release, np.inf)
        for arc in instance.incoming[o]:
            found = np.maximum(found, arrival(instance, heads, series, arc))
        together = beside.heads(heads, o)
        if together is not None:
            found = np.maximum(found, together)
        _check(instance, o, found)
        heads[o] = found
    return tuple(heads)


def _tails(instance: Instance, series: tuple[Array, ...], beside: Beside) -> tuple[Array, ...]:
    """Return the least remainders, readers first."""
    tails: list[Array] = [np.zeros(0)] * len(instance.choices)
    for o in reversed(instance.order):
        found = np.where(instance.usable[o], 0.0, np.inf)
        for arc in instance.outgoing[o]:
            found = np.maximum(found, remainder(instance, tails, series, arc))
        together = beside.tails(tails, o)
        if together is not None:
            found = np.maximum(found, together)
        _check(instance, o, found)
        tails[o] = found
    return tuple(tails)


def _check_all(instance: Instance, times: tuple[Array, ...]) -> None:
    for operator in instance.order:
        _check(instance, operator, times[operator])


def _check(instance: Instance, operator: int, times: Array) -> None:
    if np.isinf(times.min(axis=1)).any():
        name = instance.problem.graph.operators[operator].name
        raise InfeasibleError(
            f"operator '{name}' has no mode and device that fit its neighbours: there is no route, "
            "or no mode that writes what the other reads, in the same layout",
            conflict=(name,),
            repair="add a route, a device or a mode",
        )


def _series(instance: Instance, operator: int) -> Array:
    """Return the time all microbatches of a group need, one choice for all, ``(groups, A)``."""
    columns = instance.columns_of(operator)
    ticks, share = instance.ticks[operator], instance.shares[instance.use[operator]]
    result = np.zeros((1 + max(c.group for c in columns), ticks.shape[1]))
    for row, column in enumerate(columns):
        result[column.group] += column.count * ticks[row] * share
    for row, column in enumerate(columns):
        result[column.group] = np.maximum(result[column.group], ticks[row])
    return result


def arrival(instance: Instance, heads: list[Array], series: tuple[Array, ...], arc: Arc) -> Array:
    """Return when an arc lets its reader start, ``(columns of the reader, A)``."""
    graph, before = instance.problem.graph, arc.before
    start, ticks = heads[before], instance.ticks[before]
    if arc.tensor < 0:
        from_edge = start if arc.from_start else start + ticks
        times: Array = from_edge.min(axis=1, keepdims=True) + arc.lag
        return times - instance.ticks[arc.after] if arc.to_end else times
    end = start + ticks
    found = []
    for row, column in enumerate(instance.columns_of(before)):
        delays = instance.delays(arc, column.microbatch)
        found.append(_least(end[row][:, None] + delays))
    result = np.array(found)
    if is_step(graph, arc.after) and not is_step(graph, before):
        result = result.max(axis=0, keepdims=True)
        for group, last in enumerate(series[before]):
            rows = [c for c, k in enumerate(instance.columns) if k.group == group]
            ends = start[rows].min(axis=0) + last
            delays = instance.delays(arc, _smallest(instance, rows))
            result = np.maximum(result, _least(ends[:, None] + delays))
    return result


def remainder(instance: Instance, tails: list[Array], series: tuple[Array, ...], arc: Arc) -> Array:
    """Return how long after the producer's end all must take, ``(columns of the producer, A)``."""
    graph, after = instance.problem.graph, arc.after
    ticks, tail = instance.ticks[after], tails[after]
    if arc.tensor < 0:
        to_edge = tail if arc.to_end else ticks + tail
        times: Array = to_edge.min(axis=1, keepdims=True) + arc.lag
        return times - instance.ticks[arc.before] if arc.from_start else times
    rest = ticks + tail
    found = []
    readers = instance.columns_of(after)
    for row, column in enumerate(instance.columns_of(arc.before)):
        delays = instance.delays(arc, column.microbatch)
        if len(readers) == 1 or not is_step(graph, arc.before):
            mine = rest[row if len(readers) > 1 else 0]
            found.append(_least(mine[:, None] + delays.T))
        else:
            found.append(np.max([_least(r[:, None] + delays.T) for r in rest], axis=0))
    result = np.array(found)
    if is_step(graph, arc.before) and not is_step(graph, after):
        delays = instance.delays(arc, -1)
        for group, last in enumerate(series[after]):
            rows = [c for c, k in enumerate(instance.columns) if k.group == group]
            rests = tail[rows].min(axis=0) + last
            result = np.maximum(result, _least(rests[:, None] + delays.T))
    return result


def _least(times: Array) -> Array:
    """Return the least of each column; a reader that does not read is never held up."""
    # Infinite minus infinite is a producer that cannot run: fmin passes over such entries.
    least: Array = np.fmin.reduce(times, axis=0)
    return least


def _smallest(instance: Instance, rows: list[int]) -> int:
    """Return a microbatch of the smallest tensors among some columns."""
    scale = instance.problem.workload.scale
    return min((instance.columns[r].microbatch for r in rows), key=scale)


def critical_path(windows: Windows) -> float:
    """Return the longest path: a task's head, itself and its tail in its best choice."""
    best = 0.0
    for heads, ticks, tails in zip(
        windows.heads, windows.instance.ticks, windows.tails, strict=True
    ):
        best = max(best, float((heads + ticks + tails).min(axis=1).max()))
    return best


def operator_series(windows: Windows) -> float:
    """Return the longest way in, all microbatches of one operator, way out."""
    instance, best = windows.instance, 0.0
    for o in range(len(instance.choices)):
        columns = instance.columns_of(o)
        for group, last in enumerate(windows.series[o]):
            rows = [c for c, k in enumerate(columns) if k.group == group]
            if rows:
                around = windows.heads[o][rows].min(axis=0) + windows.tails[o][rows].min(axis=0)
                best = max(best, secured(float((around + last).min()), last))
    return best
