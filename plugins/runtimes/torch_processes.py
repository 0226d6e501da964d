"""Trains a model by a plan with PyTorch: one process for each device, all on this machine."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs

from parplan.contracts import RunRequest, Runtime
from parplan.errors import InputError
from parplan.measuring.recording import Recording
from parplan.plans import Plan
from parplan.plugins.runtimes.folder import Folder, read_results
from parplan.plugins.runtimes.job import ForwardOperator, TrainingJob, write_job
from parplan.plugins.runtimes.recordings import recording_of
from parplan.plugins.runtimes.watching import watch
from parplan.problem import Problem
from parplan.stages.manifest import read_manifest
from parplan.stages.program import StageProgram
from parplan.system.extras import required


class TorchProcesses(Runtime):
    """Processes of ``torch.distributed.pipelining``, which execute ``comms.csv``."""

    name: ClassVar[str] = "torch"
    exporter: ClassVar[str] = "torch-csv"
    export_options: ClassVar[Mapping[str, Any]] = {"tagged": True}

    def run(self, plan: Plan, files: Path, request: RunRequest) -> Recording:
        """Run a plan; see ``parplan.contracts.Runtime``."""
        required("torch", "torch")
        if not request.model:
            raise InputError(
                "PyTorch's pipelines train a model: name one, or run the plan without, by the "
                "runtime 'emulation'",
                key="model",
            )
        program = read_manifest(files / "stages.json")
        if not program.is_training:
            raise InputError("the plan has no backward passes; PyTorch's pipelines train")
        job = training_job(plan, program, files / "comms.csv", request)
        with tempfile.TemporaryDirectory(prefix="parplan-run-") as name:
            folder = Folder(Path(name))
            write_job(job, folder)
            watch(job, folder, request.timeout_s)
            return recording_of_training(job, folder)


def training_job(
    plan: Plan, program: StageProgram, schedule: Path, request: RunRequest
) -> TrainingJob:
    """Return what the processes of a run are told."""
    return TrainingJob(
        program,
        tuple(_forward(plan.problem, program)),
        str(schedule.resolve()),
        request.model,
        request.folder,
        request.steps,
        request.check_gradients,
    )


def _forward(problem: Problem, program: StageProgram) -> Iterator[ForwardOperator]:
    graph = problem.graph
    stage_of = {name: stage.index for stage in program.stages for name in stage.forward}
    for index in graph.topological_order:
        operator = graph.operators[index]
        if operator.name not in stage_of:
            continue
        makers = (graph.operators[graph.producers[t]].name for t in graph.inputs[index])
        sources = dict.fromkeys(name for name in makers if name in stage_of)
        yield ForwardOperator(
            operator.name, operator.module, stage_of[operator.name], tuple(sources)
        )


def recording_of_training(job: TrainingJob, folder: Folder) -> Recording:
    """Return what the processes left, in the names and numbers of the plan."""
    results = read_results(folder, range(len(job.devices)))
    differences = {}
    if job.check_gradients:
        differences = json.loads(folder.differences.read_text(encoding="utf-8"))
    return attrs.evolve(
        recording_of(job.program.name, f"model {job.model}", job.devices, results),
        losses=next((result.losses for result in results if result.losses), ()),
        gradient_differences=differences,
    )
