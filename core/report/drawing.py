"""What the report's script draws: the schedule as columns of numbers and lists of names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from parplan.checking.columns import Real, Whole
from parplan.explaining.explanation import Explanation
from parplan.explaining.text import cause_text
from parplan.figures.plan import PlanFigures
from parplan.figures.timeline import Row, device_rows, link_rows
from parplan.hardware import Device
from parplan.palette import TRANSFER, colours_of
from parplan.report.packing import packed, packed_names
from parplan.schedule import Schedule
from parplan.text import plain


def drawing_data(figures: PlanFigures, explanation: Explanation | None = None) -> dict[str, Any]:
    """Return plain data for ``report.js``; times in ticks, items numbered as in ``_row``.

    Columns are packed, see `parplan.report.packing`.
    """
    schedule = figures.plan.schedule
    problem = schedule.problem
    graph = problem.graph
    return {
        "tick_s": problem.tick_s,
        "horizon": schedule.makespan,
        "operators": packed_names(plain(operator.name) for operator in graph.operators),
        **_kinds(schedule),
        "tensors": packed_names(plain(tensor.name) for tensor in graph.tensors),
        **_tasks(schedule),
        "transfers": _transfers(schedule),
        "devices": [_row(row) for row in device_rows(schedule)],
        "links": [_row(row) for row in link_rows(schedule) if len(row.start)],
        "memory": memory_data(problem.cluster.devices, figures.memory),
        "path": None if explanation is None else _path(schedule, explanation),
    }


def _row(row: Row) -> dict[str, Any]:
    """Return a row of bars by lane: wait since the one before, length, and item.

    An item is a task's row, or -1 minus a transfer's row.
    """
    item = np.where(row.tasks >= 0, row.tasks, -1 - row.transfers)
    lanes = []
    for number in range(row.lanes):
        bars = np.flatnonzero(row.lane == number)
        start, end = row.start[bars], row.end[bars]
        before = np.concatenate(([0], end[:-1]))[: len(bars)]
        lanes.append(
            {
                "item": packed(item[bars]),
                "wait": packed(start - before),
                "length": packed(end - start),
            }
        )
    return {"name": plain(row.name), "lanes": lanes}


def _kinds(schedule: Schedule) -> dict[str, Any]:
    """Return the kinds there are, which of them each operator is of, and colours."""
    kinds = [operator.kind.value for operator in schedule.problem.graph.operators]
    known = list(dict.fromkeys(kinds))
    drawn = [*known, *([TRANSFER] if len(schedule.transfers) else [])]
    number = {kind: i for i, kind in enumerate(known)}
    return {
        "kinds": known,
        "kind": packed([number[kind] for kind in kinds]),
        "colours": colours_of(drawn),
    }


def _tasks(schedule: Schedule) -> dict[str, Any]:
    operators = schedule.problem.graph.operators
    tasks = schedule.tasks
    modes: dict[str, int] = {}
    chosen = [
        modes.setdefault(plain(operators[o].modes[schedule.alternative(row).mode].name), len(modes))
        for row, o in enumerate(tasks.operator.tolist())
    ]
    columns = {
        "operator": packed(tasks.operator),
        "microbatch": packed(tasks.microbatch),
        "mode": packed(chosen),
    }
    return {"modes": list(modes), "tasks": columns}


def _transfers(schedule: Schedule) -> dict[str, Any]:
    moved = schedule.transfers
    arrival, size = [], []
    for row in range(len(moved)):
        tensor, microbatch = int(moved.tensor[row]), int(moved.microbatch[row])
        arrival.append(int(moved.start[row]) + schedule.transfer_timing(row).arrival)
        mode = schedule.producer_mode(tensor, microbatch)
        size.append(schedule.problem.tensor_bytes(tensor, mode, microbatch) or 0)
    return {
        "tensor": packed(moved.tensor),
        "microbatch": packed(moved.microbatch),
        "source": packed(moved.source),
        "target": packed(moved.target),
        "arrival": packed(arrival),
        "bytes": packed(size),
    }


def memory_data(
    devices: Sequence[Device], profiles: Sequence[tuple[Whole, Real]]
) -> list[dict[str, Any] | None]:
    """Return the memory of each device over time; None where nothing fills it."""
    found: list[dict[str, Any] | None] = []
    for spec, (ticks, used) in zip(devices, profiles, strict=True):
        peak = int(used.max(initial=0))
        if peak == 0:
            found.append(None)
            continue
        levels = packed(used.astype(np.int64))
        found.append(
            {"at": packed(ticks), "bytes": levels, "limit": spec.usable_bytes, "peak": peak}
        )
    return found


def _path(schedule: Schedule, explanation: Explanation) -> dict[str, Any]:
    """Return the steps of the critical path; the item of a pause is no task's."""
    count = len(schedule.tasks)
    activity = np.array([step.activity for step in explanation.steps], dtype=np.int64)
    task = np.where(activity < count, activity, count - 1 - activity)
    causes: dict[str, int] = {}
    waits = [
        causes.setdefault(plain(cause_text(step.cause)), len(causes)) for step in explanation.steps
    ]
    return {
        "steps": {
            "item": packed(np.where(activity < 0, count, task)),
            "start": packed([step.start for step in explanation.steps]),
            "until": packed([step.until for step in explanation.steps]),
        },
        "causes": list(causes),
        "waits": packed(waits),
    }
