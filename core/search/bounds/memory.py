"""Bounds from memory: what is sure to be held, for how long, and how much can start before it ends.

All is derived from declared resources with ``Resident`` or ``Held`` demands, whatever they mean.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from attrs import field, frozen

from parplan.declarations import Edge, Held, Resident, ResidentParameters, Resource
from parplan.search.bounds.forced import (
    Activity,
    Crossing,
    Places,
    column_pairs,
    least_bytes,
    surely_reads,
)
from parplan.search.bounds.instance import Arc, Instance, is_step
from parplan.search.bounds.paths import Windows

VISITS = 1_000_000
"""Most arcs visited when lengths of holds are measured; later ones count their two ends only."""

Task = tuple[int, int]
"""(operator, column)."""


@frozen
class Hold:
    """Something that is sure to be held.

    Attributes
    ----------
    first, last
        The task with whose start it begins, and with whose end it ends; None if it begins or ends
        with something else (a transfer, the end of the schedule).
    """

    first: Task | None
    last: Task | None
    amount: float
    activity: Activity


@frozen(eq=False)
class Reach:
    """Longest paths from the start of a task to the ends of tasks after it, in least times.

    A path stays with the microbatches of one placement group, since those of another may be
    elsewhere; ``group`` is None for any of them (after what runs once per step).
    """

    windows: Windows
    _found: dict[tuple[int, int | None], dict[int, float]] = field(factory=dict, init=False)
    _steps: dict[tuple[int, int | None], tuple[tuple[int, float], ...]] = field(
        factory=dict, init=False
    )
    _ticks: dict[tuple[int, int | None], float] = field(factory=dict, init=False)
    _delays: dict[tuple[Arc, int | None], float] = field(factory=dict, init=False)
    _rows: dict[int | None, list[int]] = field(factory=dict, init=False)
    _visits: list[int] = field(factory=lambda: [0], init=False)

    def group(self, *tasks: Task) -> int | None:
        """Return the placement group of tasks that belong together; None if all run per step."""
        instance = self.windows.instance
        rows = (row for o, row in tasks if not is_step(instance.problem.graph, o))
        return next((instance.columns[row].group for row in rows), None)

    def lengths(self, operator: int, group: int | None) -> dict[int, float]:
        """Return least ticks from an operator's start to the end of each one after it."""
        if (operator, group) not in self._found:
            self._found[operator, group] = self._search(operator, group)
        return self._found[operator, group]

    def _search(self, operator: int, group: int | None) -> dict[int, float]:
        own = self.least_ticks(operator, group)
        ends = {operator: own}
        if self._visits[0] > VISITS:
            for after, ticks in self._steps_from(operator, group):
                ends[after] = max(own + ticks, ends.get(after, 0.0))
            return ends
        reached, pending = {operator}, [operator]
        while pending:
            for after, _ in self._steps_from(pending.pop(), group):
                if after not in reached:
                    reached.add(after)
                    pending.append(after)
        for before in sorted(reached, key=self.windows.instance.position.__getitem__):
            end, steps = ends[before], self._steps_from(before, group)
            self._visits[0] += len(steps)
            for after, ticks in steps:
                ends[after] = max(end + ticks, ends.get(after, 0.0))
        return ends

    def _steps_from(self, operator: int, group: int | None) -> tuple[tuple[int, float], ...]:
        """Return (after, ticks from the operator's end to that of ``after``) of arcs that bind."""
        key = operator, group
        if key not in self._steps:
            self._steps[key] = tuple(
                (arc.after, self.delay(arc, group) + self.least_ticks(arc.after, group))
                for arc in self.windows.instance.outgoing[operator]
                if self.binds(arc, group)
            )
        return self._steps[key]

    def binds(self, arc: Arc, group: int | None) -> bool:
        """Return whether ``after`` waits for the end of ``before`` in every choice."""
        return not (arc.from_start or arc.to_end) and self.delay(arc, group) > -np.inf

    def least_ticks(self, operator: int, group: int | None) -> float:
        """Return the least duration of an operator over a group's usable choices and columns."""
        key = operator, group
        if key not in self._ticks:
            rows = self._columns(operator, group)
            usable = np.less(self.windows.heads[operator][rows], np.inf)
            self._ticks[key] = float(self.windows.instance.ticks[operator][rows][usable].min())
        return self._ticks[key]

    def delay(self, arc: Arc, group: int | None) -> float:
        """Return the least ticks from the end of ``before`` to the start of ``after``.

        Minus infinity where ``after`` may be in a mode that does not read the tensor.
        """
        if arc.tensor < 0:
            return float(arc.lag)
        if (arc, group) not in self._delays:
            instance, heads = self.windows.instance, self.windows.heads
            before, after = (self._columns(o, group) for o in (arc.before, arc.after))
            columns = instance.columns_of(arc.before)
            scale = instance.problem.workload.scale
            smallest = min((columns[row].microbatch for row in before), key=scale)
            table = instance.delays(arc, smallest)
            sources = np.less(heads[arc.before][before], np.inf).any(axis=0)
            targets = np.less(heads[arc.after][after], np.inf).any(axis=0)
            self._delays[arc, group] = float(table[sources][:, targets].min())
        return self._delays[arc, group]

    def _columns(self, operator: int, group: int | None) -> list[int]:
        """Return the columns of an operator that run with a group's microbatches."""
        instance = self.windows.instance
        if is_step(instance.problem.graph, operator):
            return [0]
        if group not in self._rows:
            columns = enumerate(instance.columns)
            self._rows[group] = [row for row, c in columns if group is None or c.group == group]
        return self._rows[group]


