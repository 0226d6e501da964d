"""Balancing a split: shift cuts until no device is late, judged without scheduling anything.

A device is busy from the moment the first microbatch can reach its first block; so its estimate is
that head plus its load. List schedules of a placement come close to the largest estimate, which
makes it a good judge, and it costs microseconds.
"""

from __future__ import annotations

import math
import random

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from parplan.graph import Kind
from parplan.search.placement import Placement, Placer
from parplan.search.splits import shifted_cuts


@frozen(eq=False)
class Estimator:
    """Loads as arrays ``(blocks, devices)`` in ticks; inf where a block cannot run.

    Attributes
    ----------
    loads
        Of all microbatches.
    forwards
        Of one microbatch, forward only.
    """

    loads: NDArray[np.float64]
    forwards: NDArray[np.float64]
    rows: NDArray[np.int64]

    def estimate(self, row: NDArray[np.int64]) -> float:
        """Return the largest head plus load over devices, plus a little for every other one.

        The little (a thousandth of the mean square) lets moves count that do not touch the worst.
        """
        loads = np.bincount(row, self.loads[self.rows, row], self.loads.shape[1])
        forward = self.forwards[self.rows, row]
        before = np.cumsum(forward) - forward
        heads = np.zeros_like(loads)
        heads[row[::-1]] = before[::-1]
        ends = heads + loads
        worst = float(ends.max())
        return worst + 1e-3 * float(np.square(ends).mean()) / max(worst, 1.0)


def make_estimator(placer: Placer) -> Estimator:
    """Return the estimator of a problem; O(operators x devices)."""
    problem = placer.problem
    shape = (len(placer.blocks), len(problem.cluster.devices))
    loads, forwards = np.full(shape, np.inf), np.full(shape, np.inf)
    for block, row in enumerate(placer.loads):
        for device, load in row.items():
            loads[block, device] = load * problem.workload.microbatches
            forwards[block, device] = sum(
                problem.ticks(o, problem.alternatives[o][placer.choices[o][device][0]], 0)
                for o in placer.blocks.members[block]
                if problem.graph.operators[o].kind is Kind.FORWARD
                and problem.microbatches_of(o).start == 0
            )
    return Estimator(loads, forwards, np.arange(shape[0]))


def balance(
    estimator: Estimator, placement: Placement, steps: int, seed: int, cooling: float = 0.02
) -> Placement:
    """Return the placement with the least estimate met in ``steps`` of simulated annealing.

    Cuts move; stages stay, and with them the pattern. O(steps x blocks).
    """
    if any(row != placement[0] for row in placement):
        return placement
    random_ = random.Random(seed)
    current = np.array(placement[0], dtype=np.int64)
    cost = estimator.estimate(current)
    best, least = current, cost
    for step in range(steps):
        new = shifted_cuts(current, random_)
        if new is None:
            break
        found = estimator.estimate(new)
        if not math.isfinite(found):
            continue
        temperature = cooling * least * (1 - step / steps) ** 2
        if found <= cost or random_.random() < math.exp((cost - found) / max(temperature, 1e-9)):
            current, cost = new, found
            if cost < least:
                best, least = current, cost
    return (tuple(int(d) for d in best),) * len(placement)
