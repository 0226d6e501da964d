"""``parplan diff``: where a recorded run left its plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parplan.cli.common import colour_wanted, note
from parplan.cli.output import emit, emit_json
from parplan.text import plain, seconds_text

if TYPE_CHECKING:
    from parplan.differences import Differences, Run
    from parplan.figures import Table

LEADING = 10
"""Actions shown, by the largest deviation; JSON has them all."""


@click.command("diff")
@click.argument("plan", type=click.Path(path_type=Path))
@click.argument("recording", type=click.Path(path_type=Path))
@click.option(
    "--warm-up",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    metavar="N",
    help="Steps left out at the beginning of the recording.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    default=0.01,
    show_default=True,
    metavar="SHARE",
    help="Part of the planned makespan by which an action may start later without being late.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def diff_command(
    plan: Path, recording: Path, warm_up: int, tolerance: float, as_json: bool
) -> None:
    """Show where RECORDING, a run of PLAN, left it.

    The makespan, every device, the actions that took longest beyond their plan, the order, and
    the first action that started late, with what it waited for.
    """
    from parplan.differences import find_differences
    from parplan.plan_file import load_plan
    from parplan.recording import load_recording

    found = find_differences(load_plan(plan), load_recording(recording), warm_up, tolerance)
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
        "devices": [attrs.asdict(one) for one in found.devices],
        "work": [attrs.asdict(one) for one in found.work],
        "order_kept": not found.orders,
        "out_of_order": [
            {"device": one.device, "ran": _run(one.ran), "planned": _run(one.planned)}
            for one in found.orders
        ],
        "late": None
        if late is None
        else {
            **_run(late.run),
            "late_s": late.run.late_s,
            "cause": late.cause.value,
            "blocker": None if late.blocker is None else _run(late.blocker),
            "reason": late.reason,
        },
        "unrecorded_operators": found.unrecorded,
    }


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
    from parplan.terminal import render, shown

    more = found.makespan_s / found.planned_makespan_s - 1 if found.planned_makespan_s else 0.0
    emit(
        f"makespan: {seconds_text(found.makespan_s)} measured, "
        f"{seconds_text(found.planned_makespan_s)} planned ({more:+.1%})"
    )
    emit(render([shown(_device_table(found))], colour=colour_wanted()))
    emit(render([shown(_work_table(found))], colour=colour_wanted()))
    for order in found.orders:
        emit(plain(f"order left on {order.device}: {order.ran} ran before {order.planned}"))
    if not found.orders:
        emit("order: as planned on every device")
    late = found.late
    if late is None:
        emit("nothing started late")
    else:
        emit(plain(f"first late: {late.run}, by {seconds_text(late.run.late_s)}: {late.reason}"))
    if found.unrecorded:
        note(f"{found.unrecorded} operators of the plan were not recorded")


def _device_table(found: Differences) -> Table:
    from parplan.figures import Table

    columns = ("device", "computes", "planned", "", "waits", "planned", "")
    rows = [
        (
            one.device,
            *_beside(one.compute_s, one.planned_compute_s),
            *_beside(one.waiting_s, one.planned_waiting_s),
        )
        for one in found.devices
    ]
    return Table("", columns, rows, 1)


def _work_table(found: Differences) -> Table:
    from parplan.figures import Table

    columns = ("device", "action", "operators", "takes", "planned", "", "in a step")
    rows = [
        (
            one.device,
            one.action,
            one.operators[0]
            + (f" and {len(one.operators) - 1} more" if len(one.operators) > 1 else ""),
            *_beside(one.seconds, one.planned_s),
            f"{'+' if one.total_s >= 0 else ''}{seconds_text(one.total_s)}",
        )
        for one in found.work[:LEADING]
    ]
    return Table("", columns, rows, 3)


def _beside(seconds: float, planned_s: float) -> tuple[str, str, str]:
    change = f"{seconds / planned_s - 1:+.1%}" if planned_s > 0 else "-"
    return seconds_text(seconds), seconds_text(planned_s), change
