"""PipeDream and PipeDream-2BW: 1F1B that never flushes, with several versions of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from parplan.pipelines.pipeline import PipelineShape
from parplan.plugins.strategies.one_forward_one_backward import OneForwardOneBackward


class PipeDream(OneForwardOneBackward):
    """Weights change after every backward, and a microbatch's two passes use the same version.

    1F1B without an end: stage i (from 0) of p has p - i microbatches under way and keeps a version
    for each (Narayanan et al., SOSP'19, section 3.3).
    """

    name: ClassVar[str] = "pipedream"
    flushes: ClassVar[bool] = False

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
