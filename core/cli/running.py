"""``parplan run``: a plan executed, and what was measured."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parplan.cli.common import (
    Settings,
    check_folder,
    json_option,
    load_registry,
    note,
    plugin_option,
)
from parplan.cli.output import emit, emit_json
from parplan.errors import InputError
from parplan.text import bytes_text, plain, seconds_text

if TYPE_CHECKING:
    from parplan.measuring.recording import Recording
    from parplan.plans import Plan

GRADIENT_TOLERANCE = 1e-5
"""Largest relative difference of a gradient in float32 that reordered sums explain."""

DIFFER = 1
"""Exit code where gradients differ by more."""


@click.command("run")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option(
    "--runtime",
    default="",
    metavar="NAME",
    help="Who runs it: torch where a model is named, else emulation, unless said.",
)
@click.option(
    "--model",
    default="",
    metavar="MODULE:FUNCTION",
    help="Train the model that a function of yours gives, instead of stand-ins.",
)
@click.option(
    "--emulate",
    "scale",
    type=float,
    metavar="SECONDS",
    help="What stand-ins spend for each planned second; 1 unless said.",
)
@click.option(
    "--emulate-memory",
    "memory_scale",
    type=float,
    metavar="BYTES",
    help="What stand-ins hold for each byte that is saved for the backward pass; 0 unless said.",
)
@click.option("--steps", default=1, show_default=True, metavar="N", help="Steps to run.")
@click.option(
    "--check-gradients", is_flag=True, help="Compare gradients with those of a single process."
)
@click.option(
    "--timeout", default=600.0, show_default=True, metavar="S", help="Seconds for the whole run."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Keep the recording in this file."
)
@json_option
@plugin_option
@click.pass_context
def run_command(
    context: click.Context,
    plan: Path,
    runtime: str,
    model: str,
    scale: float | None,
    memory_scale: float | None,
    steps: int,
    check_gradients: bool,
    timeout: float,
    output: Path | None,
    as_json: bool,
) -> None:
    """Run PLAN for real, one process for each of its devices, and record it.

    Without --model, processes spend the planned time, and messages between them are real.
    """
    from parplan import api
    from parplan.contracts import RunRequest
    from parplan.measuring.recording import save_recording
    from parplan.plan_files.plan_file import load_plan

    settings: Settings = context.obj
    if model and (scale is not None or memory_scale is not None):
        raise InputError("is for stand-ins; a model takes its own time", key="--emulate")
    check_folder(output)
    request = RunRequest(
        model,
        os.getcwd(),
        1.0 if scale is None else scale,
        memory_scale or 0.0,
        steps,
        check_gradients,
        timeout,
    )
    loaded = load_plan(plan)
    recording = api.run_plan(loaded, request, runtime, registry=load_registry(settings))
    if output is not None:
        save_recording(recording, output)
        note(f"{output}: written")
    if as_json:
        emit_json(_figures(loaded, recording))
    else:
        _tell(loaded, recording, trained=bool(model))
    if any(found > GRADIENT_TOLERANCE for found in recording.gradient_differences.values()):
        context.exit(DIFFER)


def _figures(plan: Plan, recording: Recording) -> Mapping[str, Any]:
    return {
        "source": recording.source,
        "planned_s": _planned_s(plan, recording),
        "step_s": [recording.step_seconds(step) for step in recording.steps],
        "losses": list(recording.losses),
        "peak_memory": dict(recording.peak_bytes),
        "gradient_differences": dict(recording.gradient_differences),
    }


def _planned_s(plan: Plan, recording: Recording) -> float:
    scale = recording.seconds_per_planned_second
    return plan.schedule.makespan * plan.problem.tick_s * scale


def _tell(plan: Plan, recording: Recording, *, trained: bool) -> None:
    emit(plain(recording.source))
    planned = _planned_s(plan, recording)
    for step in recording.steps:
        seconds = recording.step_seconds(step)
        told = [seconds_text(seconds)]
        if not trained:
            told.append(f"planned {seconds_text(planned)} ({seconds / planned - 1:+.1%})")
        if recording.losses:
            told.append(f"loss {recording.losses[step]:.6g}")
        emit(f"step {step}: {', '.join(told)}")
    if trained:
        emit(
            f"planned: {seconds_text(planned)} by the plan's costs of the plan's devices; to plan "
            "with costs of this run: parplan calibrate"
        )
    elif recording.seconds_per_planned_second != 1:
        scale = recording.seconds_per_planned_second
        emit(f"planned: {seconds_text(planned / scale)} in the plan, here times {scale:g}")
    for device, size in recording.peak_bytes.items():
        emit(plain(f"{device}: at most {bytes_text(size)} held"))
    if recording.gradient_differences:
        emit(plain(_gradients_text(recording.gradient_differences)))


def _gradients_text(differences: Mapping[str, float]) -> str:
    name, largest = max(differences.items(), key=lambda found: found[1])
    count = len(differences)
    if largest <= GRADIENT_TOLERANCE:
        return (
            f"gradients: all {count} as in a single process; "
            f"the largest relative difference is {largest:.2g} ('{name}')"
        )
    wrong = sum(found > GRADIENT_TOLERANCE for found in differences.values())
    return (
        f"gradients: {wrong} of {count} differ from a single process by more than "
        f"{GRADIENT_TOLERANCE:g}, most '{name}' by {largest:.2g}"
    )
