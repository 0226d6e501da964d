"""The enumeration in plain Python: slow, and easy to read. The kernel makes the same decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from attrs import define, evolve, field, frozen

from parplan.search.enumeration.delay_graph import NEVER
from parplan.search.enumeration.heads import earliest_start
from parplan.search.enumeration.kernel import EARLY
from parplan.search.enumeration.tables import Tables

Path = tuple[tuple[int, int], ...]
"""(task, device) in the order in which tasks are placed."""

Starts = dict[int, tuple[int, ...]]
"""Earliest start of each task that is not placed, on each device."""


@frozen
class _State:
    """What is placed, when devices are free, and when what tasks read is on each device."""

    path: Path
    free: tuple[int, ...]
    ready: tuple[tuple[int, ...], ...]

    @property
    def placed(self) -> frozenset[int]:
        return frozenset(task for task, _ in self.path)


@define
class PlainEnumeration:
    """Every schedule of at most ``limit`` ticks, depth first.

    Attributes
    ----------
    limit
        One less than the makespan of ``best``, once there is one.
    states
        How many were looked into.
    """

    tables: Tables
    limit: int
    best: Path | None = None
    states: int = 0
    _seen: set[object] = field(factory=set)

    def run(self) -> None:
        """Go through all schedules."""
        count, devices = self.tables.durations.shape
        self.states += 1
        self._look_into(_State((), (0,) * devices, ((0,) * devices,) * count))

    def _look_into(self, state: _State) -> None:
        starts = self._starts(state)
        if starts is None or not self._work_fits(starts):
            return
        columns = list(zip(*starts.values(), strict=True))
        alike = self.tables.alike.tolist()
        key = (self.limit, frozenset(starts), tuple(sorted(zip(alike, columns, strict=True))))
        if key in self._seen:
            return
        self._seen.add(key)
        for task, device in sorted(self._chances(starts, columns), key=self._promise(starts)):
            end = starts[task][device] + int(self.tables.durations[task, device])
            if end + self.tables.tails[task] <= self.limit:
                self._visit(self._with(state, task, device, end))

    def _visit(self, state: _State) -> None:
        self.states += 1
        if len(state.path) < len(self.tables.least):
            self._look_into(state)
        elif max(state.free) <= self.limit:  # the first tasks may be from a larger limit
            self.best, self.limit = state.path, max(state.free) - 1

    def _with(self, state: _State, task: int, device: int, end: int) -> _State:
        free = tuple(end if d == device else f for d, f in enumerate(state.free))
        ready = list(state.ready)
        for child, edge in self._children(task):
            arrivals = (end + self.tables.delays[edge, device]).tolist()
            ready[child] = tuple(map(max, ready[child], arrivals))
        return evolve(state, path=(*state.path, (task, device)), free=free, ready=tuple(ready))

    def _starts(self, state: _State) -> Starts | None:
        """Return the earliest starts, NEVER beyond the limit; None if it cannot be kept."""
        tables, placed = self.tables, state.placed
        if max(state.free) > self.limit:  # placed when the limit was larger
            return None
        found: Starts = {}
        for task in set(range(len(tables.least))) - placed:
            head = max(
                int(tables.heads[task]),
                earliest_start(
                    (min(found[p]), int(tables.least[p]), delay)
                    for p, delay in self._parents(task)
                    if p not in placed
                ),
            )
            latest = self.limit - tables.tails[task] - tables.durations[task]
            starts = np.maximum(np.maximum(head, state.free), state.ready[task])
            found[task] = tuple(np.where(starts <= latest, starts, NEVER).tolist())
            if min(found[task]) == NEVER:
                return None
        return found

    def _work_fits(self, starts: Starts) -> bool:
        """Return whether devices have room, between first start and limit, for long tails."""
        tables, urgent = self.tables, list[int]()
        for task in (int(t) for t in tables.by_tail if t in starts):
            urgent.append(task)
            openings = np.min([starts[t] for t in urgent], axis=0)
            room = np.maximum(self.limit - tables.tails[task] - openings, 0).sum()
            if tables.least[urgent].sum() > room:
                return False
        return True

    def _chances(
        self, starts: Starts, columns: Sequence[tuple[int, ...]]
    ) -> Iterator[tuple[int, int]]:
        """Yield what may be placed next, and where, without the doubles."""
        tables = self.tables
        open_tasks = [t for t in starts if not any(p in starts for p, _ in self._parents(t))]
        first = self._first_in_fixed_order(starts, open_tasks)
        for task in open_tasks if first is None else [first]:
            if int(tables.twin[task]) in starts:
                continue
            known = set()
            for device, start in enumerate(starts[task]):
                state = (int(tables.alike[device]), columns[device])
                if start < NEVER and state not in known:
                    yield task, device
                known.add(state)

    def _first_in_fixed_order(self, starts: Starts, open_tasks: Sequence[int]) -> int | None:
        """Return the task that may go first without loss, if one is known to."""
        covers = self.tables.covers

        def is_first(task: int) -> bool:
            return all(
                covers[task, other]
                and all(
                    a == NEVER or a <= b for a, b in zip(starts[task], starts[other], strict=True)
                )
                for other in open_tasks
            )

        first = open_tasks[0]
        for task in open_tasks[1:]:
            if self._goes_before(starts, task, first):
                first = task
        if not is_first(first):
            return None
        while int(self.tables.twin[first]) in starts:
            first = int(self.tables.twin[first])
        return first

    def _goes_before(self, starts: Starts, task: int, other: int) -> bool:
        covers, least = self.tables.covers, self.tables.least
        if sum(starts[task]) != sum(starts[other]):
            return sum(starts[task]) < sum(starts[other])
        if covers[task, other] != covers[other, task]:
            return bool(covers[task, other])
        return bool(least[task] > least[other])

    def _promise(self, starts: Starts) -> Callable[[tuple[int, int]], int]:
        tails, least = self.tables.tails, self.tables.least
        return lambda chance: (
            starts[chance[0]][chance[1]] * EARLY - int(tails[chance[0]]) - int(least[chance[0]])
        )

    def _children(self, task: int) -> list[tuple[int, int]]:
        """Return (child, edge) of a task."""
        t = self.tables
        at = slice(t.child_first[task], t.child_first[task + 1])
        return list(zip(t.child[at].tolist(), t.child_edge[at].tolist(), strict=True))

    def _parents(self, task: int) -> list[tuple[int, int]]:
        """Return (parent, least delay) of a task."""
        t = self.tables
        at = slice(t.parent_first[task], t.parent_first[task + 1])
        return list(zip(t.parent[at].tolist(), t.parent_delay[at].tolist(), strict=True))
