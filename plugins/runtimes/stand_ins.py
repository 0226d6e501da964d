"""Stages that stand in for a model: they take the planned time and memory, and compute nothing.

Messages are real, but small. Each carries the time at which it would arrive by the plan's links,
and its receiver waits until then.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.distributed as dist
from attrs import define, field, frozen
from torch.distributed.pipelining.stage import _RecvInfo

from parplan.plugins.runtimes.job import Delay
from parplan.plugins.runtimes.pipe_stages import PlanStage, Port, Wiring
from parplan.stages.program import ActionKind

MESSAGE_NUMBERS = 16
"""Numbers of 64 bits in a message; the first says when it arrives."""

SPIN_S = 2e-4
"""The last part of a sleep is spent awake: the system wakes a process about so much too late."""


def wait_until(instant: float) -> None:
    """Return at an instant of ``time.monotonic``, as exactly as can be."""
    left = instant - time.monotonic()
    if left > SPIN_S:
        time.sleep(left - SPIN_S)
    while time.monotonic() < instant:
        pass


@define
class Outbox:
    """When messages of one rank arrive: those to one other rank take their link one by one.

    Links that several pairs of devices share count for each pair by itself.
    """

    free: dict[int, float] = field(factory=dict)

    def arrival(self, rank: int, delay: Delay) -> float:
        """Return when a message arrives that is sent now, and take the link for it."""
        start = max(time.monotonic(), self.free.get(rank, 0.0))
        self.free[rank] = start + delay.occupied_s
        return start + delay.arrival_s


@define
class Holdings:
    """Tensors that one rank holds in place of saved ones."""

    tensors: dict[tuple[int, int], torch.Tensor] = field(factory=dict)
    held_bytes: int = 0
    peak_bytes: int = 0

    def take(self, stage: int, microbatch: int, size: int) -> None:
        """Hold so many bytes for a microbatch."""
        self.tensors[stage, microbatch] = torch.ones(size, dtype=torch.uint8)  # written: resident
        self.held_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.held_bytes)

    def drop(self, stage: int, microbatch: int) -> None:
        """Let go what is held for a microbatch."""
        self.held_bytes -= len(self.tensors.pop((stage, microbatch)))


@frozen
class Planned:
    """What a stage takes by the plan, in the seconds and bytes of the run.

    Attributes
    ----------
    seconds
        Of each action.
    delays
        Of messages to other stages: inputs of a later one, gradients of an earlier one.
    saved_bytes
        Held for each microbatch from its forward action to the last of its backward ones.
    """

    seconds: Mapping[tuple[ActionKind, int], float]
    delays: Mapping[int, Delay]
    saved_bytes: int


class StandIn(PlanStage):
    """A stage whose actions last as long as planned.

    Parameters
    ----------
    inputs, outputs
        Example messages: those that require a gradient get one back.
    """

    def __init__(
        self,
        index: int,
        stages: int,
        wiring: Wiring,
        examples: tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]],
        planned: Planned,
        outbox: Outbox,
        holdings: Holdings,
    ) -> None:
        super().__init__(torch.nn.Identity(), index, stages, wiring, *examples)
        self._planned = planned
        self._outbox = outbox
        self._holdings = holdings

    def forward_one_chunk(
        self,
        fwd_chunk_id: int,
        args: object = (),
        kwargs: object = None,
        save_forward_output: bool = False,
    ) -> torch.Tensor:
        """Take the time of a forward action, and hold memory from then on."""
        with self._spending(ActionKind.FORWARD, fwd_chunk_id):
            self._holdings.take(self.stage_index, fwd_chunk_id, self._planned.saved_bytes)
            outputs = tuple(message() for _ in self.wiring.outputs)
            self.fwd_cache[fwd_chunk_id] = (outputs, [])
        return message()

    def backward_one_chunk(
        self,
        bwd_chunk_id: int,
        loss: torch.Tensor | None = None,
        full_backward: bool = True,
        last_backward: bool = False,
    ) -> None:
        """Take the time of a backward action."""
        kind = ActionKind.BACKWARD if full_backward else ActionKind.INPUT_GRADIENT
        with self._spending(kind, bwd_chunk_id):
            del self.fwd_cache[bwd_chunk_id]
            self.bwd_cache[bwd_chunk_id] = tuple(message() for _ in self.wiring.inputs)
            if full_backward:
                self._holdings.drop(self.stage_index, bwd_chunk_id)

    def backward_weight_one_chunk(self, bwd_chunk_id: int, last_backward: bool = False) -> None:
        """Take the time of the rest of a split backward pass."""
        with self._spending(ActionKind.WEIGHT_GRADIENT, bwd_chunk_id):
            self._holdings.drop(self.stage_index, bwd_chunk_id)

    @contextlib.contextmanager
    def _spending(self, kind: ActionKind, microbatch: int) -> Iterator[None]:
        end = time.monotonic() + self._planned.seconds[kind, microbatch]
        yield
        wait_until(end)

    def get_fwd_send_ops(self, fwd_chunk_id: int) -> list[dist.P2POp]:
        """Return what sends outputs to other ranks, with the time of their arrival."""
        self._stamp(self.wiring.outputs, self.outputs_of(fwd_chunk_id))
        return super().get_fwd_send_ops(fwd_chunk_id)

    def get_bwd_send_ops(self, bwd_chunk_id: int) -> list[dist.P2POp]:
        """Return what sends gradients to other ranks, with the time of their arrival."""
        self._stamp(self.wiring.inputs, self.gradients_of(bwd_chunk_id))
        return super().get_bwd_send_ops(bwd_chunk_id)

    def _stamp(self, ports: Sequence[Port], messages: Sequence[torch.Tensor | None]) -> None:
        for port, tensor in zip(ports, messages, strict=True):
            if tensor is not None and not self.is_here(port.stage):
                rank = self.stage_index_to_group_rank[port.stage]
                tensor[0] = self._outbox.arrival(rank, self._planned.delays[port.stage])

    def await_inputs(self, microbatch: int) -> None:
        """Wait until all inputs would have arrived."""
        self._await(self.args_recv_info[microbatch])

    def await_gradients(self, microbatch: int) -> None:
        """Wait until all gradients would have arrived."""
        self._await(self.grad_recv_info[microbatch])

    def _await(self, received: Sequence[_RecvInfo]) -> None:
        for info in received:
            if info.buffer is not None and not self.is_here(info.source):
                wait_until(float(info.buffer[0]))


def message(*, gradient: bool = False) -> torch.Tensor:
    """Return a message; whether one like it comes back as its gradient."""
    return torch.zeros(MESSAGE_NUMBERS, dtype=torch.float64, requires_grad=gradient)
