"""Runs a plan by PyTorch: one process for each device, all on this machine, over gloo."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from parplan import __version__
from parplan.contracts import RunRequest, Runtime
from parplan.errors import InputError
from parplan.measuring.recording import WAIT, Recording, Span
from parplan.plans import Plan
from parplan.plugins.runtimes.job import (
    Channel,
    Delay,
    Folder,
    ForwardOperator,
    Job,
    Result,
    read_results,
    write_job,
)
from parplan.plugins.runtimes.watching import watch
from parplan.problem import Problem
from parplan.stages.manifest import read_manifest
from parplan.stages.program import ActionKind, StageProgram
from parplan.system.extras import required


class TorchProcesses(Runtime):
    """Processes of ``torch.distributed.pipelining``, which execute ``comms.csv``."""

    name: ClassVar[str] = "torch"
    exporter: ClassVar[str] = "torch-csv"

    def run(self, plan: Plan, files: Path, request: RunRequest) -> Recording:
        """Run a plan; see ``parplan.contracts.Runtime``."""
        required("torch", "torch")
        program = read_manifest(files / "stages.json")
        if not program.is_training:
            raise InputError("the plan has no backward passes; PyTorch's pipelines train")
        job = make_job(plan, program, files / "comms.csv", request)
        with tempfile.TemporaryDirectory(prefix="parplan-run-") as name:
            folder = Folder(Path(name))
            write_job(job, folder)
            watch(job, folder, request.timeout_s)
            return recording_of(job, folder)


def make_job(plan: Plan, program: StageProgram, schedule: Path, request: RunRequest) -> Job:
    """Return what the processes of a run are told."""
    return Job(
        program,
        tuple(_forward(plan.problem, program)),
        tuple(_channels(plan.problem, program)),
        str(schedule.resolve()),
        request.model,
        request.folder,
        request.steps,
        request.seconds_per_planned_second,
        request.bytes_per_planned_byte,
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


def _channels(problem: Problem, program: StageProgram) -> Iterator[Channel]:
    devices = problem.cluster.device_index
    for edge in program.edges:
        source, target = (devices[program.stages[s].device] for s in (edge.source, edge.target))
        if source != target:
            yield Channel(
                edge.source,
                edge.target,
                _delay(problem, edge.bytes, source, target),
                _delay(problem, edge.gradient_bytes, target, source),
            )


def _delay(problem: Problem, size: int, source: int, target: int) -> Delay:
    timing = problem.transfer_timing(size, source, target)
    if timing is None:  # gradients that do not flow need no way back
        return Delay()
    return Delay(timing.occupied * problem.tick_s, timing.arrival * problem.tick_s)


def recording_of(job: Job, folder: Folder) -> Recording:
    """Return what the processes left as a recording, in the names and numbers of the plan."""
    program, results = job.program, read_results(folder, job.ranks)
    begin = min(timed.start for result in results for timed in result.timed)
    spans = [
        span
        for rank, result in zip(program.ranks, results, strict=True)
        for span in _spans(program, rank.device, result, begin)
    ]
    peaks = {
        rank.device: result.peak_bytes
        for rank, result in zip(program.ranks, results, strict=True)
        if result.peak_bytes is not None
    }
    differences = {}
    if job.check_gradients:
        differences = json.loads(folder.differences.read_text(encoding="utf-8"))
    torch_version = version("torch")
    what = f"model {job.model}" if job.model else "stand-ins"
    return Recording(
        plan=program.name,
        source=f"torch {torch_version}: {what} in {len(results)} gloo processes on one machine",
        spans=tuple(sorted(spans, key=lambda span: (span.start_s, span.device))),
        peak_bytes=peaks,
        seconds_per_planned_second=1.0 if job.model else job.seconds_per_planned_second,
        versions={"parplan": __version__, "torch": torch_version},
        losses=next((result.losses for result in results if result.losses), ()),
        gradient_differences=differences,
        date=datetime.now(UTC).date().isoformat(),
    )


def _spans(program: StageProgram, device: str, result: Result, begin: float) -> Iterator[Span]:
    for timed in result.timed:
        yield Span(
            device,
            program.stages[timed.stage].operators(ActionKind(timed.kind)),
            WAIT if timed.waiting else timed.kind,
            program.numbers[timed.microbatch],
            timed.start - begin,
            timed.end - timed.start,
            timed.step,
        )
