"""PipeDream and PipeDream-2BW: 1F1B that never flushes, with several versions of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from parplan.contracts import Strategy
from parplan.errors import InputError
from parplan.pipeline import Fused, Order, Pass, PassKind, PipelineShape, one_way
from parplan.pipeline_construction import whole_backward


class PipeDream(Strategy):
    """Weights change after every backward, and a microbatch's two passes use the same version.

    Stage i (from 0) of p has p - i microbatches under way and keeps a version for each
    (Narayanan et al., SOSP'19, section 3.3).
    """

    name: ClassVar[str] = "pipedream"
    flushes: ClassVar[bool] = False

    def shape(self, devices: int, microbatches: int, chunks: int) -> PipelineShape | None:
        """Return one stage per device; needs at least as many microbatches as devices."""
        if chunks != 1:
            return None
        if microbatches < devices:
            raise InputError(f"needs at least as many microbatches as devices, {devices}")
        return one_way(devices, microbatches)

    def orders(self, shape: PipelineShape) -> Sequence[Order]:
        """Return the start of an endless run: p - i - 1 F's on stage i, then F and B in turn."""
        result = []
        for stage in range(shape.devices):
            ahead = shape.devices - stage - 1
            order: list[Pass | Fused] = [Pass(PassKind.F, stage, k) for k in range(ahead)]
            for k in range(shape.microbatches):
                if ahead + k < shape.microbatches:
                    order.append(Pass(PassKind.F, stage, ahead + k))
                order.append(whole_backward(stage, k))
            result.append(order)
        return result

    def weight_versions(self, shape: PipelineShape) -> Sequence[int]:
        """Return p - i for stage i."""
        return tuple(range(shape.devices, 0, -1))


class PipeDream2BW(PipeDream):
    """Gradients are gathered over a step, so two versions do: one written, one still read.

    Narayanan et al., "Memory-Efficient Pipeline-Parallel DNN Training", ICML 2021, section 3.1.
    """

    name: ClassVar[str] = "pipedream-2bw"

    def weight_versions(self, shape: PipelineShape) -> Sequence[int]:
        """Return 2 for every stage."""
        return (2,) * shape.devices
