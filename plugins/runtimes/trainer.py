"""What one process of a training does: builds its stages and runs their actions."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from attrs import frozen

from parplan.plugins.runtimes.folder import Folder, Result
from parplan.plugins.runtimes.job import TrainingJob
from parplan.plugins.runtimes.model import Model, build_stages, cut_model
from parplan.plugins.runtimes.recorder import Recorder, Work
from parplan.plugins.runtimes.reference import (
    Gradients,
    copy_gradients,
    largest_differences,
    reference_gradients,
)
from parplan.plugins.runtimes.schedule import PlanSchedule
from parplan.plugins.runtimes.training import make_training
from parplan.plugins.runtimes.worker import Part
from parplan.stages.program import Action, StageProgram


@frozen(eq=False)
class Trainer:
    """Trains the stages of a rank."""

    job: TrainingJob
    folder: Folder
    function: Callable[[], Any]

    def prepare(self, rank: int) -> Part:
        """Return what a rank does, once its model is made."""
        return partial(self._train, rank, self._model())

    def _model(self) -> Model:
        return cut_model(make_training(self.function, self.job.seed), self.job)

    def _train(self, rank: int, model: Model, recorder: Recorder) -> Result:
        job, program = self.job, self.job.program
        mine = [stage.index for stage in program.stages if stage.rank == rank]
        schedule = PlanSchedule(
            build_stages(model, mine, len(program.stages)),
            program.microbatches,
            recorder,
            model.training.loss,
            model.targets,
            partial(work_of, program),
        )
        schedule._load_csv(job.schedule_file, format="compute_comms")
        parameters = model.parameters(mine)
        make = model.training.optimizer
        optimizer = make(parameters.values()) if make and parameters else None
        gradients: Gradients = []
        losses: list[float] = []
        gc.disable()  # its pauses would be measured
        for step in range(job.steps):
            recorder.step = step
            recorder.doing(f"waits for the other processes to begin step {step}")
            for parameter in parameters.values():
                parameter.grad = None
            dist.barrier()
            schedule.step(return_outputs=False)
            if schedule.losses:
                losses.append(sum(schedule.losses) / len(schedule.losses))
                schedule.losses.clear()
            if job.check_gradients:
                gradients.append(copy_gradients(parameters))
            if optimizer is not None:
                optimizer.step()
            gc.collect()
        if job.check_gradients:
            torch.save(gradients, self.folder.gradients(rank))
        return Result(tuple(recorder.timed), tuple(losses), None)

    def compare_gradients(self) -> None:
        """Run the steps in this process alone and write how far the ranks' gradients are off."""
        torch.set_num_threads(1)
        expected = reference_gradients(self._model(), self.job.steps)
        found: Gradients = [{} for _ in range(self.job.steps)]
        for rank in range(len(self.job.devices)):
            theirs: Gradients = torch.load(self.folder.gradients(rank))
            for ours, more in zip(found, theirs, strict=True):
                ours.update(more)
        text = json.dumps(largest_differences(found, expected))
        self.folder.differences.write_text(text, encoding="utf-8")


def work_of(program: StageProgram, action: Action) -> Work:
    """Return what an action does, in the names and numbers of the plan."""
    return Work(
        f"action {action} (stage {action.stage})",
        program.stages[action.stage].operators(action.kind),
        action.kind.value,
        program.numbers[action.microbatch],
    )
