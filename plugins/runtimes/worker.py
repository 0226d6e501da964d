"""What one process of a run does: builds its stages, runs its actions, leaves what it recorded."""

from __future__ import annotations

import gc
import json
import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import attrs
import torch
import torch.distributed as dist

from parplan.errors import InputError, ParplanError
from parplan.plugins.runtimes.job import Cause, Delay, Failure, Folder, Job, Result
from parplan.plugins.runtimes.model import Model, build_stages, cut_model
from parplan.plugins.runtimes.pipe_stages import PlanStage, Port, Wiring
from parplan.plugins.runtimes.recorder import Recorder, read_state
from parplan.plugins.runtimes.reference import (
    Gradients,
    copy_gradients,
    largest_differences,
    reference_gradients,
)
from parplan.plugins.runtimes.schedule import PlanSchedule
from parplan.plugins.runtimes.stand_ins import Holdings, Outbox, Planned, StandIn, message
from parplan.plugins.runtimes.training import make_training
from parplan.stages.program import ActionKind, StageProgram


def run_rank(job: Job, folder: Folder, rank: int, function: Callable[[], Any] | None) -> None:
    """Run all steps of one rank and write its result; if that fails, write why, and exit."""
    recorder = Recorder(folder.state(rank))
    try:
        torch.set_num_threads(1)
        recorder.doing("builds its stages")
        model = cut_model(make_training(function, job.seed), job) if function else None
        recorder.doing("waits for the other processes to start")
        _join(folder, rank, len(job.ranks))
        result = _run(job, folder, rank, model, recorder)
        folder.result(rank).write_text(json.dumps(attrs.asdict(result)), encoding="utf-8")
        recorder.doing("waits for the other processes to end")
        dist.barrier()  # nobody leaves while others still talk to it
    except BaseException as error:  # noqa: BLE001  # whatever it is, the watcher has to be told
        leave_failure(folder, rank, error)
        raise SystemExit(1) from None


def leave_failure(folder: Folder, rank: int, error: BaseException) -> None:
    """Write down why a process gives up."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    doing = read_state(folder.state(rank))
    failure = Failure(
        _cause(root, doing),
        str(root) if isinstance(root, ParplanError) else f"{type(root).__name__}: {root}",
        getattr(root, "key", None) or "",
        doing,
        "".join(traceback.format_exception(error)),
    )
    folder.failure(rank).write_text(json.dumps(attrs.asdict(failure)), encoding="utf-8")


def _cause(error: BaseException, doing: str) -> Cause:
    if isinstance(error, InputError):
        return Cause.INPUT
    return Cause.OTHERS if doing.startswith("waits") or "gloo" in str(error) else Cause.OWN


def compare_gradients(job: Job, folder: Folder, function: Callable[[], Any]) -> None:
    """Run the steps in this process alone and write how far the gradients of the ranks are."""
    torch.set_num_threads(1)
    expected = reference_gradients(cut_model(make_training(function, job.seed), job), job.steps)
    found: Gradients = [{} for _ in range(job.steps)]
    for rank in job.ranks:
        theirs: Gradients = torch.load(folder.gradients(rank))
        for ours, more in zip(found, theirs, strict=True):
            ours.update(more)
    text = json.dumps(largest_differences(found, expected))
    folder.differences.write_text(text, encoding="utf-8")


def _join(folder: Folder, rank: int, ranks: int) -> None:
    dist.init_process_group(
        "gloo",
        store=dist.FileStore(str(folder.store), ranks),
        rank=rank,
        world_size=ranks,
        timeout=timedelta(days=1),  # who watches the processes knows how long they may take
    )


def _run(job: Job, folder: Folder, rank: int, model: Model | None, recorder: Recorder) -> Result:
    program = job.program
    mine = [stage.index for stage in program.stages if stage.rank == rank]
    holdings = Holdings()
    stages = (
        build_stages(model, mine, len(program.stages))
        if model
        else _stand_ins(job, rank, mine, holdings)
    )
    targets = model.targets if model else (None,) * program.microbatches
    loss = model.training.loss if model else _no_loss
    schedule = PlanSchedule(stages, program.microbatches, recorder, loss, targets)
    schedule._load_csv(job.schedule_file, format="compute_comms")
    names = model.parameters(mine) if model else {}
    make = model.training.optimizer if model else None
    optimizer = make(names.values()) if make and names else None
    gradients: Gradients = []
    losses: list[float] = []
    gc.disable()  # its pauses would be measured
    for step in range(job.steps):
        recorder.step = step
        recorder.doing(f"waits for the other processes to begin step {step}")
        for parameter in names.values():
            parameter.grad = None
        dist.barrier()
        schedule.step(return_outputs=False)
        if schedule.losses:
            losses.append(sum(schedule.losses) / len(schedule.losses))
            schedule.losses.clear()
        if job.check_gradients:
            gradients.append(copy_gradients(names))
        if optimizer is not None:
            optimizer.step()
        gc.collect()
    if job.check_gradients:
        torch.save(gradients, folder.gradients(rank))
    peak = holdings.peak_bytes if job.bytes_per_planned_byte else None
    return Result(tuple(recorder.timed), tuple(losses) if model else (), peak)


def _stand_ins(job: Job, rank: int, stages: Sequence[int], holdings: Holdings) -> list[PlanStage]:
    program = job.program
    seconds: dict[int, dict[tuple[ActionKind, int], float]] = {stage: {} for stage in stages}
    for timed in program.ranks[rank].actions:
        action = timed.action
        length = timed.seconds * job.seconds_per_planned_second
        seconds[action.stage][action.kind, action.microbatch] = length
    outbox = Outbox()
    return [
        StandIn(
            stage,
            len(program.stages),
            _wiring(program, stage),
            _examples(program, stage),
            Planned(
                seconds[stage],
                _delays(job, stage),
                round(program.stages[stage].saved_bytes * job.bytes_per_planned_byte),
            ),
            outbox,
            holdings,
        )
        for stage in stages
    ]


def _wiring(program: StageProgram, stage: int) -> Wiring:
    """Return one value for each edge of a stage."""
    return Wiring(
        tuple(Port(edge.source, "message") for edge in program.edges_into(stage)),
        tuple(Port(edge.target, "message") for edge in program.edges_out_of(stage)),
    )


def _examples(program: StageProgram, stage: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    return (
        [message(gradient=bool(edge.gradients)) for edge in program.edges_into(stage)],
        [message(gradient=bool(edge.gradients)) for edge in program.edges_out_of(stage)]
        or [message()],
    )


def _delays(job: Job, stage: int) -> dict[int, Delay]:
    """Return what messages of a stage take in the seconds of the run, by the other stage."""
    scale = job.seconds_per_planned_second
    found = {}
    for channel in job.channels:
        if channel.source == stage:
            found[channel.target] = channel.forward.scaled(scale)
        if channel.target == stage:
            found[channel.source] = channel.gradient.scaled(scale)
    return found


def _no_loss(output: torch.Tensor, target: None) -> torch.Tensor:
    """Stand in for the loss."""
    return torch.zeros(())
