"""``parplan diff``: where a recorded run left its plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parplan.cli.common import check_folder, colour_wanted, json_option, note, warm_up_option
from parplan.cli.output import emit, emit_json
from parplan.text import plain

if TYPE_CHECKING:
    from parplan.measuring.differences import Differences, Run


@click.command("diff")
@click.argument("plan", type=click.Path(path_type=Path))
@click.argument("recording", type=click.Path(path_type=Path))
@warm_up_option
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    default=0.01,
    show_default=True,
    metavar="SHARE",
    help="Part of the planned makespan by which an action may start later without being late.",
)
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    help="Draw plan and run one above the other in this HTML file.",
)
@json_option
def diff_command(
    plan: Path,
    recording: Path,
    warm_up: int,
    tolerance: float,
    html: Path | None,
    as_json: bool,
) -> None:
    """Show where RECORDING, a run of PLAN, left it.

    The makespan, every device, the actions that took longest beyond their plan, the order, and
    the first action that started late, with what it waited for.
    """
    from parplan.measuring.differences import find_differences
    from parplan.measuring.recording import load_recording
    from parplan.plan_files.plan_file import load_plan

    check_folder(html)
    found = find_differences(load_plan(plan), load_recording(recording), warm_up, tolerance)
    if html is not None:
        from parplan.files.atomic import write_text
        from parplan.report.difference_page import difference_html

        write_text(html, difference_html(found))
        note(f"{html}: written")
    if as_json:
        emit_json(_figures(found))
    else:
        _tell(found)


def _figures(found: Differences) -> dict[str, Any]:
    import attrs

    late = found.late
    return {
        "planned_makespan_s": found.planned_makespan_s,
        "makespan_s": found.makespan_s,
        "step": found.step,
        "devices": [
            {**attrs.asdict(one, recurse=False), "late": one.late and _late(one.late)}
            for one in found.devices
        ],
        "links": [attrs.asdict(one) for one in found.links],
        "work": [attrs.asdict(one) for one in found.work],
        "order_kept": not found.orders,
        "out_of_order": [
            {"device": one.device, "ran": _run(one.ran), "planned": _run(one.planned)}
            for one in found.orders
        ],
        "late": None
        if late is None
        else {
            **_late(late.run),
            "cause": late.cause.value,
            "blocker": None if late.blocker is None else _run(late.blocker),
            "reason": late.reason,
        },
        "unrecorded_operators": found.unrecorded,
    }


def _late(run: Run) -> dict[str, Any]:
    return {**_run(run), "late_s": run.late_s}


def _run(run: Run) -> dict[str, Any]:
    return {
        "device": run.span.device,
        "action": run.span.action,
        "microbatch": run.span.microbatch,
        "operators": list(run.span.operators),
        "planned_start_s": run.planned_start_s,
        "start_s": run.start_s,
        "planned_s": run.planned_s,
        "seconds": run.seconds,
    }


def _tell(found: Differences) -> None:
    from parplan.figures import differences as figures
    from parplan.terminal import render, shown

    emit(figures.makespan_sentence(found))
    for make in (figures.device_table, figures.work_table, figures.link_table):
        table = make(found)
        if table.rows:
            emit(render([shown(table)], colour=colour_wanted()))
    for told in figures.order_sentences(found):
        emit(plain(told))
    if found.unrecorded:
        note(f"{found.unrecorded} operators of the plan were not recorded")
