"""Interleaved 1F1B: several chunks per device (Narayanan et al., Megatron-LM, SC'21)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from parplan.contracts import Strategy
from parplan.errors import InputError
from parplan.pipelines.pipeline import Order, Pass, PassKind, PipelineShape, one_way


class Interleaved(Strategy):
    """Chunks in a loop over the devices; microbatches in groups of as many as there are devices."""

    name: ClassVar[str] = "interleaved-1f1b"
    fused_backward: ClassVar[bool] = True

    def shape(self, devices: int, microbatches: int, chunks: int) -> PipelineShape | None:
        """Return a loop of ``chunks`` >= 2; microbatches must be a multiple of devices."""
        if chunks < 2:
            return None
        if microbatches % devices:
            raise InputError(
                f"needs a multiple of {devices} microbatches (the devices), not {microbatches}"
            )
        return one_way(devices, microbatches, chunks)

    def orders(self, shape: PipelineShape) -> Sequence[Order]:
        """Return 1F1B over virtual microbatches: chunk by chunk, a group of microbatches each."""
        p, m = shape.devices, shape.microbatches
        chunks = shape.stages // p
        total = m * chunks
        result = []
        for rank in range(p):

            def forward(i: int, rank: int = rank) -> Pass:
                chunk = (i // p) % chunks
                return Pass(PassKind.F, chunk * p + rank, i // (p * chunks) * p + i % p)

            def backward(i: int, rank: int = rank) -> Pass:
                chunk = chunks - 1 - (i // p) % chunks
                return Pass(PassKind.B, chunk * p + rank, i // (p * chunks) * p + i % p)

            warm_up = min((p - rank - 1) * 2 + (chunks - 1) * p, total)
            passes = [forward(i) for i in range(warm_up)]
            for i in range(total):
                if warm_up + i < total:
                    passes.append(forward(warm_up + i))
                back = backward(i)
                passes += [back, Pass(PassKind.W, back.stage, back.microbatch)]
            result.append(passes)
        return result
