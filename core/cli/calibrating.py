"""``parplan calibrate``: recorded runs, and profiles, turned into measured costs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from parplan.cli.common import (
    Settings,
    check_folder,
    colour_wanted,
    json_option,
    load_registry,
    note,
    plugin_option,
    warm_up_option,
)
from parplan.cli.output import emit, emit_json
from parplan.errors import InputError
from parplan.text import bytes_text, percent_text, plain, seconds_text

if TYPE_CHECKING:
    from parplan.measuring.measured_costs import MeasuredCosts, MeasuredLink, MeasuredSeconds
    from parplan.measuring.profiles.profile import Profile
    from parplan.measuring.recording import Recording
    from parplan.registry import Registry

LEADING = 10
"""Operators shown; the file has them all."""

LEFT = 5
"""Names shown of what a profile leaves over."""


@click.command("calibrate")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(path_type=Path),
)
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    help="The plan that ran; needed where an action runs several operators.",
)
@click.option(
    "--spec",
    type=click.Path(path_type=Path),
    help="The spec whose model was profiled; needed for profiles, and for nothing else.",
)
@click.option("--kind", default="", metavar="KIND", help="Kind of the device that was profiled.")
@warm_up_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Keep the costs in this file."
)
@json_option
@plugin_option
@click.pass_obj
def calibrate_command(
    settings: Settings,
    files: tuple[Path, ...],
    plan: Path | None,
    spec: Path | None,
    kind: str,
    warm_up: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Turn FILES into measured costs, for the cost model 'measured'.

    They are recordings of runs, or, with --spec, profiles of the model by torch.profiler or ONNX
    Runtime. An operator gets the median of its runs, and their spread.
    """
    import attrs

    from parplan.measuring.calibrating import calibrate
    from parplan.measuring.measured_costs import save_costs
    from parplan.plan_files.plan_file import load_plan

    check_folder(output)
    if plan is not None and spec is not None:
        raise click.UsageError("name the plan of recordings, or the spec of profiles, not both")
    if spec is None:
        loaded = None if plan is None else load_plan(plan)
        costs = calibrate([_recording(path) for path in files], loaded, warm_up)
    else:
        costs = _of_profiles(files, spec, kind, warm_up, load_registry(settings))
    if output is not None:
        save_costs(costs, output)
        note(f"{output}: written")
    if as_json:
        emit_json(attrs.asdict(costs))
    else:
        _tell(costs)


def _recording(path: Path) -> Recording:
    """Return a recording; InputError if it is none, as it says for a profile."""
    from parplan.files.json_file import says_kind
    from parplan.measuring.recording import RECORDING, load_recording

    try:
        return load_recording(path)
    except InputError as error:
        if error.key is not None or says_kind(path, RECORDING):
            raise
        raise InputError(
            f"{error.message}; a profile needs --spec, the spec of the model that ran",
            file=error.file,
            line=error.line,
        ) from None


def _profile(path: Path, modules: Mapping[str, str]) -> Profile:
    """Return a profile; InputError if it is none, as it says for a recording."""
    from parplan.files.json_file import says_kind
    from parplan.measuring.profiles.reading import read_profile
    from parplan.measuring.recording import RECORDING

    if says_kind(path, RECORDING):
        raise InputError(
            "is a recording, and no profile: leave out --spec, and name its plan by --plan",
            file=str(path),
        )
    return read_profile(path, modules)


def _of_profiles(
    files: tuple[Path, ...], spec: Path, kind: str, warm_up: int, registry: Registry
) -> MeasuredCosts:
    """Return the costs in profiles; how much of their time has an operator is told."""
    from parplan.assembly import assemble_problem, node_modules
    from parplan.measuring.profiles.calibrating import calibrate_profiles
    from parplan.spec.sections import load_spec

    made = load_spec(spec)
    problem = assemble_problem(made, registry)
    modules = node_modules(made, registry)
    profiles = [_profile(path, modules) for path in files]
    costs, joined = calibrate_profiles(profiles, problem, kind, warm_up)
    for path, one in zip(files, joined, strict=True):
        note(f"{path}: {percent_text(one.share)} of {seconds_text(one.seconds)} has an operator")
        for name, seconds in list(one.left.items())[:LEFT]:
            note(f"  without one: {name}, {seconds_text(seconds)}")
    measured = {one.operator for one in costs.operators}
    missing = [o.name for o in problem.graph.operators if o.name not in measured]
    if missing:
        shown = ", ".join(missing[:LEFT]) + (" ..." if len(missing) > LEFT else "")
        note(f"{len(missing)} of {len(problem.graph.operators)} operators unmeasured: {shown}")
    return costs


def _tell(costs: MeasuredCosts) -> None:
    from parplan.figures.plan import Table
    from parplan.terminal import render, shown

    emit(plain(costs.source))
    longest = sorted(costs.operators, key=lambda one: -one.seconds)
    columns = ("operator", "on", "seconds", "spread", "samples", "measured with")
    rows = [_row(one) for one in longest[:LEADING]]
    emit(render([shown(Table("", columns, rows, 2))], colour=colour_wanted()))
    if len(longest) > LEADING:
        emit(f"... and {len(longest) - LEADING} operators that take less")
    if costs.links:
        ends = ("from", "to", "latency", "bytes per second", "messages")
        links = [_link_row(link) for link in costs.links]
        emit(render([shown(Table("", ends, links, 2))], colour=colour_wanted()))


def _link_row(link: MeasuredLink) -> tuple[str, ...]:
    bandwidth = "-" if link.bandwidth is None else f"{bytes_text(link.bandwidth)}/s"
    return link.source, link.target, seconds_text(link.latency_s), bandwidth, str(link.samples)


def _row(one: MeasuredSeconds) -> tuple[str, ...]:
    return (
        one.operator,
        one.kind,
        seconds_text(one.seconds),
        percent_text(one.spread),
        str(one.samples),
        _others(one.companions),
    )


def _others(count: int) -> str:
    return {0: "-", 1: "1 other"}.get(count, f"{count} others")
