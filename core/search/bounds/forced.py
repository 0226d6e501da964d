"""What is sure to happen: forced devices, tasks and transfers, and how they load each resource."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from parplan.declarations import Moving, Receiving, Sending
from parplan.problem import TransferTiming
from parplan.search.bounds.instance import Instance, is_step
from parplan.search.bounds.one_machine import preemptive_bound
from parplan.search.bounds.paths import Windows


@frozen
class Activity:
    """Something that is sure to use a resource, ``count`` times (once per microbatch).

    Attributes
    ----------
    head, ticks, tail
        Least start, length, and least time from its end to the end of the schedule.
    amount
        What it uses of the resource.
    task
        (operator, column) if it is a task.
    steady
        Whether that is the amount in every choice; else ``ticks x amount`` is the least work, but
        less may be used at an instant.
    """

    head: float
    ticks: float
    tail: float
    amount: float
    count: int
    task: tuple[int, int] | None = None
    steady: bool = True


@frozen
class Crossing:
    """A transfer that is sure to happen, once per microbatch of a column.

    Attributes
    ----------
    ready
        Least end of its producer.
    rest, reader_ticks
        Least time from its arrival to the end of the schedule, and the part of it that the reader
        there takes.
    """

    tensor: int
    column: int
    count: int
    source: int
    target: int
    timing: TransferTiming
    ready: float
    rest: float
    reader_ticks: float


@frozen(eq=False)
class Places:
    """Where operators run: devices that are sure, and devices that are possible.

    ``sure[o][c]`` and ``possible[o][c]`` are sets of device indices for operator o, column c.
    """

    sure: tuple[tuple[frozenset[int], ...], ...]
    possible: tuple[tuple[frozenset[int], ...], ...]

    @cached_property
    def any_sure(self) -> bool:
        """Whether any device is sure at all."""
        return any(row for rows in self.sure for row in rows)


def find_places(windows: Windows) -> Places:
    """Return the sure and the possible devices of every operator and column."""
    instance = windows.instance
    cache: dict[tuple[int, bytes], tuple[frozenset[int], frozenset[int]]] = {}
    sure, possible = [], []
    for choices, heads in zip(instance.choices, windows.heads, strict=True):
        found = []
        for usable in np.less(heads, np.inf):
            key = (id(choices), usable.tobytes())
            if key not in cache:
                groups = [set(a.devices) for a, u in zip(choices, usable, strict=True) if u]
                common, all_of = set.intersection(*groups), set.union(*groups)
                cache[key] = (frozenset(common), frozenset(all_of))
            found.append(cache[key])
        sure.append(tuple(s for s, _ in found))
        possible.append(tuple(p for _, p in found))
    return Places(tuple(sure), tuple(possible))


def column_pairs(instance: Instance, before: int, after: int) -> Iterator[tuple[int, int, int]]:
    """Yield (column of before, column of after, count) of runs that belong together.

    ``count`` is the number of runs of ``before`` in its column.
    """
    graph = instance.problem.graph
    for row, column in enumerate(instance.columns_of(before)):
        if is_step(graph, before) and not is_step(graph, after):
            for other in range(len(instance.columns)):
                yield row, other, 1
        else:
            yield row, 0 if is_step(graph, after) else row, column.count


def running(windows: Windows) -> dict[int, list[Activity]]:
    """Return, per resource, the tasks that use it whatever is chosen.

    A task's use (amount x time) is the least over its choices; it is given as that many ticks at
    the largest amount.
    """
    instance = windows.instance
    found: dict[int, list[Activity]] = {}
    for o in range(len(instance.choices)):
        table, heads = instance.amounts[instance.use[o]], windows.heads[o]
        usable: NDArray[np.bool_] = np.less(heads, np.inf)
        for row, column in enumerate(instance.columns_of(o)):
            choices = usable[row]
            if not table[choices].min(axis=0).any():
                continue
            used = instance.ticks[o][row, choices][:, None] * table[choices]
            least, largest = used.min(axis=0), table[choices].max(axis=0)
            head, tail = float(windows.head[o][row]), float(windows.tail[o][row])
            for r in np.flatnonzero(least).tolist():
                amount = float(largest[r])
                ticks, steady = float(least[r]) / amount, bool((table[choices, r] == amount).all())
                one = Activity(head, ticks, tail, amount, column.count, (o, row), steady)
                found.setdefault(r, []).append(one)
    return found


def one_at_a_time(
    tasks: Mapping[int, Sequence[Activity]], capacities: Sequence[float]
) -> dict[int, list[Activity]]:
    """Return the resources no two of whose tasks fit side by side, with these tasks."""
    return {
        r: list(found)
        for r, found in tasks.items()
        if all(a.steady and 2 * a.amount > capacities[r] * (1 + 1e-9) for a in found)
    }


def crossings(windows: Windows, places: Places) -> tuple[Crossing, ...]:
    """Return the transfers that are sure: producer on one device, a reader surely on another."""
    if not places.any_sure:
        return ()
    instance = windows.instance
    found: dict[tuple[int, int, int], Crossing] = {}
    for t, readers in enumerate(instance.problem.graph.consumers):
        producer = instance.problem.graph.producers[t]
        for reader in readers:
            for row, other, count in column_pairs(instance, producer, reader):
                sources = places.possible[producer][row]
                targets = places.sure[reader][other] - sources
                if len(sources) != 1 or not targets or not surely_reads(windows, t, reader, other):
                    continue
                (source,) = sources
                size = least_bytes(windows, t, row)
                for target in targets:
                    timing = instance.problem.transfer_timing(size, source, target)
                    assert timing is not None  # else a head would be infinite
                    ready = windows.heads[producer][row] + instance.ticks[producer][row]
                    usable = np.less(windows.heads[reader][other], np.inf)
                    own = float(instance.ticks[reader][other][usable].min())
                    rest = own + float(windows.tail[reader][other])
                    known = found.get((t, row, target))
                    if known is None or known.rest < rest:
                        found[t, row, target] = Crossing(
                            t, row, count, source, target, timing, float(ready.min()), rest, own
                        )
    return tuple(found.values())


def surely_reads(windows: Windows, tensor: int, reader: int, column: int) -> bool:
    """Return whether a task reads a tensor in every mode that it can take."""
    instance = windows.instance
    modes = instance.problem.graph.operators[reader].modes
    name = instance.problem.graph.tensors[tensor].name
    usable = np.less(windows.heads[reader][column], np.inf)
    taken = {a.mode for a, u in zip(instance.choices[reader], usable, strict=True) if u}
    return all(reads is None or name in reads for reads in (modes[m].reads for m in taken))


def least_bytes(windows: Windows, tensor: int, column: int) -> int:
    """Return the least bytes of a tensor over its producer's usable modes."""
    instance = windows.instance
    producer = instance.problem.graph.producers[tensor]
    microbatch = instance.columns_of(producer)[column].microbatch
    usable = np.less(windows.heads[producer][column], np.inf)
    taken = {a.mode for a, u in zip(instance.choices[producer], usable, strict=True) if u}
    sizes = [instance.problem.tensor_bytes(tensor, mode, microbatch) for mode in taken]
    return min((s for s in sizes if s is not None), default=0)


