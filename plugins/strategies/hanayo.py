"""Hanayo: waves over the devices (Liu et al., SC'23)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from parplan.contracts import Strategy
from parplan.pipelines.construction import check_microbatches, most_urgent_first
from parplan.pipelines.pipeline import (
    Order,
    Pass,
    PassKind,
    PipelineShape,
    StageTimes,
    equal_times,
    waves,
)


class Hanayo(Strategy):
    """Each microbatch goes there and back ``chunks / 2`` times; one copy of the parameters."""

    name: ClassVar[str] = "hanayo"

    def shape(self, devices: int, microbatches: int, chunks: int) -> PipelineShape | None:
        """Return ``chunks / 2`` waves; needs at least as many microbatches as devices."""
        if chunks < 2 or chunks % 2:
            return None
        check_microbatches(devices, microbatches)
        return waves(devices, microbatches, chunks // 2)

    def orders(self, shape: PipelineShape) -> Sequence[Order]:
        """Return the orders for passes that all take as long."""
        return self.timed_orders(shape, equal_times(shape.stages))

    def timed_orders(self, shape: PipelineShape, times: StageTimes) -> Sequence[Order]:
        """Return backwards as soon as they can, of the least stage first; else the deepest F."""
        return most_urgent_first(shape, times, _urgency)


def _urgency(one: Pass) -> tuple[float, ...]:
    if one.kind is PassKind.F:
        return (1, -one.stage, one.microbatch)
    return (0, one.stage, one.microbatch)
