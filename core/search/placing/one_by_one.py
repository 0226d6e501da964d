"""One thing at a time: an order in which memory suffices, whenever there is any.

Take any schedule that fits, and run its activities one after another in the order of their starts:
whatever ran beside an activity has ended by then, so no less memory is free. So where nothing fits
one by one, nothing fits at all. Where nothing outlives its microbatch but what every order leaves
behind, the microbatches can go one after another, too: an order of one microbatch is enough.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from parplan.problem import STEP
from parplan.scheduling.list_scheduler import Deadlock, arcs_of
from parplan.scheduling.network import Network
from parplan.scheduling.tables import Rows, Tables
from parplan.search.placing.evaluation import Candidate, Prepared, as_candidate

MOST_STEPS = 20_000
"""Activities that are tried for the order of one microbatch."""


def schedule_one_by_one(prepared: Prepared) -> Candidate | None:
    """Return the schedule of one activity after another; None if no order was found that fits."""
    order = fitting_order(prepared.network, prepared.scheduler.tables)
    if order is None:
        return None
    rank = np.empty(len(order))
    rank[order] = np.arange(len(order))
    starts = prepared.scheduler.run(rank, arcs_of(pairwise(order)))
    return None if isinstance(starts, Deadlock) else as_candidate(prepared, starts)


def fitting_order(network: Network, tables: Tables, most: int = MOST_STEPS) -> list[int] | None:
    """Return all activities in an order in which they fit one by one; None if none was found.

    Microbatch after microbatch, each by depth-first search; what frees the most goes first. What a
    set of activities leaves behind does not depend on their order, so no set is tried twice.
    A microbatch first tries the order of the one before.
    """
    store = _Store(tables)
    order: list[int] = []
    known: dict[Hashable, int] = {}
    for phase in _phases(network):
        found = _order_of(store, phase, [known.get(_kind(network, a), -1) for a in phase], most)
        if found is None:
            return None
        order += found
        known = {_kind(network, a): i for i, a in enumerate(found)}
    return order


def _kind(network: Network, activity: int) -> Hashable:
    """Return what an activity is, whatever its microbatch."""
    count = len(network.tasks)
    if activity < count:
        return network.tasks[activity][0]
    tensor, _, source, target = network.transfers[activity - count]
    return tensor, source, target


def _phases(network: Network) -> Iterator[list[int]]:
    """Yield what runs once before all microbatches, each microbatch, and what runs once after."""
    rows = [m for _, m in network.tasks] + [m for _, m, _, _ in network.transfers]
    late = [m != STEP for m in rows]
    stack = [a for a, m in enumerate(rows) if m != STEP]
    while stack:
        for after, _ in network.successors[stack.pop()]:
            if not late[after]:
                late[after] = True
                stack.append(after)
    by_microbatch: dict[int, list[int]] = {}
    for a, m in enumerate(rows):
        by_microbatch.setdefault(m, []).append(a)
    once = by_microbatch.pop(STEP, [])
    yield [a for a in once if not late[a]]
    for m in sorted(by_microbatch):
        yield by_microbatch[m]
    yield [a for a in once if late[a]]


def _order_of(
    store: _Store, phase: Sequence[int], preferred: Sequence[int], most: int
) -> list[int] | None:
    """Return a fitting order of some activities, and leave the store as after them; or None."""
    bit = {a: 1 << i for i, a in enumerate(phase)}
    rank = dict(zip(phase, preferred, strict=True))
    order: list[int] = []
    dead: set[int] = set()
    done, steps = 0, 0
    choices = [_urgent_first(store, bit, done, rank)]
    while len(order) < len(phase):
        steps += 1
        activity = next(choices[-1], -1)
        if steps > most + len(phase):
            return None
        if activity < 0:
            dead.add(done)
            choices.pop()
            if not order:
                return None
            activity = order.pop()
            done ^= bit[activity]
            store.undo(activity)
        elif done | bit[activity] not in dead and store.fits(activity):
            store.run(activity)
            order.append(activity)
            done |= bit[activity]
            choices.append(_urgent_first(store, bit, done, rank))
    return order


def _urgent_first(
    store: _Store, bit: Mapping[int, int], done: int, rank: Mapping[int, int]
) -> Iterator[int]:
    """Return what may run next: in the order preferred, and what leaves the least behind first."""
    ready = [a for a in store.ready if a in bit and not done & bit[a]]
    return iter(sorted(ready, key=lambda a: (rank[a], store.growth(a), a)))


class _Store:
    """What is held while activities run one by one; changes with every step."""

    def __init__(self, tables: Tables) -> None:
        self.arcs, self.needs = _rows(tables.arcs), _rows(tables.needs)
        self.ends, self.buffers = _rows(tables.ends), _rows(tables.buffers)
        self.frees = _rows(tables.frees)
        self.left, self.waiting = tables.left.tolist(), tables.waiting.tolist()
        self.level: list[float] = tables.levels.tolist()
        self.limits: list[float] = tables.limits.tolist()
        self.ready = {a for a, count in enumerate(self.waiting) if not count}

    def fits(self, activity: int) -> bool:
        """Return whether there is room for an activity while it runs."""
        return all(self.level[r] + x <= self.limits[r] for r, x in self.needs[activity])

    def growth(self, activity: int) -> float:
        """Return what an activity leaves behind, in parts of what there is of it."""
        freed = (b for b, _ in self.frees[activity] if self.left[b] == 1)
        return self._parts(self.needs[activity]) - (
            self._parts(self.ends[activity]) + sum(self._parts(self.buffers[b]) for b in freed)
        )

    def _parts(self, amounts: Sequence[tuple[int, float]]) -> float:
        return sum(x / self.limits[r] for r, x in amounts if self.limits[r])

    def run(self, activity: int) -> None:
        """Run an activity from its start to its end."""
        self._change(activity, 1)
        self.ready.discard(activity)
        for after, _ in self.arcs[activity]:
            self.waiting[after] -= 1
            if not self.waiting[after]:
                self.ready.add(after)

    def undo(self, activity: int) -> None:
        """Take back the last step."""
        self._change(activity, -1)
        for after, _ in self.arcs[activity]:
            self.waiting[after] += 1
            self.ready.discard(after)
        self.ready.add(activity)

    def _change(self, activity: int, sign: int) -> None:
        for r, x in self.needs[activity]:
            self.level[r] += sign * x
        for r, x in self.ends[activity]:
            self.level[r] -= sign * x
        for b, _ in self.frees[activity]:
            last = self.left[b] == 1 if sign > 0 else self.left[b] == 0
            self.left[b] -= sign
            for r, x in self.buffers[b] if last else ():
                self.level[r] -= sign * x


def _rows(rows: Rows) -> list[list[tuple[int, float]]]:
    pairs = list(zip(rows.index.tolist(), rows.amount.tolist(), strict=True))
    return [pairs[a:b] for a, b in pairwise(rows.first.tolist())]
