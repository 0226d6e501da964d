"""GPipe and 1F1B: one stage per device, the whole backward in one go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from parplan.contracts import Strategy
from parplan.pipelines.construction import check_microbatches
from parplan.pipelines.pipeline import Order, Pass, PassKind, PipelineShape, one_way


class GPipe(Strategy):
    """All forwards, then all backwards (Huang et al. 2019)."""

    name: ClassVar[str] = "gpipe"
    fused_backward: ClassVar[bool] = True

    def shape(self, devices: int, microbatches: int, chunks: int) -> PipelineShape | None:
        """Return one stage per device; any number of microbatches."""
        return one_way(devices, microbatches) if chunks == 1 else None

    def orders(self, shape: PipelineShape) -> Sequence[Order]:
        """Return F0 F1 .. then B0 W0 B1 W1 .. on each device."""
        return [
            [Pass(PassKind.F, stage, k) for k in range(shape.microbatches)]
            + [
                Pass(kind, stage, k)
                for k in range(shape.microbatches)
                for kind in (PassKind.B, PassKind.W)
            ]
            for stage in range(shape.devices)
        ]


class OneForwardOneBackward(Strategy):
    """1F1B with a flush (PipeDream-flush, DAPPLE, Megatron)."""

    name: ClassVar[str] = "1f1b"
    fused_backward: ClassVar[bool] = True

    def shape(self, devices: int, microbatches: int, chunks: int) -> PipelineShape | None:
        """Return one stage per device; needs at least as many microbatches as devices."""
        if chunks != 1:
            return None
        check_microbatches(devices, microbatches)
        return one_way(devices, microbatches)

    def orders(self, shape: PipelineShape) -> Sequence[Order]:
        """Return warm-up F's, then F and B in turn, then the B's that are left."""
        result = []
        for stage in range(shape.devices):
            warm_up = shape.devices - stage - 1
            passes = [Pass(PassKind.F, stage, k) for k in range(warm_up)]
            for k in range(shape.microbatches):
                if warm_up + k < shape.microbatches:
                    passes.append(Pass(PassKind.F, stage, warm_up + k))
                passes += [Pass(PassKind.B, stage, k), Pass(PassKind.W, stage, k)]
            result.append(passes)
        return result
