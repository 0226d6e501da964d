"""A parplan strategy: 1F1B that runs further ahead, so that transfers hide under work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from parplan.contracts import Strategy
from parplan.errors import InputError
from parplan.hooks import hookimpl
from parplan.pipelines.pipeline import Fused, Order, Pass, PassKind, PipelineShape, one_way


class Eager1f1bSchedule(Strategy):
    """Eager 1F1B: stage i of p has up to 2(p - i) - 1 microbatches under way, 1F1B p - i.

    In 1F1B a microbatch comes back just when its stage needs it, so a transfer that takes time
    makes every stage wait for every microbatch. One more in flight for each stage behind hides the
    way there and back, and costs the memory that it holds (Zhuang et al., "On Optimizing the
    Communication of Model Parallelism", MLSys 2023, section 4).
    """

    name: ClassVar[str] = "eager-1f1b"

    def shape(self, devices: int, microbatches: int, chunks: int) -> PipelineShape | None:
        """Return one stage per device."""
        if chunks != 1:
            return None
        if microbatches < 2 * devices:
            raise InputError(f"needs at least {2 * devices} microbatches on {devices} devices")
        return one_way(devices, microbatches)

    def orders(self, shape: PipelineShape) -> Sequence[Order]:
        """Return warm-up F's, then F and whole backward in turn, then the backwards left."""
        result = []
        for stage in range(shape.devices):
            ahead = 2 * (shape.devices - stage - 1)
            order: list[Pass | Fused] = [Pass(PassKind.F, stage, k) for k in range(ahead)]
            for k in range(shape.microbatches):
                if ahead + k < shape.microbatches:
                    order.append(Pass(PassKind.F, stage, ahead + k))
                order.append(Fused((Pass(PassKind.B, stage, k), Pass(PassKind.W, stage, k))))
            result.append(order)
        return result


@hookimpl
def parplan_strategies() -> list[type[Strategy]]:
    """Give the strategy of this distribution."""
    return [Eager1f1bSchedule]
