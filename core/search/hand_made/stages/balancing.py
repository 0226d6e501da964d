"""The splits on which a recipe does best by sums over blocks, memory of its own included."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
from attrs import frozen

from parplan.contracts import Strategy
from parplan.pipelines.pipeline import StageTimes, equal_times
from parplan.rules import overrides
from parplan.scheduling.tables import Whole
from parplan.search.hand_made.recipes import FittedRecipe, Stages, balanced, uniform
from parplan.search.hand_made.stages.figures import BlockFigures
from parplan.search.hand_made.stages.kernel import PENALTY, annealed, judge
from parplan.search.hand_made.stages.passes import PassTable, pass_table

MOST_ORDERS = 4
"""Orders of devices whose cuts are annealed: those that begin best."""

JUDGED_PASSES = 3_000_000
"""Passes that the annealing of one start may time: some hundredths of a second."""

STEPS = range(150, 12_001)
"""Steps of that annealing."""

ROUNDS = 3
"""How often a recipe whose orders depend on times may write them anew for the cuts found."""


@frozen(eq=False)
class Estimate:
    """A split of a recipe as sums over blocks see it.

    Attributes
    ----------
    order
        Device of each rank.
    ticks
        Makespan.
    missing
        Memory that is missing, in parts of a device's; 0 where all fits.
    passes
        What is run.
    """

    order: tuple[int, ...]
    stages: Stages
    ticks: float
    missing: float
    passes: PassTable

    @property
    def cost(self) -> float:
        """What is made small: the makespan, and far more where memory is missing."""
        return self.ticks * (1 + PENALTY * self.missing)


@frozen(eq=False)
class Line:
    """A recipe on an order of devices, with the sums over blocks of the problem that it runs."""

    job: FittedRecipe
    blocks: BlockFigures
    order: tuple[int, ...]

    @cached_property
    def hosts(self) -> Whole:
        """``(groups, stages)``: device of each stage."""
        ranks = np.array(self.job.shape.placements, dtype=np.int64)
        found: Whole = np.array(self.order, dtype=np.int64)[ranks]
        return found

    @cached_property
    def versions(self) -> Whole:
        """``(stages,)``: copies of the weights that each stage keeps."""
        return np.array(self.job.recipe.weight_versions(self.job.shape), dtype=np.int64)

    @cached_property
    def is_timed(self) -> bool:
        """Whether the recipe's orders depend on the times of stages."""
        return overrides(self.job.recipe, "timed_orders", Strategy)

    @cached_property
    def _fixed(self) -> PassTable | None:
        return self._table(equal_times(self.job.shape.stages))

    def passes(self, cuts: Whole) -> PassTable | None:
        """Return what the recipe runs on stages between cuts; None if its orders deadlock."""
        return self._table(self._times(cuts)) if self.is_timed else self._fixed

    def _table(self, times: StageTimes) -> PassTable | None:
        job = self.job
        orders = job.recipe.timed_orders(job.shape, times)
        fused = job.recipe.fused_backward
        return pass_table(job.placer.problem, job.shape, orders, job.numbering, fused=fused)

    def _times(self, cuts: Whole) -> StageTimes:
        """Return the times of a microbatch of scale 1 in group 0."""
        passes, hosts = self.blocks.passes, self.hosts[0]
        rows = passes[:, 0, hosts, cuts[1:]] - passes[:, 0, hosts, cuts[:-1]]
        forward, backward, weight = (tuple(map(float, row)) for row in rows)
        return StageTimes(forward, backward, weight)

    def estimate(self, stages: Stages) -> Estimate | None:
        """Return the estimate of a split; None if the recipe's orders deadlock."""
        cuts = _cuts(stages)
        passes = self.passes(cuts)
        if passes is None:
            return None
        ticks, missing = judge(self.blocks, passes, self.hosts, self.versions, cuts)
        return Estimate(self.order, stages, float(ticks), float(missing), passes)

    def first(self) -> Estimate | None:
        """Return the better of the uniform split and that of balanced loads."""
        loads = balanced(self.job, self.order)
        rows = [uniform(self.job), *(() if loads is None else (loads,))]
        found = [one for row in rows if (one := self.estimate(row)) is not None]
        return min(found, key=_cost, default=None)

    def improved(self, start: Estimate, seed: int, effort: float) -> Estimate:
        """Return the best split that annealing of the cuts reaches from one.

        Where orders depend on times, they are written anew for the cuts found.
        """
        best = current = start
        most = min(max(JUDGED_PASSES // len(start.passes.kind), STEPS.start), STEPS.stop)
        rounds = ROUNDS if self.is_timed else 1
        for number in range(rounds):
            steps = int(effort * most) // rounds
            moves = np.random.default_rng([seed, number]).random((steps, 4))
            cuts = annealed(
                self.blocks, current.passes, self.hosts, self.versions, _cuts(current.stages), moves
            )
            found = self.estimate(_stages(cuts))
            if found is None or found.stages == current.stages:
                break
            current, best = found, min(best, found, key=_cost)
        return best


def estimated_splits(
    job: FittedRecipe,
    blocks: BlockFigures,
    orders: Sequence[tuple[int, ...]],
    seed: int,
    room: float = 1.0,
    effort: float = 1.0,
) -> list[Estimate]:
    """Return the best split found for each of the most promising orders of devices, best first.

    Nothing comes back for orders of passes that deadlock.

    Parameters
    ----------
    blocks
        Of the problem that the job runs.
    room
        Part of the usable memory that may be taken; what sums over blocks leave out needs the rest.
    effort
        How many times the usual steps of annealing.
    """
    roomy = blocks._replace(usable=blocks.usable * room)
    lines = [Line(job, roomy, order) for order in orders]
    starts = [(line, first) for line in lines if (first := line.first()) is not None]
    starts.sort(key=lambda entry: entry[1].cost)
    return sorted(
        (line.improved(one, seed, effort) for line, one in starts[:MOST_ORDERS]), key=_cost
    )


def _cost(one: Estimate) -> float:
    return one.cost


def _cuts(stages: Stages) -> Whole:
    """Return the blocks at which stages begin, and the number of blocks."""
    row = np.array(stages, dtype=np.int64)
    found: Whole = np.concatenate([[0], 1 + np.flatnonzero(row[:-1] != row[1:]), [len(row)]])
    return found


def _stages(cuts: Whole) -> Stages:
    return tuple(s for s, (low, high) in enumerate(pairwise(cuts)) for _ in range(low, high))
