"""What the cluster shall do with the model: a training step, an inference batch, requests."""

from __future__ import annotations

import math
from enum import StrEnum

from attrs import frozen

from parplan.errors import InputError

MICROBATCH_LIMIT = 2**20
"""More tasks than this of one operator are surely a slip, and would fill the memory."""


class WorkloadKind(StrEnum):
    """What is planned."""

    TRAINING = "training"
    INFERENCE = "inference"
    REQUESTS = "requests"


def in_turn(groups: int, microbatches: int) -> tuple[int, ...]:
    """Return the placement group of each microbatch where they take turns: 0, 1, ..., 0, 1, ...

    Raises
    ------
    InputError
        If there are fewer microbatches than groups.
    """
    if not 1 <= groups <= microbatches:
        raise InputError(f"groups is {groups}; it must be 1 to {microbatches}, the microbatches")
    return tuple(k % groups for k in range(microbatches)) if groups > 1 else ()


@frozen
class Workload:
    """A number of microbatches and what is known of each.

    Attributes
    ----------
    microbatches
        How many (for requests: how many requests).
    groups
        Group of each microbatch, counted from 0; the microbatches of one group share the placement
        of every operator. Empty: one group. DualPipe's two directions are two groups.
    scales
        Factor on the times and bytes of each microbatch (variable lengths). Empty: all 1.
    releases_s
        Earliest start of each microbatch (arrival of requests). Empty: all 0.
    """

    kind: WorkloadKind = WorkloadKind.TRAINING
    microbatches: int = 1
    groups: tuple[int, ...] = ()
    scales: tuple[float, ...] = ()
    releases_s: tuple[float, ...] = ()

    def __attrs_post_init__(self) -> None:
        if self.microbatches < 1:
            raise InputError(f"microbatches is {self.microbatches}; it must be at least 1")
        if self.microbatches > MICROBATCH_LIMIT:
            raise InputError(f"microbatches is {self.microbatches}; at most {MICROBATCH_LIMIT:,}")
        for what in ("groups", "scales", "releases_s"):
            values = getattr(self, what)
            if values and len(values) != self.microbatches:
                raise InputError(
                    f"{what} has {len(values)} entries for {self.microbatches} microbatches"
                )
            if any(not math.isfinite(v) or v < 0 for v in values):
                raise InputError(f"{what} must be finite and not negative")
        if any(scale == 0 for scale in self.scales):
            raise InputError("scales must be above zero")
        if self.groups and sorted(set(self.groups)) != list(range(max(self.groups) + 1)):
            raise InputError("groups must be numbered 0, 1, ... without a hole")

    @property
    def group_count(self) -> int:
        """Number of placement groups."""
        return max(self.groups, default=0) + 1

    def group(self, microbatch: int) -> int:
        """Return the placement group of a microbatch; work done once per step counts as group 0."""
        return self.groups[microbatch] if self.groups and microbatch >= 0 else 0

    def scale(self, microbatch: int) -> float:
        """Return the factor on times and bytes of a microbatch; 1 for once per step (-1)."""
        return self.scales[microbatch] if self.scales and microbatch >= 0 else 1.0
