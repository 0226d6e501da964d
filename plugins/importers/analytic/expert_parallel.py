"""Expert parallelism: the experts of a layer divided among ranks that exchange their tokens.

Each rank of a group of n holds 1/n of the experts, and computes everything else for microbatches of
its own. Routing is taken as balanced, so all ranks of a group do the same at the same time, and one
device of a plan stands for one rank: an exchange holds the ``collective`` engine of that device and
needs no other device of the plan.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum

from attrs import frozen

from parplan.errors import InputError


class MessageFormat(StrEnum):
    """Number format in which tokens cross the network."""

    FP8 = "fp8"
    BF16 = "bf16"
    FP32 = "fp32"


MESSAGE_BYTES: Mapping[MessageFormat, float] = {
    MessageFormat.FP8: 1 + 4 / 128,
    MessageFormat.BF16: 2.0,
    MessageFormat.FP32: 4.0,
}
"""Per element; fp8 has an fp32 scale per 128 (DeepSeek-V3, arXiv 2412.19437, section 3.3)."""


@frozen
class ExpertParallel:
    """How many ranks divide the experts of a layer, and what exchanging tokens takes.

    Attributes
    ----------
    degree
        Ranks in a group; 1 keeps all experts on each device and exchanges nothing.
    bandwidth
        Bytes per second that a rank sends (and receives) in an all-to-all.
    latency_s
        Of each of the ``degree`` - 1 steps.
    copies
        How many times a token crosses the network; by default once for each expert that it goes
        to. Fewer where it is sent once per node and handed on inside, as with node-limited routing.
    dispatch, combine
        Format of tokens on their way to experts and back. Gradients go the same ways in reverse:
        the backward pass of a combine is a dispatch of gradients, and the other way round.
    """

    degree: int = 1
    bandwidth: float | None = None
    latency_s: float = 0.0
    copies: int | None = None
    dispatch: MessageFormat = MessageFormat.BF16
    combine: MessageFormat = MessageFormat.BF16

    def __attrs_post_init__(self) -> None:
        if self.degree < 1:
            raise InputError(f"expert_parallel: degree is {self.degree}; it must be at least 1")
        if self.degree > 1 and self.bandwidth is None:
            raise InputError(
                f"expert_parallel: a group of {self.degree} ranks exchanges tokens; give "
                "'bandwidth', the bytes per second that a rank sends"
            )
        if self.bandwidth is not None and not self.bandwidth > 0:
            raise InputError(
                f"expert_parallel: bandwidth is {self.bandwidth}; it must be above zero"
            )
        if not math.isfinite(self.latency_s) or self.latency_s < 0:
            raise InputError(
                f"expert_parallel: latency_s is {self.latency_s}; it must be finite and not "
                "negative"
            )
        if self.copies is not None and self.copies < 1:
            raise InputError(f"expert_parallel: copies is {self.copies}; it must be at least 1")

    def local_experts(self, experts: int) -> int:
        """Return how many experts a rank holds; InputError if they cannot be divided evenly."""
        if experts % self.degree:
            raise InputError(
                f"{experts} experts cannot be divided among {self.degree} ranks; choose an "
                "expert_parallel.degree that divides them"
            )
        return experts // self.degree

    def exchange_seconds(self, size: float) -> float:
        """Return (n - 1) x latency + U (n - 1)/n / bandwidth, U = ``size`` bytes on each rank.

        An all-to-all by pairwise exchange: of what a rank holds, it keeps the n-th part.
        """
        if self.degree == 1 or self.bandwidth is None:
            return 0.0
        others = self.degree - 1
        return others * self.latency_s + size * others / self.degree / self.bandwidth

    def exchange_formula(self, size: float) -> str:
        """Return the formula of ``exchange_seconds`` with its figures."""
        return (
            f"all-to-all of {self.degree} ranks: {self.degree - 1} x {self.latency_s:g} s + "
            f"{size:.6g} B x {self.degree - 1}/{self.degree} / {self.bandwidth:g} B/s"
        )
