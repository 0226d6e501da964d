"""ZB-H1: 1F1B's memory, with the weight passes moved into the bubbles (Qi et al., ICLR'24)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from parplan.contracts import Strategy
from parplan.pipeline import Pass, PassKind, PipelineShape, one_way


class ZeroBubbleH1(Strategy):
    """Device i runs W of microbatch k after B of microbatch k + i: no more memory than 1F1B."""

    name: ClassVar[str] = "zb-h1"

    def shape(self, devices: int, microbatches: int, chunks: int) -> PipelineShape | None:
        """Return one stage per device; needs at least as many microbatches as devices."""
        if chunks != 1 or microbatches < devices:
            return None
        return one_way(devices, microbatches)

    def orders(self, shape: PipelineShape) -> Sequence[Sequence[Pass]]:
        """Return 1F1B's F and B, with W lagging by the rank, and the last W's at the end."""
        m = shape.microbatches
        result = []
        for stage in range(shape.devices):
            warm_up = shape.devices - stage - 1
            passes = [Pass(PassKind.F, stage, k) for k in range(warm_up)]
            done = 0
            for k in range(m):
                if warm_up + k < m:
                    passes.append(Pass(PassKind.F, stage, warm_up + k))
                passes.append(Pass(PassKind.B, stage, k))
                if k >= stage:
                    passes.append(Pass(PassKind.W, stage, done))
                    done += 1
            passes += [Pass(PassKind.W, stage, k) for k in range(done, m)]
            result.append(passes)
        return result
