"""A profile: how long the pieces of a model took, by the modules that they stand in.

Readers make one of these of what a profiler wrote; joining it to a graph's operators knows nothing
of profilers.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property

from attrs import field, frozen


class Pass(StrEnum):
    """Which part of a training step something belongs to."""

    FORWARD = "forward"
    BACKWARD = "backward"
    OPTIMIZER = "optimizer"


@frozen
class Timing:
    """One piece of work that was timed.

    Attributes
    ----------
    run
        Which run of the whole model, or of its optimizer, it belongs to; from 0.
    module
        Path of the module that it stands in, e.g. ``"layers.3.mlp"``; empty for the model itself,
        and for an optimizer, which belongs to all.
    name
        What ran there, e.g. ``"linear"``; of a backward pass, what ran forward.
    position
        How many of that name ran in this module before it, in this run.
    """

    run: int
    work: Pass
    module: str
    name: str
    position: int
    seconds: float


@frozen
class Profile:
    """What a profiler timed, in the order in which it began.

    Attributes
    ----------
    source
        What ran, in words.
    nameless
        Seconds of what belongs to no module, by what it is called.
    """

    source: str
    timings: tuple[Timing, ...]
    nameless: Mapping[str, float] = field(factory=dict)

    @cached_property
    def seconds(self) -> float:
        """All that was timed."""
        return sum(one.seconds for one in self.timings) + sum(self.nameless.values())
