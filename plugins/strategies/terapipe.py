"""TeraPipe: a sequence goes through the pipeline in slices (Li et al., ICML 2021).

A causal model may run the first tokens of a sequence through a stage before the next: slice by
slice forward, and back in reverse order. Later tokens attend to more, so equal times need slices
that get shorter; their lengths come from dynamic programming over the cost of a slice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import ClassVar

import attrs
import numpy as np
from attrs import field, frozen
from attrs.validators import ge, lt

from parplan.contracts import Strategy
from parplan.pipelines.construction import whole_backward
from parplan.pipelines.pipeline import Order, Pass, PassKind, PipelineShape, one_way
from parplan.workload import Workload

Cost = Callable[[int, int], float]
"""(begin, end) of a slice -> its time."""


def pipeline_time(times: Sequence[float], stages: int) -> float:
    """Return how long slices take through equal stages: sum t + (K - 1) max t (equation 5)."""
    return sum(times) + (stages - 1) * max(times)


def best_slices(units: int, stages: int, cost: Cost) -> tuple[int, ...]:
    """Return the lengths of the slices that go through ``stages`` equal stages the soonest.

    For every possible longest time t, the least sum of slices of at most t by dynamic programming
    over where a slice ends: O(units^2) for each of at most units^2 values of t, in arrays.

    Parameters
    ----------
    units
        In how many equal parts the sequence can be cut.
    cost
        Time of a slice on one stage, positive.
    """
    table = np.full((units + 1, units + 1), np.inf)
    for end in range(1, units + 1):
        for begin in range(end):
            table[end, begin] = cost(begin, end)
    best: tuple[float, tuple[int, ...]] = (np.inf, ())
    for longest in np.unique(table[np.isfinite(table)]):
        if (stages - 1) * longest >= best[0]:
            break
        cuts = _least_sum(np.where(table <= longest, table, np.inf))
        if cuts:
            times = [float(table[end, begin]) for begin, end in pairwise(cuts)]
            best = min(best, (pipeline_time(times, stages), cuts))
    return tuple(end - begin for begin, end in pairwise(best[1]))


def _least_sum(table: np.ndarray) -> tuple[int, ...]:
    """Return where to cut for the least sum of ``table[end, begin]``; () if there is no way."""
    units = len(table) - 1
    least = np.full(units + 1, np.inf)
    least[0] = 0.0
    came_from = [0] * (units + 1)
    for end in range(1, units + 1):
        sums = least[:end] + table[end, :end]
        came_from[end] = int(sums.argmin())
        least[end] = sums[came_from[end]]
    if not np.isfinite(least[units]):
        return ()
    cuts = [units]
    while cuts[-1]:
        cuts.append(came_from[cuts[-1]])
    return tuple(cuts[::-1])


@frozen
class TeraPipe(Strategy):
    """All slices of all microbatches forward, then all backward in reverse order, whole backwards.

    A slice is a microbatch of its own, whose times and bytes are a part of the whole's: that of its
    time. The time of a slice from x to y (parts of the sequence) is taken to be ``overhead`` +
    (1 - attention)(y - x) + attention (y^2 - x^2), in times of the whole sequence.

    Attributes
    ----------
    attention
        Part of a pass that grows with the square of the sequence. By default that of a layer of
        width h as long as its sequence, 4s / (24h + 4s) of the FLOP.
    overhead
        Time that every slice adds.
    units
        In how many parts the sequence can be cut.
    """

    name: ClassVar[str] = "terapipe"

    attention: float = field(default=1 / 7, validator=[ge(0.0), lt(1.0)])
    overhead: float = field(default=0.05, validator=[ge(0.0), lt(1.0)])
    units: int = field(default=16, validator=[ge(1), lt(257)])

    def slice_times(self, devices: int) -> tuple[float, ...]:
        """Return the time of each slice on ``devices`` stages, in times of the whole sequence."""

        def cost(begin: int, end: int) -> float:
            x, y = begin / self.units, end / self.units
            part = (1 - self.attention) * (y - x) + self.attention * (y * y - x * x)
            return self.overhead + part

        times, begin = [], 0
        for length in best_slices(self.units, devices, cost):
            times.append(cost(begin, begin + length))
            begin += length
        return tuple(times)

    def workload(self, workload: Workload, devices: int) -> Workload:
        """Return the workload with a microbatch for every slice."""
        times = self.slice_times(devices)
        whole = range(workload.microbatches)
        return attrs.evolve(
            workload,
            microbatches=workload.microbatches * len(times),
            scales=tuple(workload.scale(k) * time for k in whole for time in times),
            releases_s=tuple(release for release in workload.releases_s for _ in times),
            groups=tuple(group for group in workload.groups for _ in times),
        )

    def shape(self, devices: int, microbatches: int, chunks: int) -> PipelineShape | None:
        """Return one stage per device; ``microbatches`` counts slices."""
        return one_way(devices, microbatches) if chunks == 1 else None

    def orders(self, shape: PipelineShape) -> Sequence[Order]:
        """Return the F's of all slices, then their backwards from the last to the first.

        The order on each device is also what makes a slice wait for those before it, backward for
        those after it, on every stage.
        """
        slices = range(shape.microbatches)
        return [
            [Pass(PassKind.F, stage, k) for k in slices]
            + [whole_backward(stage, k) for k in reversed(slices)]
            for stage in range(shape.devices)
        ]
