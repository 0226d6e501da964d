"""Pipelines as people write them: stages on devices, and the passes of each device in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

from attrs import field, frozen

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


def _passes(value: Sequence[Pass]) -> tuple[Pass, ...]:
    return tuple(value)


@frozen
class Fused:
    """Passes of one device that one call runs, in this order.

    What any of them hands on to other devices leaves when the last has ended. A whole backward is
    ``Fused((B, W))``; DualPipe's overlapped pair is ``Fused((F, B, W))``.
    """

    passes: tuple[Pass, ...] = field(converter=_passes)

    def __attrs_post_init__(self) -> None:
        if not self.passes:
            raise InputError("a fused call needs at least one pass")

    def __str__(self) -> str:
        return "+".join(map(str, self.passes))


Order = Sequence[Pass | Fused]
"""What one device runs, first to last."""


def renumbered(order: Order, microbatches: Sequence[int]) -> Order:
    """Return an order in which microbatch k is called ``microbatches[k]``."""

    def one(given: Pass) -> Pass:
        return Pass(given.kind, given.stage, microbatches[given.microbatch])

    return [
        Fused(tuple(map(one, item.passes))) if isinstance(item, Fused) else one(item)
        for item in order
    ]


def passes_of(order: Order) -> Iterator[Pass]:
    """Yield the passes of a device one by one, those of fused calls among them."""
    for item in order:
        if isinstance(item, Fused):
            yield from item.passes
        else:
            yield item


@frozen
class PipelineShape:
    """A chain of stages on devices, once or in several directions.

    Attributes
    ----------
    placements
        For each placement group, the device of each stage: by rank in the pipeline, not by index in
        the cluster. Several groups are several copies of the parameters.
    groups
        Placement group of each microbatch. Empty: all in group 0.

    Raises
    ------
    InputError
        If placements differ in length, leave a device out, or groups do not fit them.
    """

    devices: int
    microbatches: int
    placements: tuple[tuple[int, ...], ...]
    groups: tuple[int, ...] = ()

    def __attrs_post_init__(self) -> None:
        if self.microbatches < 1 or not self.placements or not self.placements[0]:
            raise InputError("a pipeline needs at least one stage and one microbatch")
        for placement in self.placements:
            if set(placement) != set(range(self.devices)):
                raise InputError(
                    f"placement {placement} must use devices 0..{self.devices - 1}, and no others"
                )
            if len(placement) != self.stages:
                raise InputError(f"placements {self.placements} differ in their number of stages")
        if self.groups and len(self.groups) != self.microbatches:
            raise InputError(
                f"groups has {len(self.groups)} entries for {self.microbatches} microbatches"
            )
        if set(self.groups or (0,)) != set(range(len(self.placements))):
            raise InputError(
                f"groups must name each of {len(self.placements)} placements, counted from 0"
            )

    @property
    def placement(self) -> tuple[int, ...]:
        """Device of each stage in group 0."""
        return self.placements[0]

    @property
    def stages(self) -> int:
        """Number of stages (chunks)."""
        return len(self.placements[0])

    def group(self, microbatch: int) -> int:
        """Return the placement group of a microbatch."""
        return self.groups[microbatch] if self.groups else 0

    def device(self, one: Pass) -> int:
        """Return the device that runs a pass."""
        return self.placements[self.group(one.microbatch)][one.stage]

    def inputs(self, one: Pass) -> tuple[Pass, ...]:
        """Return the passes whose results a pass needs."""
        stage, k = one.stage, one.microbatch
        if one.kind is PassKind.W:
            return (Pass(PassKind.B, stage, k),)
        if one.kind is PassKind.F:
            return (Pass(PassKind.F, stage - 1, k),) if stage > 0 else ()
        own = Pass(PassKind.F, stage, k)
        return (own, Pass(PassKind.B, stage + 1, k)) if stage + 1 < self.stages else (own,)


@frozen
class StageTimes:
    """What each stage takes for one microbatch, in any unit; transfers not counted.

    Attributes
    ----------
    forward, backward, weight
        Time of the F, B and W pass of each stage.
    """

    forward: tuple[float, ...]
    backward: tuple[float, ...]
    weight: tuple[float, ...]

    def __attrs_post_init__(self) -> None:
        if not len(self.forward) == len(self.backward) == len(self.weight):
            raise InputError("stage times need one figure of each kind for every stage")

    def of(self, one: Pass) -> float:
        """Return the time of a pass."""
        times = {
            PassKind.F: self.forward,
            PassKind.B: self.backward,
            PassKind.W: self.weight,
        }
        return times[one.kind][one.stage]


def equal_times(stages: int) -> StageTimes:
    """Return times of 1 for every pass: what schedules are drawn with."""
    return StageTimes((1.0,) * stages, (1.0,) * stages, (1.0,) * stages)


def one_way(devices: int, microbatches: int, chunks: int = 1) -> PipelineShape:
    """Return a looping placement: stage s on device s modulo devices."""
    return PipelineShape(devices, microbatches, (tuple(range(devices)) * chunks,))


def v_shaped(devices: int, microbatches: int, chunks: int = 2) -> PipelineShape:
    """Return a placement that turns round at each end: 0..p-1, p-1..0, ..."""
    there = tuple(range(devices))
    legs = [there if i % 2 == 0 else there[::-1] for i in range(chunks)]
    return PipelineShape(devices, microbatches, (tuple(d for leg in legs for d in leg),))


def waves(devices: int, microbatches: int, count: int = 1) -> PipelineShape:
    """Return ``count`` V's one after the other: two stages per device and wave."""
    return v_shaped(devices, microbatches, 2 * count)


def mirrored(devices: int, groups: Sequence[int]) -> PipelineShape:
    """Return two directions: stage s on device s in group 0, on device p-1-s in group 1.

    Parameters
    ----------
    groups
        Direction (0 or 1) of each microbatch.
    """
    there = tuple(range(devices))
    return PipelineShape(devices, len(groups), (there, there[::-1]), tuple(groups))
