"""What the report's script draws: the schedule as columns of numbers and lists of names."""

from __future__ import annotations

from typing import Any

import numpy as np

from parplan.figures import PlanFigures
from parplan.schedule import Schedule
from parplan.text import plain
from parplan.timeline import Row, device_rows, link_rows


def drawing_data(figures: PlanFigures) -> dict[str, Any]:
    """Return plain data for ``report.js``; times in ticks, items numbered as in ``_row``."""
    schedule = figures.plan.schedule
    problem = schedule.problem
    graph = problem.graph
    return {
        "tick_s": problem.tick_s,
        "horizon": schedule.makespan,
        "operators": [plain(operator.name) for operator in graph.operators],
        "kinds": [operator.kind.value for operator in graph.operators],
        "tensors": [plain(tensor.name) for tensor in graph.tensors],
        **_tasks(schedule),
        "transfers": _transfers(schedule),
        "devices": [_row(row) for row in device_rows(schedule)],
        "links": [_row(row) for row in link_rows(schedule) if len(row.start)],
        "memory": _memory(figures),
    }


def _row(row: Row) -> dict[str, Any]:
    """Return a row of bars; an item is a task's row, or -1 minus a transfer's row."""
    return {
        "name": plain(row.name),
        "lanes": row.lanes,
        "item": np.where(row.tasks >= 0, row.tasks, -1 - row.transfers).tolist(),
        "start": row.start.tolist(),
        "end": row.end.tolist(),
        "lane": row.lane.tolist(),
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
        "operator": tasks.operator.tolist(),
        "microbatch": tasks.microbatch.tolist(),
        "mode": chosen,
    }
    return {"modes": list(modes), "tasks": columns}


def _transfers(schedule: Schedule) -> dict[str, Any]:
    moved = schedule.transfers
    arrival, size = [], []
    for row in range(len(moved)):
        tensor, microbatch = int(moved.tensor[row]), int(moved.microbatch[row])
        arrival.append(int(moved.start[row]) + schedule.transfer_timing(row).arrival)
        mode = schedule.producer_mode(tensor, microbatch)
        size.append(schedule.problem.tensor_bytes(tensor, mode, microbatch))
    return {
        "tensor": moved.tensor.tolist(),
        "microbatch": moved.microbatch.tolist(),
        "source": moved.source.tolist(),
        "target": moved.target.tolist(),
        "arrival": arrival,
        "bytes": size,
    }


def _memory(figures: PlanFigures) -> list[dict[str, Any] | None]:
    """Return the memory of each device over time; None where nothing is known to fill it."""
    found: list[dict[str, Any] | None] = []
    devices = figures.plan.problem.cluster.devices
    for spec, (ticks, used) in zip(devices, figures.memory, strict=True):
        peak = int(used.max(initial=0))
        if peak == 0 and spec.usable_bytes is None:
            found.append(None)
            continue
        levels = used.astype(np.int64).tolist()
        found.append(
            {"at": ticks.tolist(), "bytes": levels, "limit": spec.usable_bytes, "peak": peak}
        )
    return found