def holds_of(
    windows: Windows, places: Places, reach: Reach, crossed: tuple[Crossing, ...]
) -> dict[int, list[Hold]]:
    """Return what each resource is sure to have held on it, by resource."""
    found: dict[int, list[Hold]] = {}
    residents = _residents(windows, places, reach, crossed)
    index = windows.instance.problem.cluster.device_index
    names = windows.instance.problem.graph.tensors
    for r, (_, resource) in enumerate(windows.instance.resources):
        for demand in resource.demands:
            if isinstance(demand, Resident):
                for tensor, hold in residents.get(index[demand.device], ()):
                    if demand.tensors is None or names[tensor].name in demand.tensors:
                        found.setdefault(r, []).append(_scaled(hold, demand.amount))
            elif isinstance(demand, Held):
                found.setdefault(r, []).extend(_held(windows, places, reach, demand))
    return {r: some for r, holds in found.items() if (some := [h for h in holds if h.amount > 0])}


def _scaled(hold: Hold, factor: float) -> Hold:
    a = hold.activity
    amount = hold.amount * factor
    return Hold(hold.first, hold.last, amount, Activity(a.head, a.ticks, a.tail, amount, a.count))


def _residents(
    windows: Windows, places: Places, reach: Reach, crossed: tuple[Crossing, ...]
) -> dict[int, list[tuple[int, Hold]]]:
    """Return (tensor, hold in bytes) by device, on producers and on receivers."""
    instance = windows.instance
    found: dict[int, list[tuple[int, Hold]]] = {}
    leaving: dict[tuple[int, int, int], float] = {}
    for x in crossed:
        key = (x.tensor, x.column, x.source)
        leaving[key] = max(leaving.get(key, 0.0), x.timing.occupied)
        ticks = x.timing.arrival + x.reader_ticks
        amount = float(least_bytes(windows, x.tensor, x.column))
        one = Activity(x.ready, ticks, x.rest - x.reader_ticks, amount, x.count)
        found.setdefault(x.target, []).append((x.tensor, Hold(None, None, amount, one)))
    for t, producer in enumerate(instance.problem.graph.producers):
        for row, column in enumerate(instance.columns_of(producer)):
            devices = places.sure[producer][row]
            amount = float(least_bytes(windows, t, row)) if devices else 0.0
            for device in devices if amount else ():
                first, out = (producer, row), leaving.get((t, row, device), 0.0)
                last, ticks, tail = _lifetime(windows, places, reach, t, first, device, out)
                head = float(windows.head[producer][row])
                one = Activity(head, ticks, tail, amount, column.count)
                found.setdefault(device, []).append((t, Hold(first, last, amount, one)))
    return found


