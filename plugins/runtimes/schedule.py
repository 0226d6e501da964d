"""Runs a plan's actions by torch's pipeline runtime, and times each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.pipelining.schedules import (
    _Action,
    _ComputationType,
    _PipelineScheduleRuntime,
)

from parplan.plugins.runtimes.pipe_stages import PlanStage, Port
from parplan.plugins.runtimes.recorder import Recorder, Work
from parplan.stages.program import Action, ActionKind

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class PlanSchedule(_PipelineScheduleRuntime):  # type: ignore[misc]  # torch is untyped here
    """The actions of one rank, for stages with any predecessors and successors.

    torch's runtime reads the file, sends, posts receives and scales gradients. What computes is
    done here: torch would hand every output to the next stage alone, and would take the losses of
    microbatches in the order in which they were made.

    Parameters
    ----------
    targets
        Of each microbatch, for the loss.
    work_of
        What an action is called.
    loss
        Mean over a microbatch; the gradients of a step are the mean over its microbatches.

    Attributes
    ----------
    losses
        Of the microbatches that this rank computed the loss of, in the order in which it did.
    """

    def __init__(
        self,
        stages: Sequence[PlanStage],
        microbatches: int,
        recorder: Recorder,
        loss: Loss,
        targets: Sequence[Any],
        work_of: Callable[[Action], Work],
    ) -> None:
        super().__init__(list(stages), microbatches, loss_fn=loss)
        self.losses: list[float] = []
        self._recorder = recorder
        self._loss = loss
        self._targets = targets
        self._work_of = work_of
        self._loss_of: dict[tuple[int, int], torch.Tensor] = {}
        self._stage = {stage.stage_index: stage for stage in stages}
        self._work: dict[_ComputationType, Callable[[_Action], None]] = {
            _ComputationType.FORWARD: self._forward,
            _ComputationType.FULL_BACKWARD: partial(self._backward, full=True),
            _ComputationType.BACKWARD_INPUT: partial(self._backward, full=False),
            _ComputationType.BACKWARD_WEIGHT: self._backward_weight,
            _ComputationType.OVERLAP_F_B: self._overlap,
        }
        for kind, work in self._work.items():
            self.register_custom_function(kind, lambda action, _, work=work: work(action))

    def _validate_adjacent_stage_communication(self) -> None:
        """Accept messages between any two stages."""

    def _overlap(self, action: _Action) -> None:
        for each in action.sub_actions or ():
            self._work[each.computation_type](each)

    def _forward(self, action: _Action) -> None:
        stage, microbatch = self._stage[action.stage_index], action.microbatch_index
        if stage.receives_inputs:
            self._await(self.fwd_recv_ops, action, stage.await_inputs)
        with self._timed(action):
            output = stage.forward_one_chunk(
                microbatch, (), {"microbatch": microbatch}, save_forward_output=False
            )
            if stage.is_last:
                loss = self._loss(output, self._targets[microbatch])
                self._loss_of[stage.stage_index, microbatch] = loss
                self.losses.append(float(loss.detach()))
        outputs = () if stage.is_last else stage.outputs_of(microbatch)
        for port, tensor in zip(stage.wiring.outputs, outputs, strict=True):
            if stage.is_here(port.stage):
                here = Port(stage.stage_index, port.value)
                self._stage[port.stage].take_input(here, microbatch, tensor)

    def _backward(self, action: _Action, *, full: bool) -> None:
        stage, microbatch = self._stage[action.stage_index], action.microbatch_index
        if stage.receives_gradients:
            self._await(self.bwd_recv_ops, action, stage.await_gradients)
        with self._timed(action):
            loss = self._loss_of.pop((stage.stage_index, microbatch), None)
            stage.backward_one_chunk(microbatch, loss=loss, full_backward=full)
        gradients = () if stage.is_first else stage.gradients_of(microbatch)
        for port, gradient in zip(stage.wiring.inputs, gradients, strict=True):
            if stage.is_here(port.stage):
                here = Port(stage.stage_index, port.value)
                self._stage[port.stage].take_gradient(here, microbatch, gradient)
        if not stage.sends_gradients:
            stage.drop_gradients(microbatch)

    def _backward_weight(self, action: _Action) -> None:
        with self._timed(action):
            self._stage[action.stage_index].backward_weight_one_chunk(action.microbatch_index)

    def _await(
        self,
        received: dict[tuple[int, int], list[dist.Work]],
        action: _Action,
        arrive: Callable[[int], None],
    ) -> None:
        works = received.pop((action.stage_index, action.microbatch_index), None)
        if works is None:
            raise RuntimeError(f"the schedule receives nothing for {action}, which needs messages")
        with self._timed(action, waiting=True):
            for work in works:
                work.wait()
            arrive(action.microbatch_index)

    def _timed(self, action: _Action, *, waiting: bool = False) -> Any:
        kind = ActionKind(action.computation_type.value)
        work = self._work_of(Action(action.stage_index, kind, action.microbatch_index))
        return self._recorder.action(work, waiting=waiting)
