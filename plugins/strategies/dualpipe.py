"""DualPipe and DualPipeV: forward and backward passes of two chains in overlapped pairs.

DeepSeek-AI, "DeepSeek-V3 Technical Report" (arXiv 2412.19437), section 3.2.1, and the public
repository deepseek-ai/DualPipe (its README and the number of steps of each kind).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import ClassVar

from attrs import frozen

from parplan.contracts import Strategy
from parplan.errors import InputError
from parplan.pipelines.pipeline import (
    Fused,
    Order,
    Pass,
    PassKind,
    PipelineShape,
    mirrored,
    v_shaped,
)

Step = tuple[tuple[PassKind, int, int], ...]
"""(kind, chain, number of the microbatch in its chain) of what one call runs."""

PAIR = 3
"""Passes of an overlapped pair: F, and B and W of the other chain."""


class _Counter:
    """Hands out the steps of one device: each chain's microbatches in order."""

    def __init__(self) -> None:
        self._done: dict[tuple[PassKind, int], int] = {}
        self._late: deque[tuple[PassKind, int, int]] = deque()

    def _take(self, kind: PassKind, chain: int) -> tuple[PassKind, int, int]:
        number = self._done.get((kind, chain), 0)
        self._done[kind, chain] = number + 1
        return kind, chain, number

    def forward(self, chain: int) -> Step:
        return (self._take(PassKind.F, chain),)

    def backward(self, chain: int) -> Step:
        """Return a whole backward: B and W."""
        one = self._take(PassKind.B, chain)
        return one, (PassKind.W, *one[1:])

    def half(self, chain: int) -> Step:
        """Return B alone; its W is left for ``weight``."""
        one = self._take(PassKind.B, chain)
        self._late.append((PassKind.W, *one[1:]))
        return (one,)

    def weight(self) -> Step:
        return (self._late.popleft(),)

    def pair(self, forward: int, backward: int) -> Step:
        return self.forward(forward) + self.backward(backward)


def steps(rank: int, ranks: int, microbatches: int) -> Iterator[Step]:
    """Yield the calls of the device that is ``rank``-th of ``ranks`` from the chains' outer end.

    Chain 0 reaches the device before its turn, chain 1 after it: in DualPipe the two directions,
    in DualPipeV the two legs of the V.

    Parameters
    ----------
    microbatches
        Of each chain; at least ``2 * ranks``.
    """
    take = _Counter()
    inward = ranks - 1 - rank
    for _ in range(2 * inward):
        yield take.forward(0)
    for _ in range(rank + 1):
        yield take.forward(0)
        yield take.forward(1)
    for _ in range(inward):
        yield take.half(1)
        yield take.weight()
        yield take.forward(1)
    for i in range(microbatches - 2 * ranks + rank + 1):
        if i == 0 and inward == 0:  # the turn itself hands its first forward on at once
            yield take.forward(0)
            yield take.backward(1)
        else:
            yield take.pair(0, 1)
        yield take.pair(1, 0)
    for _ in range(inward):
        yield take.backward(1)
        yield take.pair(1, 0)
    # Halfway through the way out, B's go alone: the W's fill the rest.
    calls = [1, 0] * (rank + 1)
    for i, chain in enumerate(calls):
        yield take.half(chain) if i > rank else take.backward(chain)
    for _ in range(inward):
        yield take.weight()
        yield take.half(0)
    for _ in range(rank + 1):
        yield take.weight()


def _calls(found: Iterator[Step], stage: dict[int, int], shift: int, *, fused: bool) -> Order:
    """Return steps as passes: stage of each chain, and how far chain 1's microbatches are on."""
    order: list[Pass | Fused] = []
    for step in found:
        passes = [Pass(kind, stage[chain], number + chain * shift) for kind, chain, number in step]
        if len(passes) == PAIR and not fused:
            order += [passes[0], Fused(passes[1:])]
        else:
            order.append(passes[0] if len(passes) == 1 else Fused(passes))
    return order


@frozen
class DualPipe(Strategy):
    """Two directions, their passes in overlapped pairs; two copies of the parameters.

    Attributes
    ----------
    fused
        A pair hands on what it made when both its halves have ended, as where one call runs them.
        If not, F hands on its result as it ends.
    """

    name: ClassVar[str] = "dualpipe"

    fused: bool = True

    def shape(self, devices: int, microbatches: int, chunks: int) -> PipelineShape | None:
        """Return two directions; devices and microbatches even, two microbatches per device."""
        if chunks != 1:
            return None
        if devices % 2 or microbatches % 2:
            raise InputError(
                f"needs even numbers of devices and microbatches, not {devices} and {microbatches}"
            )
        if microbatches < 2 * devices:
            raise InputError(f"needs at least {2 * devices} microbatches on {devices} devices")
        half = microbatches // 2
        return mirrored(devices, [0] * half + [1] * half)

    def orders(self, shape: PipelineShape) -> Sequence[Order]:
        """Return the calls of each device; the second half of the devices mirrors the first."""
        p, half = shape.devices, shape.microbatches // 2
        result = []
        for device in range(p):
            rank = min(device, p - 1 - device)
            result.append(self._order(device, rank, p, half))
        return result

    def _order(self, device: int, rank: int, devices: int, half: int) -> Order:
        found = steps(rank, devices // 2, half)
        if device == rank:
            return _calls(found, {0: rank, 1: devices - 1 - rank}, half, fused=self.fused)
        turned = (tuple((kind, 1 - chain, k) for kind, chain, k in step) for step in found)
        return _calls(turned, {1: rank, 0: devices - 1 - rank}, half, fused=self.fused)


@frozen
class DualPipeV(Strategy):
    """DualPipe cut in half: the two legs of a V take the place of the two directions.

    Attributes
    ----------
    fused
        As in DualPipe.
    """

    name: ClassVar[str] = "dualpipe-v"

    fused: bool = True

    def shape(self, devices: int, microbatches: int, chunks: int) -> PipelineShape | None:
        """Return a V of two stages per device; at least two microbatches per device."""
        if chunks != 2:
            return None
        if microbatches < 2 * devices:
            raise InputError(f"needs at least {2 * devices} microbatches on {devices} devices")
        return v_shaped(devices, microbatches)

    def orders(self, shape: PipelineShape) -> Sequence[Order]:
        """Return the calls of each device: chain 0 is the leg there, chain 1 the leg back."""
        p = shape.devices
        return [
            _calls(
                steps(rank, p, shape.microbatches),
                {0: rank, 1: 2 * p - 1 - rank},
                0,
                fused=self.fused,
            )
            for rank in range(p)
        ]
