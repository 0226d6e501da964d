"""Zero bubble schedules: the backward in two halves, W where it fills (Qi et al., ICLR 2024)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from parplan.contracts import Strategy
from parplan.errors import InputError
from parplan.pipelines.construction import check_microbatches, fill_with_weights
from parplan.pipelines.pipeline import (
    Order,
    Pass,
    PassKind,
    PipelineShape,
    StageTimes,
    equal_times,
    one_way,
    v_shaped,
)


class ZeroBubbleH1(Strategy):
    """Device i runs W of microbatch k after B of microbatch k + i: no more memory than 1F1B."""

    name: ClassVar[str] = "zb-h1"

    def shape(self, devices: int, microbatches: int, chunks: int) -> PipelineShape | None:
        """Return one stage per device; needs at least as many microbatches as devices."""
        if chunks != 1:
            return None
        check_microbatches(devices, microbatches)
        return one_way(devices, microbatches)

    def orders(self, shape: PipelineShape) -> Sequence[Order]:
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


class ZeroBubbleH2(Strategy):
    """Twice 1F1B's warm-up, so that no stage waits between its first F and its last W."""

    name: ClassVar[str] = "zb-h2"

    def shape(self, devices: int, microbatches: int, chunks: int) -> PipelineShape | None:
        """Return one stage per device; needs as many microbatches as it holds, 2p - 1."""
        if chunks != 1:
            return None
        if microbatches < 2 * devices - 1:
            raise InputError(f"needs at least {2 * devices - 1} microbatches on {devices} devices")
        return one_way(devices, microbatches)

    def orders(self, shape: PipelineShape) -> Sequence[Order]:
        """Return the orders for passes that all take as long."""
        return self.timed_orders(shape, equal_times(shape.stages))

    def timed_orders(self, shape: PipelineShape, times: StageTimes) -> Sequence[Order]:
        """Return 2(p - i) - 1 F's on device i, then B and F in turn, with W's in the gaps."""
        p, m = shape.devices, shape.microbatches
        passes = []
        for stage in range(p):
            warm_up = 2 * (p - stage) - 1
            row = [Pass(PassKind.F, stage, k) for k in range(warm_up)]
            for k in range(m):
                row.append(Pass(PassKind.B, stage, k))
                if warm_up + k < m:
                    row.append(Pass(PassKind.F, stage, warm_up + k))
            passes.append(row)
        return fill_with_weights(shape, passes, times, 2 * p - 1)


class ZeroBubbleV(Strategy):
    """Two chunks per device, there and back: no bubble in 1F1B's memory if F = B = W."""

    name: ClassVar[str] = "zb-v"

    def shape(self, devices: int, microbatches: int, chunks: int) -> PipelineShape | None:
        """Return a V of two stages per device; needs at least as many microbatches as devices."""
        if chunks != 2:
            return None
        check_microbatches(devices, microbatches)
        return v_shaped(devices, microbatches)

    def orders(self, shape: PipelineShape) -> Sequence[Order]:
        """Return the orders for passes that all take as long."""
        return self.timed_orders(shape, equal_times(shape.stages))

    def timed_orders(self, shape: PipelineShape, times: StageTimes) -> Sequence[Order]:
        """Return F's and B's of both legs in turn, with W's in the gaps and 2p chunks held."""
        p, m = shape.devices, shape.microbatches
        passes = [
            [one for one in _both_legs(device, p, max(m, 2 * p - 1)) if one.microbatch < m]
            for device in range(p)
        ]
        return fill_with_weights(shape, passes, times, 2 * p)


def _both_legs(device: int, devices: int, microbatches: int) -> Iterator[Pass]:
    """Yield the F's and B's of a device: first leg alone, both legs' F's, then all four in turn."""
    there, back = device, 2 * devices - 1 - device
    done: dict[tuple[PassKind, int], int] = {}

    def following(kind: PassKind, stage: int) -> Pass:
        k = done.get((kind, stage), 0)
        done[kind, stage] = k + 1
        return Pass(kind, stage, k)

    for _ in range(2 * (devices - device) - 1):
        yield following(PassKind.F, there)
    for _ in range(device):
        yield following(PassKind.F, back)
        yield following(PassKind.F, there)
    for _ in range(devices - device):
        yield following(PassKind.F, back)
        yield following(PassKind.B, back)
    while done[PassKind.F, back] < microbatches:
        if done[PassKind.F, there] < microbatches:
            yield following(PassKind.F, there)
        yield following(PassKind.B, there)
        yield following(PassKind.F, back)
        yield following(PassKind.B, back)
    for _ in range(device):
        yield following(PassKind.B, there)
        yield following(PassKind.B, back)
    for _ in range(devices - device):
        yield following(PassKind.B, there)
