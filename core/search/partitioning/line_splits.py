"""Items in a line, cut into runs so that the busiest device has least to do: exact, compiled.

Dynamic programming over (end of a run, how many devices of each class are used):
``best[j, used] = min over i, c of max(best[i, used - c], load of i..j on a device of class c)``.
Devices of a class are equal. A transfer loads the device alone, as if all other devices were like
one typical other one, and as if a tensor left its device once: exact where both hold.

The same with a sum in place of the larger of the two gives the time that one sample takes if
nothing runs beside anything else: each run works once what it receives is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from parplan.scheduling.tables import Real, Whole
from parplan.search.partitioning.instance import Instance, Mask, ragged
from parplan.system.compiling import compiled, kernel_part

MOST_RUNS = 1000
"""Units of a line at most; longer lines are cut between every few units alone."""

MOST_STATES = 4096
"""Numbers of used devices of each class that are told apart at most."""


class Classes(NamedTuple):
    """Devices by classes of equal ones.

    Attributes
    ----------
    device
        One device of each class.
    first, members
        The devices of class ``c``: ``members[first[c] : first[c + 1]]``.
    out, into
        Ticks per byte of each ``[class, engine]`` to send and to receive; the last column is that
        of the busiest link.
    """

    device: Whole
    first: Whole
    members: Whole
    out: Real
    into: Real


def device_classes(instance: Instance) -> Classes:
    """Return the devices by what they take for each item, by their memory and their routes."""
    devices = instance.allowed.shape[1]
    rates = [_rates(instance, d) for d in range(devices)]
    found: dict[tuple[object, ...], list[int]] = {}
    for d in range(devices):
        key = (
            instance.work[:, d].tobytes(),
            instance.allowed[:, d].tobytes(),
            float(instance.room[d]),
            rates[d].tobytes(),
        )
        found.setdefault(key, []).append(d)
    first, members = ragged(list(found.values()))
    device = np.array([row[0] for row in found.values()], dtype=np.int64)
    chosen = np.array([rates[d] for d in device])
    return Classes(device, first, members, chosen[:, 0], chosen[:, 1])


def _rates(instance: Instance, device: int) -> Real:
    """Return ticks per byte ``[send or receive, engine]``, the median over other devices."""
    devices, engines = instance.work.shape[1:]
    links = devices * engines
    rows = np.zeros((2, max(devices - 1, 1), engines + 1))
    for at, other in enumerate(d for d in range(devices) if d != device):
        for way, (source, target) in enumerate(((device, other), (other, device))):
            for where, rate in zip(
                instance.place[source, target], instance.rate[source, target], strict=True
            ):
                if where >= links:
                    rows[way, at, engines] = max(rows[way, at, engines], rate)
                elif where >= 0 and where // engines == device:
                    rows[way, at, where % engines] += rate
    return np.asarray(np.median(rows, axis=1))


def split_line(
    instance: Instance, units: Sequence[Sequence[int]], *, in_turn: bool = False
) -> Whole | None:
    """Return the best device of each item where each device runs consecutive units.

    None if there is no such split, or if classes of devices are too many.

    Parameters
    ----------
    in_turn
        Whether runs come one after the other, so that the sum counts, not the busiest.
    """
    classes = device_classes(instance)
    counts = np.diff(classes.first)
    if float(np.prod(counts + 1.0)) > MOST_STATES:
        return None
    step = -(-len(units) // MOST_RUNS)
    runs = [[i for unit in units[at : at + step] for i in unit]
            for at in range(0, len(units), step)]  # fmt: skip
    first, items = ragged(runs)
    barred = _barred(instance, classes, runs)
    load, came_from, came_by = _best_cuts(instance, classes, first, items, barred, counts, in_turn)
    used = int(load[-1].argmin())
    if not np.isfinite(load[-1, used]):
        return None
    found = np.zeros(len(instance.bytes), dtype=np.int64)
    taken = np.zeros(len(counts), dtype=np.int64)
    stride = _strides(counts)
    end = len(runs)
    while end > 0:
        begin, chosen = int(came_from[end, used]), int(came_by[end, used])
        device = classes.members[classes.first[chosen] + taken[chosen]]
        found[items[first[begin] : first[end]]] = device
        taken[chosen] += 1
        end, used = begin, used - int(stride[chosen])
    return found


def _barred(instance: Instance, classes: Classes, runs: list[list[int]]) -> Mask:
    """Return whether a run holds an item that may not be on a class, ``[run, class]``."""
    allowed = instance.allowed[:, classes.device]
    return np.array([~allowed[run].all(axis=0) for run in runs])


@compiled
def _strides(counts: Any) -> Any:
    """Return what one device of each class adds to the number of a state."""
    found = np.ones(len(counts), dtype=np.int64)
    for c in range(1, len(counts)):
        found[c] = found[c - 1] * (counts[c - 1] + 1)
    return found


@compiled
def _best_cuts(
    instance: Any,
    classes: Any,
    first: Any,
    items: Any,
    barred: Any,
    counts: Any,
    in_turn: Any,
) -> Any:
    """Return the least figure of ``[end, used]``, and the begin and class of the run there.

    The figure is the busiest load, or the sum of all runs if these come ``in_turn``.
    """
    runs, kinds, engines = len(first) - 1, len(counts), instance.work.shape[2]
    stride = _strides(counts)
    states = stride[-1] * (counts[-1] + 1)
    best = np.full((runs + 1, states), np.inf)
    came_from = np.full((runs + 1, states), -1)
    came_by = np.full((runs + 1, states), -1)
    best[0, 0] = 0.0
    tensors = len(instance.sizes)
    inside = np.zeros(tensors, dtype=np.int64)
    made = np.zeros(tensors, dtype=np.bool_)
    work = np.zeros((kinds, engines))
    open_ = np.zeros(kinds, dtype=np.bool_)
    for begin in range(runs):
        inside[:] = 0
        made[:] = False
        work[:] = 0.0
        open_[:] = True
        out, into, stored = 0.0, 0.0, 0.0
        for end in range(begin + 1, runs + 1):
            for at in range(first[end - 1], first[end]):
                item = items[at]
                stored += instance.bytes[item]
                for c in range(kinds):
                    for e in range(engines):
                        work[c, e] += instance.work[item, classes.device[c], e]
                for k in range(instance.touch_first[item], instance.touch_first[item + 1]):
                    t = instance.touching[k]
                    readers = instance.reader_first[t + 1] - instance.reader_first[t]
                    size = instance.sizes[t]
                    out -= size if made[t] and inside[t] < readers else 0.0
                    into -= size if not made[t] and inside[t] > 0 else 0.0
                    if instance.makers[t] == item:
                        made[t] = True
                    else:
                        inside[t] += 1
                    out += size if made[t] and inside[t] < readers else 0.0
                    into += size if not made[t] and inside[t] > 0 else 0.0
            going = False
            for c in range(kinds):
                if barred[end - 1, c] or stored > instance.room[classes.device[c]]:
                    open_[c] = False
                if not open_[c]:
                    continue
                going = True
                load = (
                    _time_alone(classes, work, into, c)
                    if in_turn
                    else _busiest(classes, work, out, into, c)
                )
                for used in range(states):
                    if used // stride[c] % (counts[c] + 1) == counts[c]:
                        continue
                    before, then = best[begin, used], used + stride[c]
                    figure = before + load if in_turn else max(before, load)
                    if figure < best[end, then]:
                        best[end, then] = figure
                        came_from[end, then] = begin
                        came_by[end, then] = c
            if not going:
                break
    return best, came_from, came_by


@kernel_part
def _busiest(classes: Any, work: Any, out: Any, into: Any, c: Any) -> Any:
    """Return the load of the busiest engine or link of a run on a device of class ``c``."""
    engines = work.shape[1]
    found = max(classes.out[c, engines] * out, classes.into[c, engines] * into)
    for e in range(engines):
        moved = classes.out[c, e] * out + classes.into[c, e] * into
        found = max(found, work[c, e] + moved)
    return found


@kernel_part
def _time_alone(classes: Any, work: Any, into: Any, c: Any) -> Any:
    """Return how long a run receives, one tensor after another, and works then."""
    return work[c].max() + classes.into[c].max() * into
