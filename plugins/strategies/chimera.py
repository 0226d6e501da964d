"""Chimera: two pipelines in opposite directions (Li and Hoefler, SC'21)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from parplan.contracts import Strategy
from parplan.errors import InputError
from parplan.pipelines.construction import whole_backward
from parplan.pipelines.pipeline import Fused, Order, Pass, PassKind, PipelineShape, mirrored


class Chimera(Strategy):
    """Units of p microbatches, half of them in each direction, joined end to end."""

    name: ClassVar[str] = "chimera"

    def shape(self, devices: int, microbatches: int, chunks: int) -> PipelineShape | None:
        """Return two directions; devices even, microbatches a multiple of them."""
        if chunks != 1:
            return None
        if devices % 2:
            raise InputError(f"needs an even number of devices, not {devices}")
        if microbatches % devices:
            raise InputError(
                f"needs a multiple of {devices} microbatches (the devices), not {microbatches}"
            )
        groups = [2 * (k % devices) // devices for k in range(microbatches)]
        return mirrored(devices, groups)

    def orders(self, shape: PipelineShape) -> Sequence[Order]:
        """Return the passes by slot: F of stage s in slot s + 2i, backwards after it as far.

        Slots of the two directions differ in parity, as p is even, so none collide; a unit takes
        2p slots of each device, and the next begins 2p slots later.
        """
        p = shape.devices
        rows: list[list[tuple[int, Pass | Fused]]] = [[] for _ in range(p)]
        for k in range(shape.microbatches):
            first = 2 * p * (k // p) + 2 * (k % (p // 2))
            for stage in range(p):
                row = rows[shape.placements[shape.group(k)][stage]]
                row.append((first + stage, Pass(PassKind.F, stage, k)))
                row.append((first + 2 * p - 1 - stage, whole_backward(stage, k)))
        return [[item for _, item in sorted(row, key=lambda entry: entry[0])] for row in rows]
