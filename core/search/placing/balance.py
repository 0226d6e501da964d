"""Balancing a split: shift cuts until no device is late, judged without scheduling anything.

A device is busy from the moment the first microbatch can reach its first block; so its estimate is
that head plus its load. And what its blocks save for their backward passes takes memory for as
long as a microbatch is away: bytes times seconds, over the memory there is, is time as well. List
schedules of a placement come close to the largest estimate, which costs microseconds.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from parplan.graph import Kind
from parplan.search.placing.placement import Placement, Placer, Row
from parplan.search.placing.splits import shifted_cuts

DETOUR = 2.0
"""How much longer than unhindered microbatches are away in good schedules, roughly."""

FEW = 0.1
"""Ways to put the cuts, for each step of annealing, up to which all of them are tried instead."""

AWAY = frozenset({Kind.FORWARD, Kind.BACKWARD, Kind.BACKWARD_INPUT})


@frozen(eq=False)
class Estimator:
    """Arrays over blocks and devices, in ticks and bytes; inf where a block cannot run.

    Attributes
    ----------
    loads
        ``(blocks, devices)``, of all microbatches.
    forwards, away
        ``(blocks, devices)``, of one microbatch: forward alone, and forward with backward.
    saved
        ``(blocks,)``, bytes kept from a block's forward to its backward, of all microbatches.
    parameters
        ``(blocks,)``, bytes.
    memories
        ``(devices,)``, usable bytes.
    """

    loads: NDArray[np.float64]
    forwards: NDArray[np.float64]
    away: NDArray[np.float64]
    saved: NDArray[np.float64]
    parameters: NDArray[np.float64]
    memories: NDArray[np.float64]

    def estimate(self, *rows: NDArray[np.int64]) -> float:
        """Return the largest estimate over devices, plus a little for every other one.

        The little (a thousandth of the mean square) lets moves count that do not touch the worst.

        Parameters
        ----------
        rows
            Device of each block, for each of some groups with equally many microbatches.
        """
        blocks, devices = self.loads.shape
        loads, held, room = np.zeros(devices), np.zeros(devices), self.memories.copy()
        heads = np.full(devices, np.inf)
        places = np.arange(blocks)
        hosted = np.zeros((blocks, devices), dtype=np.bool_)
        for row in rows:
            own = self.loads[places, row]
            if not np.isfinite(own).all():
                return math.inf
            loads += np.bincount(row, own, devices)
            forward = self.forwards[places, row]
            before = np.cumsum(forward) - forward
            first = np.full(devices, np.inf)
            first[row[::-1]] = before[::-1]
            heads = np.minimum(heads, first)
            stays = np.cumsum(self.away[places, row][::-1])[::-1]
            held += np.bincount(row, self.saved * stays, devices)
            hosted[places, row] = True
        room -= self.parameters @ hosted
        share = DETOUR / len(rows)
        waits = np.where(held > 0, held * share / np.maximum(room, 1.0), 0.0)
        busy = np.where(np.isfinite(heads), heads, 0.0) + loads / len(rows)
        ends = np.maximum(busy, waits)
        worst = float(ends.max())
        return worst + 1e-3 * float(np.square(ends).mean()) / max(worst, 1.0)


def make_estimator(placer: Placer, group: int = 0) -> Estimator:
    """Return the estimator of a problem as one placement group sees it; O(operators x devices)."""
    problem = placer.problem
    count = problem.workload.microbatches
    shape = (len(placer.blocks), len(problem.cluster.devices))
    loads, forwards, away = (np.full(shape, np.inf) for _ in range(3))
    for block, row in enumerate(placer.loads[group]):
        for device, load in row.items():
            loads[block, device] = load * count
            forwards[block, device] = away[block, device] = 0.0
            for o in placer.blocks.members[block]:
                kind = problem.graph.operators[o].kind
                if kind in AWAY and problem.microbatches_of(o).start == 0:
                    alternative = problem.alternatives[o][placer.choices[group][o][device][0]]
                    ticks = problem.ticks(o, alternative, 0)
                    away[block, device] += ticks
                    forwards[block, device] += ticks if kind is Kind.FORWARD else 0
    memories = [
        math.inf if d.usable_bytes is None else d.usable_bytes for d in problem.cluster.devices
    ]
    return Estimator(
        loads,
        forwards,
        away,
        np.array(placer.saved_bytes, dtype=float) * count,
        np.array(placer.parameter_bytes, dtype=float),
        np.array(memories, dtype=float),
    )


def balanced(
    estimator: Estimator, placement: Placement, steps: int, seed: int, cooling: float = 0.02
) -> Placement:
    """Return the placement with the least estimate met in ``steps`` of simulated annealing.

    Cuts move; stages stay, and with them the pattern. Groups with the same row keep it together.
    Where there are few ways to put the cuts, it is the best of all. O(steps x groups x blocks).
    """
    random_ = random.Random(seed)
    distinct = list(dict.fromkeys(placement))
    if math.prod(_count_splits(row) for row in distinct) <= FEW * steps:
        return _best_of_all(estimator, placement)
    numbers = [distinct.index(row) for row in placement] if len(distinct) > 1 else [0]
    current = [np.array(row, dtype=np.int64) for row in distinct]
    cost = estimator.estimate(*(current[n] for n in numbers))
    best, least = current, cost
    for step in range(steps):
        which = random_.randrange(len(distinct)) if len(distinct) > 1 else 0
        shifted = shifted_cuts(current[which], random_)
        if shifted is None:
            continue
        new = [*current[:which], shifted, *current[which + 1 :]]
        found = estimator.estimate(*(new[n] for n in numbers))
        if not math.isfinite(found):
            continue
        temperature = cooling * least * (1 - step / steps) ** 2
        if found <= cost or random_.random() < math.exp((cost - found) / max(temperature, 1e-9)):
            current, cost = new, found
            if cost < least:
                best, least = current, cost
    rows = [tuple(row.tolist()) for row in best]
    return tuple(rows[distinct.index(row)] for row in placement)


def _best_of_all(estimator: Estimator, placement: Placement) -> Placement:
    """Return the placement of least estimate of all that lead over the same devices in turn."""
    distinct = list(dict.fromkeys(placement))
    best, least = placement, math.inf
    for rows in itertools.product(*map(_splits, distinct)):
        moved = tuple(rows[distinct.index(row)] for row in placement)
        found = estimator.estimate(*(np.array(row, dtype=np.int64) for row in moved))
        if found < least:
            best, least = moved, found
    return best


def _count_splits(row: Row) -> int:
    """Return how many ways there are to put as many cuts as a row has."""
    cuts = sum(one != other for one, other in itertools.pairwise(row))
    return math.comb(len(row) - 1, cuts)


def _splits(row: Row) -> Iterator[Row]:
    """Yield every row that leads over the same devices in turn, none of them left out."""
    stages = [device for device, _ in itertools.groupby(row)]
    for cuts in itertools.combinations(range(1, len(row)), len(stages) - 1):
        ends = zip((0, *cuts), (*cuts, len(row)), strict=True)
        yield tuple(d for d, (a, b) in zip(stages, ends, strict=True) for _ in range(a, b))
