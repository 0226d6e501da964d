"""``parplan calibrate``: recorded runs turned into measured costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from parplan.cli.common import check_folder, colour_wanted, json_option, note, warm_up_option
from parplan.cli.output import emit, emit_json
from parplan.text import bytes_text, percent_text, plain, seconds_text

if TYPE_CHECKING:
    from parplan.measuring.measured_costs import MeasuredCosts, MeasuredLink, MeasuredSeconds

LEADING = 10
"""Operators shown; the file has them all."""


@click.command("calibrate")
@click.argument(
    "recordings",
    nargs=-1,
    required=True,
    metavar="RECORDING...",
    type=click.Path(path_type=Path),
)
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    help="The plan that ran; needed where an action runs several operators.",
)
@warm_up_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Keep the costs in this file."
)
@json_option
def calibrate_command(
    recordings: tuple[Path, ...],
    plan: Path | None,
    warm_up: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Turn RECORDINGS of runs into measured costs, for the cost model 'measured'.

    An operator gets the median of its actions, and their spread.
    """
    import attrs

    from parplan.measuring.calibrating import calibrate
    from parplan.measuring.measured_costs import save_costs
    from parplan.measuring.recording import load_recording
    from parplan.plan_files.plan_file import load_plan

    check_folder(output)
    loaded = None if plan is None else load_plan(plan)
    costs = calibrate([load_recording(path) for path in recordings], loaded, warm_up)
    if output is not None:
        save_costs(costs, output)
        note(f"{output}: written")
    if as_json:
        emit_json(attrs.asdict(costs))
    else:
        _tell(costs)


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
        f"{one.companions} others" if one.companions else "-",
    )
