"""Units of a task graph moved from device to device, as in simulated annealing."""

from __future__ import annotations

import math
import random
import time

import numpy as np

from parplan.search.graphs.list_schedule import ListSchedules, Placed
from parplan.search.graphs.ranks import least_ways_out, upward_ranks
from parplan.search.scheduling.tables import Whole

TEMPERATURE = 0.001
"""How much worse, relatively, a move may be at the start with a chance of 1/e."""

TOGETHER = 0.3
"""Part of the moves that take the readers of what a unit makes along."""


def annealed(lists: ListSchedules, device: Whole | None, until: float, seed: int) -> Placed | None:
    """Return the best schedule met on a walk over placements; None if none was found to start from.

    Tasks are taken in the order of their upward ranks. The walk begins at the placement given, or
    where each unit goes to the device on which it ends first (HEFT), whichever is better.

    Parameters
    ----------
    device
        Of each unit, to start from; None: no placement is given.
    until
        On ``time.monotonic``'s clock.
    """
    graph, random_ = lists.graph, random.Random(seed)
    by_rank = lists.order(-upward_ranks(graph))
    starts = (lists.in_order(by_rank, given) for given in (None, device))
    current = min((s for s in starts if s is not None), key=_makespan, default=None)
    if current is None:
        return None
    best = current
    rest = least_ways_out(graph).astype(np.int64)
    choices = [np.flatnonzero(row).tolist() for row in graph.allowed]
    movable = [unit for unit, own in enumerate(choices) if len(own) > 1]
    near = _readers(lists)
    begin = time.monotonic()
    while movable and (now := time.monotonic()) < until:
        left = (until - now) / max(until - begin, 1e-9)
        temperature = TEMPERATURE * left * left * best.makespan
        limit = current.makespan - temperature * math.log(1.0 - random_.random())
        moved = current.device.copy()
        unit = random_.choice(movable)
        moved[unit] = target = random_.choice(choices[unit])
        if random_.random() < TOGETHER:
            for reader in near[unit]:
                if target in choices[reader]:
                    moved[reader] = target
        if (moved == current.device).all():
            continue
        found = lists.in_order(by_rank, moved, limit=int(limit) + 1, rest=rest)
        if found is not None:
            current = found
            best = min(best, found, key=_makespan)
    return best


def _makespan(placed: Placed) -> int:
    return placed.makespan


def _readers(lists: ListSchedules) -> list[list[int]]:
    """Return the units that read what each unit makes."""
    graph = lists.graph
    sends = graph.sends
    makers = graph.unit[np.repeat(sends.producer, np.diff(sends.readers.first))]
    found: list[dict[int, None]] = [{} for _ in range(graph.units)]
    for maker, reader in zip(makers.tolist(), graph.unit[sends.readers.item].tolist(), strict=True):
        if maker != reader:
            found[maker][reader] = None
    return [list(row) for row in found]
