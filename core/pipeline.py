"""Pipelines as people write them: stages on devices, and the passes of each device in order."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from parplan.errors import InputError


class PassKind(StrEnum):
    """F forward, B backward for inputs (or the whole backward), W backward for weights."""

    F = "F"
    B = "B"
    W = "W"


@frozen
class Pass:
    """One pass of one microbatch through one stage, e.g. F of stage 2 for microbatch 5."""

    kind: PassKind
    stage: int
    microbatch: int

    def __str__(self) -> str:
        return f"{self.stage}{self.kind}{self.microbatch}"


@frozen
class PipelineShape:
    """A chain of stages on devices.

    Attributes
    ----------
    placement
        Device (by rank in the pipeline, not by index in the cluster) of each stage.
    """

    devices: int
    microbatches: int
    placement: tuple[int, ...]

    def __attrs_post_init__(self) -> None:
        if self.microbatches < 1 or not self.placement:
            raise InputError("a pipeline needs at least one stage and one microbatch")
        if set(self.placement) != set(range(self.devices)):
            raise InputError(f"placement {self.placement} must use devices 0..{self.devices - 1}")

    @property
    def stages(self) -> int:
        """Number of stages (chunks)."""
        return len(self.placement)


def one_way(devices: int, microbatches: int, chunks: int = 1) -> PipelineShape:
    """Return a looping placement: stage s on device s modulo devices."""
    return PipelineShape(devices, microbatches, tuple(range(devices)) * chunks)


def v_shaped(devices: int, microbatches: int, chunks: int = 2) -> PipelineShape:
    """Return a placement that turns round at each end: 0..p-1, p-1..0, ..."""
    there = tuple(range(devices))
    legs = [there if i % 2 == 0 else there[::-1] for i in range(chunks)]
    return PipelineShape(devices, microbatches, tuple(d for leg in legs for d in leg))
