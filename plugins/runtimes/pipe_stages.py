"""Stages for torch's pipeline runtime that read from, and are read by, any others.

torch's own ``PipelineStage`` knows the stages before and after it alone. What differs here is
where messages come from and go to, and that stages on one rank hand tensors on directly. The rest
(microbatches, buffers, the backward pass in one or two parts) is torch's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from attrs import frozen
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.stage import _make_tensor_from_meta, _RecvInfo


@frozen
class Port:
    """One end of a message: the stage at the other end, and the name of the value."""

    stage: int
    value: str


@frozen
class Wiring:
    """What flows in and out of a stage for each microbatch.

    Attributes
    ----------
    inputs, outputs
        In the order of the module's arguments and results. Two stages name the values between them
        in the same order. A value with several readers stands once for each.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


class PlanStage(PipelineStage):  # type: ignore[misc]  # torch is untyped here
    """A stage with any predecessors and successors.

    Parameters
    ----------
    inputs, outputs
        Example tensors of one microbatch, for shapes, types and whether gradients flow.
    side_paths
        Whether some output does not depend on inputs that get gradients. What leads to it is no
        part of the graph that torch saves where a backward pass is split: its parameters would
        silently have no gradient from there.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        index: int,
        stages: int,
        wiring: Wiring,
        inputs: Sequence[torch.Tensor],
        outputs: Sequence[torch.Tensor],
        *,
        side_paths: bool = False,
    ) -> None:
        self.wiring = wiring
        self.side_paths = side_paths
        super().__init__(
            module,
            index,
            stages,
            torch.device("cpu"),
            input_args=tuple(inputs),
            output_args=tuple(outputs),
        )

    @property
    def is_first(self) -> bool:
        """Whether its inputs are the model's."""
        return not self.wiring.inputs

    @property
    def is_last(self) -> bool:
        """Whether its output is the model's."""
        return not self.wiring.outputs

    def is_here(self, stage: int) -> bool:
        """Whether another stage is on this rank."""
        return bool(self._is_same_rank(stage))

    @property
    def receives_inputs(self) -> bool:
        """Whether inputs come from other ranks."""
        return not all(self.is_here(port.stage) for port in self.wiring.inputs)

    @property
    def receives_gradients(self) -> bool:
        """Whether gradients come from other ranks."""
        metas = self._stage_meta.output_grads or ()
        pairs = zip(self.wiring.outputs, metas, strict=True) if self.wiring.outputs else ()
        return any(meta is not None and not self.is_here(port.stage) for port, meta in pairs)

    @property
    def sends_gradients(self) -> bool:
        """Whether gradients go to other ranks."""
        metas = self._stage_meta.input_grads or ()
        pairs = zip(self.wiring.inputs, metas, strict=True) if self.wiring.inputs else ()
        return any(meta is not None and not self.is_here(port.stage) for port, meta in pairs)

    def await_inputs(self, microbatch: int) -> None:
        """Wait for what received inputs still need, once their messages are there."""

    def await_gradients(self, microbatch: int) -> None:
        """Wait for what received gradients still need, once their messages are there."""

    def _warmup_forward_vote(
        self, has_backward: bool, received_acc: torch.Tensor | None = None
    ) -> torch.Tensor:
        return torch.ones(1, dtype=torch.int32)  # all shapes are known: nothing to ask others

    def _warmup_backward_result(self, received_result: torch.Tensor | None = None) -> torch.Tensor:
        return torch.ones(1, dtype=torch.int32)

    def _setup_forward_recv_info(self, num_microbatches: int, has_backward: bool) -> None:
        if self.is_first:
            super()._setup_forward_recv_info(num_microbatches, has_backward)
            return
        for microbatch in range(num_microbatches):
            self.args_recv_info[microbatch] = tuple(
                _RecvInfo(
                    input_name=port.value,
                    source=port.stage,
                    buffer=_make_tensor_from_meta(meta, self.device),
                    tensor_meta=meta,
                )
                for port, meta in zip(self.wiring.inputs, self._stage_meta.inputs, strict=True)
            )

    def _setup_forward_send_info(self) -> None:
        self.act_send_info = {i: [port.stage] for i, port in enumerate(self.wiring.outputs)}

    def get_fwd_recv_ops(self, fwd_chunk_id: int) -> list[dist.P2POp]:
        """Return what receives inputs from other ranks."""
        tags = self._tags(self.wiring.inputs, self.args_recv_info[fwd_chunk_id], fwd_chunk_id)
        return self._with_others(super().get_fwd_recv_ops(fwd_chunk_id), tags)

    def get_bwd_recv_ops(self, bwd_chunk_id: int) -> list[dist.P2POp]:
        """Return what receives gradients from other ranks."""
        infos = self.grad_recv_info[bwd_chunk_id]
        tags = self._tags(self.wiring.outputs, [info.buffer for info in infos], bwd_chunk_id)
        return self._with_others(super().get_bwd_recv_ops(bwd_chunk_id), tags)

    def get_fwd_send_ops(self, fwd_chunk_id: int) -> list[dist.P2POp]:
        """Return what sends outputs to other ranks."""
        tags = self._tags(self.wiring.outputs, self.outputs_of(fwd_chunk_id), fwd_chunk_id)
        return self._with_others(super().get_fwd_send_ops(fwd_chunk_id), tags)

    def get_bwd_send_ops(self, bwd_chunk_id: int) -> list[dist.P2POp]:
        """Return what sends gradients to other ranks; they are not kept."""
        tags = self._tags(self.wiring.inputs, self._stage_meta.input_grads, bwd_chunk_id)
        return self._with_others(super().get_bwd_send_ops(bwd_chunk_id), tags)

    def _tags(self, ports: Sequence[Port], flows: Sequence[object], microbatch: int) -> list[int]:
        """Return the tag of each message that flows; both ends reckon the same.

        Messages between two stages for one microbatch have one tag, and one order. Inputs and
        gradients go opposite ways, so they cannot be mistaken for each other.
        """
        count = self.num_stages
        return [
            (microbatch * count + min(self.stage_index, port.stage)) * count
            + max(self.stage_index, port.stage)
            for port, flow in zip(ports, flows, strict=True)
            if flow is not None
        ]

    def _with_others(
        self, operations: Sequence[dist.P2POp], tags: Sequence[int]
    ) -> list[dist.P2POp]:
        """Return the messages that are not from this rank to itself, each with its tag."""
        found = []
        for operation, tag in zip(operations, tags, strict=True):
            if operation.group_peer != self.group_rank:
                operation.tag = tag
                found.append(operation)
        return found

    def take_input(self, port: Port, microbatch: int, tensor: torch.Tensor) -> None:
        """Take the output of a stage on this rank."""
        position = self.wiring.inputs.index(port)
        self.args_recv_info[microbatch][position].buffer = tensor.detach()

    def take_gradient(self, port: Port, microbatch: int, gradient: torch.Tensor | None) -> None:
        """Take the gradient of an output from a stage on this rank."""
        info = self.grad_recv_info[microbatch][self.wiring.outputs.index(port)]
        if gradient is not None:
            info.buffer = gradient
        elif info.buffer is not None:
            info.buffer.zero_()

    def outputs_of(self, microbatch: int) -> tuple[torch.Tensor, ...]:
        """Return what the forward pass of a microbatch gave, in the order of the outputs."""
        outputs: tuple[torch.Tensor, ...] = self.fwd_cache[microbatch][0]
        return outputs

    def gradients_of(self, microbatch: int) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of the inputs, in the order of the inputs."""
        gradients: tuple[torch.Tensor | None, ...] = self.bwd_cache[microbatch]
        return gradients

    def drop_gradients(self, microbatch: int) -> None:
        """Forget the gradients of the inputs, where nothing is sent."""
        self.bwd_cache.pop(microbatch, None)

    def backward_one_chunk(
        self,
        bwd_chunk_id: int,
        loss: torch.Tensor | None = None,
        full_backward: bool = True,
        last_backward: bool = False,
    ) -> None:
        """Run the backward pass, whole or for the inputs alone."""
        if self.side_paths and not full_backward and not self.is_first:
            self._backward_input(bwd_chunk_id, loss)
        else:
            super().backward_one_chunk(bwd_chunk_id, loss, full_backward, last_backward)
        self.bwd_cache[bwd_chunk_id] = tuple(
            None if gradient is None else gradient.contiguous()  # gloo sends nothing else
            for gradient in self.bwd_cache[bwd_chunk_id]
        )

    def _backward_input(self, microbatch: int, loss: torch.Tensor | None) -> None:
        """Run the backward pass for the inputs alone, and keep the graph for all of it."""
        outputs, inputs = self.fwd_cache.pop(microbatch)
        if self.is_last:
            ends, gradients = [loss], [None]
        else:
            ends, gradients = list(outputs), list(self._retrieve_recv_grads(microbatch))
        flowing = [i for i, end in enumerate(ends) if end is not None and end.requires_grad]
        received = inputs[: len(self.wiring.inputs)]  # the number of the microbatch follows
        wanted = [value for value in received if value.requires_grad]
        found = torch.autograd.grad(
            [ends[i] for i in flowing],
            wanted,
            [gradients[i] for i in flowing],
            retain_graph=True,
            allow_unused=True,
        )
        by_input = dict(zip(map(id, wanted), found, strict=True))
        self.bwd_cache[microbatch] = tuple(by_input.get(id(value)) for value in received)
        self.backward_state[microbatch] = (inputs, None, tuple(ends), gradients)
        self.dw_runner[microbatch] = lambda: None

    def backward_weight_one_chunk(self, bwd_chunk_id: int, last_backward: bool = False) -> None:
        """Run the rest of a split backward pass; of a stage without inputs, all of it.

        With side paths it runs through all of the graph once more: slower, and right.
        """
        if not (self.is_first or self.side_paths) or self.stage_index == 0:
            super().backward_weight_one_chunk(bwd_chunk_id, last_backward)
            return
        inputs, _, outputs, gradients = self.backward_state.pop(bwd_chunk_id)
        self.dw_runner.pop(bwd_chunk_id)
        self.backward_maybe_with_nosync(
            "full",
            {"stage_output": outputs, "output_grads": gradients, "input_values": inputs},
            last_backward=last_backward,
        )