def _lifetime(
    windows: Windows,
    places: Places,
    reach: Reach,
    tensor: int,
    first: Task,
    device: int,
    leaving: float,
) -> tuple[Task | None, float, float]:
    """Return the last task, the least length and the tail of a tensor's life where it was made.

    The task is None if the life ends with something else.
    """
    graph, (producer, row) = windows.instance.problem.graph, first
    group = reach.group(first)
    own, after = reach.least_ticks(producer, group), float(windows.tail[producer][row])
    if graph.tensors[tensor].output:
        return None, own + after, 0.0
    last: Task | None = None if leaving else first
    ticks, tail = own + leaving, max(after - leaving, 0.0)
    lengths = reach.lengths(producer, group)
    for reader in graph.consumers[tensor]:
        for mine, other, _ in column_pairs(windows.instance, producer, reader):
            if (
                mine == row
                and device in places.sure[reader][other]
                and surely_reads(windows, tensor, reader, other)
                and lengths[reader] > ticks
            ):
                last, ticks = (reader, other), lengths[reader]
                tail = float(windows.tail[reader][other])
    return last, ticks, tail


def _held(windows: Windows, places: Places, reach: Reach, demand: Held) -> Iterator[Hold]:
    """Yield what a ``Held`` demand is sure to hold, where the path gives it a length."""
    instance = windows.instance
    index = instance.problem.graph.operator_index
    a, b = index[demand.from_operator], index[demand.to_operator]
    for row, other, count in column_pairs(instance, a, b):
        if demand.device is not None:
            device = instance.problem.cluster.device_index[demand.device]
            if device not in places.sure[a][row]:
                continue
        group = reach.group((a, row), (b, other))
        length = reach.lengths(a, group).get(b, 0.0)
        head, tail = float(windows.head[a][row]), float(windows.tail[b][other])
        first: Task | None = (a, row)
        last: Task | None = (b, other)
        if demand.from_edge is Edge.END:
            own = reach.least_ticks(a, group)
            length, head, first = length - own, head + own, None
        if demand.to_edge is Edge.START:
            own = reach.least_ticks(b, group)
            length, tail, last = length - own, tail + own, None
        if length <= 0:
            continue
        one = Activity(head, length, tail, demand.amount, count)
        yield Hold(first, last, demand.amount, one)


def room_for_holds(windows: Windows, places: Places, resource: Resource) -> float:
    """Return a resource's capacity less the parameters that are sure to be resident."""
    instance, graph = windows.instance, windows.instance.problem.graph
    room = resource.capacity
    for demand in resource.demands:
        if isinstance(demand, ResidentParameters):
            device = instance.problem.cluster.device_index[demand.device]
            sizes: dict[int, int] = {}
            for o, operator in enumerate(graph.operators):
                if operator.parameters and any(device in s for s in places.sure[o]):
                    modes = {a.mode for a in instance.choices[o]}
                    for group in (graph.parameter_index[p] for p in operator.parameters):
                        least = min(graph.parameter_bytes(o, m)[group] for m in modes)
                        sizes[group] = max(sizes.get(group, 0), least)
            names = {g: graph.parameters[g].name for g in sizes}
            room -= demand.amount * sum(
                size
                for group, size in sizes.items()
                if demand.groups is None or names[group] in demand.groups
            )
    return room


def comparable(instance: Instance, first: Task, other: Task) -> bool:
    """Return whether two tasks run equally often, microbatch by microbatch."""
    graph = instance.problem.graph
    return first[1] == other[1] and is_step(graph, first[0]) == is_step(graph, other[0])