def moving(windows: Windows, crossed: tuple[Crossing, ...]) -> dict[int, list[Activity]]:
    """Return, per resource, the sure transfers as they hold links and engines."""
    problem = windows.instance.problem
    devices, links = problem.cluster.device_index, problem.cluster.link_index
    found: dict[int, list[Activity]] = {}
    by_place: dict[tuple[str, int], list[tuple[Crossing, int, int]]] = {}
    for x in crossed:
        for hold in x.timing.holds:
            by_place.setdefault(("link", hold.link), []).append((x, hold.offset, hold.ticks))
        by_place.setdefault(("source", x.source), []).append((x, 0, x.timing.occupied))
        by_place.setdefault(("target", x.target), []).append((x, 0, x.timing.occupied))
    for r, (_, resource) in enumerate(windows.instance.resources):
        for demand in resource.demands:
            if isinstance(demand, Moving):
                key = ("link", links[demand.link])
            elif isinstance(demand, Sending):
                key = ("source", devices[demand.device])
            elif isinstance(demand, Receiving):
                key = ("target", devices[demand.device])
            else:
                continue
            names = demand.tensors if isinstance(demand, Moving) else None
            for x, offset, ticks in by_place.get(key, ()):
                if names is None or problem.graph.tensors[x.tensor].name in names:
                    tail = x.timing.arrival - offset - ticks + x.rest
                    one = Activity(x.ready + offset, ticks, tail, demand.amount, x.count)
                    found.setdefault(r, []).append(one)
    return found


def _as_tuple(activities: Iterable[Activity]) -> tuple[Activity, ...]:
    return tuple(activities)


@frozen(eq=False)
class Load:
    """The sure activities of one resource and what of its capacity they share."""

    capacity: float
    activities: tuple[Activity, ...] = field(converter=_as_tuple)

    @cached_property
    def room(self) -> float:
        """The capacity; of equal amounts, the same in every choice, only whole ones fit."""
        used = [a for a in self.activities if a.amount > 0 and a.ticks > 0]
        amounts = {a.amount for a in used}
        if len(amounts) != 1 or not all(a.steady for a in used):
            return self.capacity
        (amount,) = amounts
        return max(math.floor(self.capacity / amount + 1e-9), 1) * amount

    def bound(self) -> float:
        """Return head + work + tail of the worst subset; work is ticks x part of the capacity."""
        if not self.room > 0:
            return 0.0
        used = [a for a in self.activities if a.amount > 0 and a.ticks > 0]
        return preemptive_bound(
            [a.head for a in used],
            [a.count * (a.ticks * a.amount / self.room) for a in used],
            [a.tail for a in used],
        )
