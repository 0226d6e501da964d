"""Path relinking: a population of orders, and tabu searches from between two of them.

After Peng, Lu and Cheng (2015). What lies between two orders here is the order of the starts
``(1 - part) * one + part * other``: whatever comes before something else in both comes before it
there too, so it never waits for itself, and needs no repair.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from attrs import frozen

from parplan import clock
from parplan.scheduling.tables import Whole
from parplan.search.critical_blocks.tabu import PATIENCE, TabuSearch, Timed
from parplan.search.sequences.machines import SequenceView

POPULATION = 10
"""Orders that are kept. Peng, Lu and Cheng (2015) keep 30, with 12,500 steps of patience: with less
than an hour, fewer and shorter searches lead further (swv05, 600,000 steps: 1445 against 1465)."""

PARTS = 64
"""Into how many parts the way between two orders is divided."""

NEAR = 0.25
"""Part of the way from either end within which no search begins."""

TRIED = 5
"""Orders between two that are timed; a search begins at the shortest."""


@frozen
class Relinking:
    """How to go on from a population.

    Attributes
    ----------
    size
        Of the population; while there are fewer, searches begin at random orders.
    patience
        Of each tabu search.
    """

    size: int = POPULATION
    patience: int = PATIENCE


def relinked(
    search: TabuSearch,
    population: Sequence[Timed],
    deadline: float,
    seed: int,
    target: int = 0,
    how: Relinking | None = None,
) -> list[Timed]:
    """Return what becomes of a population until the deadline, the shortest first.

    Parameters
    ----------
    target
        Stop at a makespan this small, in ticks.
    """
    how = how or Relinking()
    chance = random.Random(seed)
    found = kept(population, how.size)
    while clock.now() < deadline and not (found and found[0].makespan <= target):
        if len(found) < how.size:
            starts = [search.timed(random_order(search.view, chance))]
        else:
            one, two = chance.sample(found, 2)
            starts = [between(search, one, two, chance), between(search, two, one, chance)]
        for start in starts:
            reached, _ = search.run(start, deadline, chance.getrandbits(30), target, how.patience)
            found = kept([*found, reached], how.size)
    return found


def kept(orders: Iterable[Timed], size: int) -> list[Timed]:
    """Return the shortest of some orders, no two of them alike."""
    distinct = {one.starts.tobytes(): one for one in orders}
    return sorted(distinct.values(), key=lambda one: one.makespan)[:size]


def between(search: TabuSearch, one: Timed, two: Timed, chance: random.Random) -> Timed:
    """Return the shortest of a few orders on the way from one to another."""
    near = int(NEAR * PARTS)
    steps = chance.sample(range(near, PARTS - near + 1), TRIED)
    found = [search.timed(on_the_way(search.view, one.starts, two.starts, k)) for k in steps]
    return min(found, key=lambda timed: timed.makespan)


def on_the_way(view: SequenceView, one: Whole, two: Whole, part: int) -> Whole:
    """Return the order that lies so many of ``PARTS`` parts of the way between two schedules."""
    return view.order_of_nodes((PARTS - part) * one + part * two)


def random_order(view: SequenceView, chance: random.Random) -> Whole:
    """Return the order of a random sequence of all nodes that goes with the arcs."""
    m = view.machines
    waits = np.diff(m.arc_first)
    followers: list[list[int]] = [[] for _ in m.durations]
    for i, before in _arcs(view):
        followers[before].append(i)
    ready = [i for i, count in enumerate(waits.tolist()) if count == 0]
    turn = np.zeros(len(m.durations), dtype=np.int64)
    for n in range(len(turn)):
        at = chance.randrange(len(ready))
        ready[at], ready[-1] = ready[-1], ready[at]
        i = ready.pop()
        turn[i] = n
        for after in followers[i]:
            waits[after] -= 1
            if waits[after] == 0:
                ready.append(after)
    return view.order_of_nodes(turn)


def _arcs(view: SequenceView) -> Iterator[tuple[int, int]]:
    m = view.machines
    for i in range(len(m.durations)):
        for k in range(m.arc_first[i], m.arc_first[i + 1]):
            yield i, int(m.arc_from[k])
