"""A plan in the Trace Event Format, which Perfetto and chrome://tracing open.

Format: "Trace Event Format" of the Chromium project; ``ts`` and ``dur`` are in microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from parplan.figures.plan import require_whole
from parplan.figures.timeline import Row, device_rows, link_rows
from parplan.figures.usage import memory_profiles
from parplan.plans import Plan
from parplan.schedule import Schedule, TaskView, TransferView
from parplan.text import plain

DEVICES, LINKS = 1, 2
"""The two "processes" of the trace; each lane of a device or link is a "thread"."""

Event = dict[str, Any]


def trace_json(plan: Plan) -> str:
    """Return the trace of a plan: tasks by device, transfers by link, memory as counters."""
    require_whole(plan)
    schedule = plan.schedule
    events = [
        *_process(DEVICES, "devices"),
        *_process(LINKS, "links"),
        *_bars(schedule, DEVICES, device_rows(schedule)),
        *_bars(schedule, LINKS, [row for row in link_rows(schedule) if len(row.start)]),
        *_memory(schedule),
    ]
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}, separators=(",", ":"))


def _process(number: int, name: str) -> Iterator[Event]:
    yield {"ph": "M", "name": "process_name", "pid": number, "args": {"name": name}}
    yield {"ph": "M", "name": "process_sort_index", "pid": number, "args": {"sort_index": number}}


def _bars(schedule: Schedule, process: int, rows: list[Row]) -> Iterator[Event]:
    """Yield a thread per lane: bars of one thread must not overlap, or viewers misdraw them."""
    tasks, transfers = list(schedule.task_views()), list(schedule.transfer_views())
    kinds = {op.name: op.kind.value for op in schedule.problem.graph.operators}
    micro = schedule.problem.tick_s * 1e6
    first = 0
    for row in rows:
        for lane in range(row.lanes):
            name = plain(row.name) if lane == 0 else f"{plain(row.name)} ({lane + 1})"
            thread = {"ph": "M", "pid": process, "tid": first + lane}
            yield {**thread, "name": "thread_name", "args": {"name": name}}
            yield {**thread, "name": "thread_sort_index", "args": {"sort_index": first + lane}}
        columns = (row.tasks, row.transfers, row.start, row.end, row.lane)
        for task, transfer, start, end, lane in zip(*(c.tolist() for c in columns), strict=True):
            place = {"pid": process, "tid": first + lane}
            time = {"ts": start * micro, "dur": (end - start) * micro}
            what = _task(tasks[task], kinds) if task >= 0 else _transfer(transfers[transfer])
            yield {"ph": "X", **place, **time, **what}
        first += row.lanes


def _task(task: TaskView, kinds: dict[str, str]) -> Event:
    about = {
        "microbatch": task.microbatch,
        "mode": plain(task.mode),
        "devices": plain(", ".join(task.devices)),
    }
    return {"name": plain(task.operator), "cat": kinds[task.operator], "args": about}


def _transfer(transfer: TransferView) -> Event:
    about = {
        "microbatch": transfer.microbatch,
        "from": plain(transfer.source),
        "to": plain(transfer.target),
    }
    return {"name": plain(transfer.tensor), "cat": "transfer", "args": about}


def _memory(schedule: Schedule) -> Iterator[Event]:
    micro = schedule.problem.tick_s * 1e6
    devices = schedule.problem.cluster.devices
    for device, (ticks, used) in zip(devices, memory_profiles(schedule), strict=True):
        name = f"memory of {plain(device.name)}"
        for tick, level in zip(ticks.tolist(), used.tolist(), strict=True):
            yield {"ph": "C", "pid": DEVICES, "name": name, "ts": tick * micro,
                   "args": {"bytes": level}}  # fmt: skip
