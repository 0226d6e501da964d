"""V-Min and V-Half: blocks of passes that live a third or half as long as 1F1B's, repeated.

Qi et al., "Pipeline Parallelism with Controllable Memory", NeurIPS 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from attrs import frozen

from parplan.contracts import Strategy
from parplan.errors import InputError
from parplan.pipelines.construction import fill_with_weights
from parplan.pipelines.pipeline import (
    Order,
    Pass,
    PassKind,
    PipelineShape,
    StageTimes,
    equal_times,
    v_shaped,
)

PERIOD = 6
"""Passes of a microbatch on a device of a V: F, B and W of two stages, of one slot each."""


@frozen
class Block:
    """When one microbatch runs through a V of stages, in slots.

    Attributes
    ----------
    hops
        Slots from a stage to the next: on the forward leg there and back, on the backward's legs.
    turns
        Slots from a leg to the next: at the far end, at the last stage, at the far end again.
    """

    hops: tuple[int, int, int, int]
    turns: tuple[int, int, int]

    def slots(self, devices: int) -> list[list[tuple[int, PassKind, int]]]:
        """Return (slot, kind, stage) of the F's and B's of each device."""
        found: list[list[tuple[int, PassKind, int]]] = [[] for _ in range(devices)]
        there = list(range(devices))
        legs = (
            (PassKind.F, there, 0),
            (PassKind.F, there[::-1], devices),
            (PassKind.B, there, 2 * devices - 1),
            (PassKind.B, there[::-1], devices - 1),
        )
        slot = 0
        for leg, (kind, ranks, first) in enumerate(legs):
            step = 1 if kind is PassKind.F else -1
            for i, rank in enumerate(ranks):
                found[rank].append((slot + i * self.hops[leg], kind, first + step * i))
            if leg < len(self.turns):
                slot += (devices - 1) * self.hops[leg] + self.turns[leg]
        return found


class _Repeated(Strategy):
    """A block begun anew every six slots, squeezed, with W's in the gaps."""

    def block(self, devices: int) -> Block:
        """Return the block for a number of devices."""
        raise NotImplementedError

    def most_activations(self, devices: int) -> int:
        """Return how many activations of a chunk each device may hold."""
        raise NotImplementedError

    def shape(self, devices: int, microbatches: int, chunks: int) -> PipelineShape | None:
        """Return a V of two stages per device; any number of microbatches."""
        if chunks != 2:
            return None
        if devices < 2:
            raise InputError("needs at least two devices: a V has two legs")
        return v_shaped(devices, microbatches)

    def orders(self, shape: PipelineShape) -> Sequence[Order]:
        """Return the orders for passes that all take as long."""
        return self.timed_orders(shape, equal_times(shape.stages))

    def timed_orders(self, shape: PipelineShape, times: StageTimes) -> Sequence[Order]:
        """Return the F's and B's by slot, with W's where these times leave gaps."""
        passes = []
        for slots in self.block(shape.devices).slots(shape.devices):
            row = [
                (slot + PERIOD * k, kind, stage, k)
                for slot, kind, stage in slots
                for k in range(shape.microbatches)
            ]
            passes.append([Pass(kind, stage, k) for _, kind, stage, k in sorted(row)])
        return fill_with_weights(shape, passes, times, self.most_activations(shape.devices))


class VMin(_Repeated):
    """The least memory that keeps a V busy: about a third of 1F1B's."""

    name: ClassVar[str] = "v-min"

    def block(self, devices: int) -> Block:
        """Return passes that follow one another at once, but for slots that would collide."""
        return Block((1, 1, 1, 1), (1, 1, 1) if devices % 3 else (3, 1, 3))

    def most_activations(self, devices: int) -> int:
        """Return 2(p + 4)/3: (p + 4)/3 of a device's share."""
        return 2 * (devices + 4) // 3


class VHalf(_Repeated):
    """About half of 1F1B's memory, with a smaller bubble than V-Min's."""

    name: ClassVar[str] = "v-half"

    def block(self, devices: int) -> Block:
        """Return legs that take two slots per stage one way and one the other."""
        return Block((1, 2, 1, 2), (1, 1, 2) if devices % 2 else (4, 2, 4))

    def most_activations(self, devices: int) -> int:
        """Return p + 2: (p + 2)/2 of a device's share."""
        return devices + 2
