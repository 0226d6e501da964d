"""What differences of a run from its plan say, as sentences and tables."""

from __future__ import annotations

from parplan.figures.plan import Table
from parplan.measuring.differences import DeviceDifference, Differences
from parplan.text import seconds_text

LEADING = 10
"""Actions in the table, by the largest deviation."""


def makespan_sentence(found: Differences) -> str:
    """Return measured and planned makespan in one sentence."""
    more = found.makespan_s / found.planned_makespan_s - 1 if found.planned_makespan_s else 0.0
    return (
        f"makespan: {seconds_text(found.makespan_s)} measured, "
        f"{seconds_text(found.planned_makespan_s)} planned ({more:+.1%})"
    )


def order_sentences(found: Differences) -> list[str]:
    """Return which devices left their order, and what started late first and why."""
    told = [
        f"order left on {order.device}: {order.ran} ran before {order.planned}"
        for order in found.orders
    ]
    late = found.late
    return [
        *(told or ["order: as planned on every device"]),
        "nothing started late"
        if late is None
        else f"first late: {late.run}, by {seconds_text(late.run.late_s)}: {late.reason}",
    ]


def device_table(found: Differences) -> Table:
    """Return a row per device: time at work, waiting, and what started late there first."""
    columns = (
        "device",
        "computes",
        "planned",
        "change",
        "waits",
        "planned",
        "change",
        "first late",
        "by",
    )
    rows = [
        (
            one.device,
            *_beside(one.compute_s, one.planned_compute_s),
            *_beside(one.waiting_s, one.planned_waiting_s),
            *_first_late(one),
        )
        for one in found.devices
    ]
    return Table("", columns, rows, 1)


def work_table(found: Differences) -> Table:
    """Return a row per kind of action, the largest deviations."""
    columns = ("device", "action", "operators", "takes", "planned", "change", "in a step")
    rows = [
        (
            one.device,
            one.action,
            one.operators[0]
            + (f" and {len(one.operators) - 1} more" if len(one.operators) > 1 else ""),
            *_beside(one.seconds, one.planned_s),
            _signed(one.total_s),
        )
        for one in found.work[:LEADING]
    ]
    return Table("", columns, rows, 3)


def link_table(found: Differences) -> Table:
    """Return a row per pair of devices whose messages could be timed, the largest deviation first.

    Empty if none could.
    """
    columns = ("from", "to", "a message takes", "planned", "change", "in a step", "timed")
    rows = [
        (
            one.source,
            one.target,
            *_beside(one.seconds, one.planned_s),
            _signed(one.total_s),
            str(one.samples),
        )
        for one in found.links[:LEADING]
    ]
    return Table("", columns, rows, 2)


def _first_late(one: DeviceDifference) -> tuple[str, str]:
    if one.late is None:
        return "-", "-"
    span = one.late.span
    microbatch = "" if span.microbatch < 0 else f" microbatch {span.microbatch}"
    return f"{span.action}{microbatch}", seconds_text(one.late.late_s)


def _signed(seconds: float) -> str:
    return f"{'+' if seconds >= 0 else ''}{seconds_text(seconds)}"


def _beside(seconds: float, planned_s: float) -> tuple[str, str, str]:
    change = f"{seconds / planned_s - 1:+.1%}" if planned_s > 0 else "-"
    return seconds_text(seconds), seconds_text(planned_s), change
