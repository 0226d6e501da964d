"""What the script of a comparison draws: each schedule's passes, small enough for many devices.

A *pass* is what one device runs of one microbatch and one kind without a pause; drawn apart, its
operators would be thinner than a pixel. Times are written as waits and lengths, names and passes
stand in tables and columns are packed, so that a bar takes some six characters.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Generic, TypeVar

import numpy as np
from attrs import frozen

from parplan.comparison import Entry
from parplan.explaining.explanation import Explanation
from parplan.figures.comparison import ComparisonFigures, EntryFigures
from parplan.figures.timeline import Row, device_rows, link_rows
from parplan.figures.usage import memory_profiles
from parplan.palette import TRANSFER, colours_of
from parplan.plans import Plan
from parplan.report.drawing import memory_data
from parplan.report.packing import packed
from parplan.schedule import Column, Schedule
from parplan.text import percent_text, plain, value_text

MOST_TRANSFERS = 200_000
"""Transfers drawn at most; beyond, they are left out of the page, which says so."""

T = TypeVar("T", bound=Hashable)


class _Table(Generic[T]):
    """Values in the order in which they were first asked for."""

    def __init__(self) -> None:
        self.numbers: dict[T, int] = {}

    def __call__(self, value: T) -> int:
        return self.numbers.setdefault(value, len(self.numbers))

    def __iter__(self) -> Any:
        return iter(self.numbers)


class _Tables:
    """The tables that the schedules of one comparison share."""

    def __init__(self) -> None:
        self.kinds = _Table[str]()
        self.names = _Table[str]()
        self.passes = _Table[tuple[int, int, int, int]]()


def comparison_drawing(
    figures: ComparisonFigures, explanations: Mapping[int, Explanation] | None = None
) -> dict[str, Any]:
    """Return plain data for ``comparison.js``; times in ticks of each schedule's own problem.

    Parameters
    ----------
    explanations
        Critical paths by the number of their entry, where they are known.
    """
    rows = _drawn(figures)
    plans = [row.plan for row in rows]
    transfers = sum(len(plan.schedule.transfers) for plan in plans) <= MOST_TRANSFERS
    tables = _Tables()
    paths = explanations or {}
    entries = [
        _entry(row, paths.get(row.number), figures.unit, tables, transfers=transfers)
        for row in rows
    ]
    return {
        "horizon_s": max(max(p.schedule.makespan, 1) * p.problem.tick_s for p in plans),
        "shortest_s": 4 * min(plan.problem.tick_s for plan in plans),
        "microbatches": max(plan.problem.workload.microbatches for plan in plans),
        "transfers": transfers,
        "entries": entries,
        "kinds": list(tables.kinds),
        "colours": colours_of(list(tables.kinds)),
        "names": list(tables.names),
        "passes": list(tables.passes),
    }


@frozen
class _Drawn:
    """A schedule that is drawn: its number among the entries, and what is known of it."""

    number: int
    entry: Entry
    plan: Plan
    figures: EntryFigures


def _drawn(figures: ComparisonFigures) -> list[_Drawn]:
    """Return the better split of each schedule; the table has both, and those that failed."""
    found: dict[str, _Drawn] = {}
    for number, (entry, used) in enumerate(figures.rows()):
        if entry.plan is not None and used is not None:
            found.setdefault(entry.name, _Drawn(number, entry, entry.plan, used))
    return list(found.values())


def _entry(
    drawn: _Drawn,
    explanation: Explanation | None,
    unit: str,
    tables: _Tables,
    *,
    transfers: bool,
) -> dict[str, Any]:
    entry, used, schedule = drawn.entry, drawn.figures, drawn.plan.schedule
    split = f", {entry.split} split" if entry.split else ""
    told = [value_text(drawn.plan.value, unit), f"bubble {percent_text(used.uses.bubble)}"]
    if used.fullest_share is not None:
        told.append(f"memory {percent_text(used.fullest_share)}")
    devices = device_rows(schedule)
    links = [row for row in link_rows(schedule) if len(row.start)] if transfers else []
    return {
        "name": plain(entry.name),
        "title": plain(f"{entry.name}{split}"),
        "note": plain("; ".join([", ".join(told), *([entry.note] if entry.note else [])])),
        "tick_s": schedule.problem.tick_s,
        "end": schedule.makespan,
        "devices": [_row(schedule, row, tables) for row in devices],
        "links": [_row(schedule, row, tables) for row in links],
        "memory": memory_data(schedule.problem.cluster.devices, memory_profiles(schedule)),
        "path": None if explanation is None else _path([*devices, *links], schedule, explanation),
    }


def _path(rows: list[Row], schedule: Schedule, explanation: Explanation) -> dict[str, str]:
    """Return the critical path: the row of each step (-1: none), steps of one row as one."""
    count = len(schedule.tasks)
    tasks = np.full(count, -1, dtype=np.int64)
    transfers = np.full(len(schedule.transfers), -1, dtype=np.int64)
    for number, row in reversed(list(enumerate(rows))):  # of several rows the first one
        tasks[row.tasks[row.tasks >= 0]] = number
        transfers[row.transfers[row.transfers >= 0]] = number
    row_of = np.concatenate((tasks, transfers, [-1]))  # a pause is activity -1
    steps = explanation.steps
    places = row_of[np.array([step.activity for step in steps], dtype=np.int64)]
    first = np.flatnonzero(np.diff(places, prepend=-2))
    last = np.concatenate((first[1:], [len(steps)])).astype(np.int64)[: len(first)] - 1
    return {
        "row": packed(places[first]),
        "start": packed([steps[i].start for i in first]),
        "until": packed([steps[i].until for i in last]),
    }


def _row(schedule: Schedule, row: Row, tables: _Tables) -> dict[str, Any]:
    lanes = [np.flatnonzero(row.lane == lane) for lane in range(row.lanes)]
    return {
        "name": plain(row.name),
        "lanes": [_lane(schedule, row, bars, tables) for bars in lanes],
    }


def _lane(schedule: Schedule, row: Row, bars: Column, tables: _Tables) -> dict[str, str]:
    """Return the passes of one lane: wait since the one before, length, pass, microbatch."""
    start, end = row.start[bars], row.end[bars]
    tasks, moves = row.tasks[bars], row.transfers[bars]
    graph = schedule.problem.graph
    is_task = tasks >= 0
    # An operator counts up from 0, a tensor down from -1.
    what = np.where(
        is_task, _at(schedule.tasks.operator, tasks), -1 - _at(schedule.transfers.tensor, moves)
    )
    microbatch = np.where(
        is_task, _at(schedule.tasks.microbatch, tasks), _at(schedule.transfers.microbatch, moves)
    )
    kind = np.array(
        [
            tables.kinds(graph.operators[w].kind.value if w >= 0 else TRANSFER)
            for w in what.tolist()
        ],
        dtype=np.int64,
    )
    goes_on = (
        (start[1:] == end[:-1])
        & (microbatch[1:] == microbatch[:-1])
        & (kind[1:] == kind[:-1])
        & is_task[1:]
    )
    first = np.flatnonzero(np.concatenate(([True], ~goes_on))) if len(bars) else bars
    last = np.concatenate((first[1:], [len(bars)])).astype(np.int64)[: len(first)] - 1
    before = np.concatenate(([0], end[last][:-1]))[: len(first)]

    def name(number: int) -> int:
        found = graph.operators[number] if number >= 0 else graph.tensors[-1 - number]
        return tables.names(plain(found.name))

    ends = zip(kind[first], what[first], what[last], last - first + 1, strict=True)
    return {
        "wait": packed(start[first] - before),
        "length": packed(end[last] - start[first]),
        "pass": packed([tables.passes((int(k), name(a), name(b), int(n))) for k, a, b, n in ends]),
        "microbatch": packed(microbatch[first]),
    }


def _at(column: Column, rows: Column) -> Column:
    """Return a column at some rows; whatever it holds where a row is negative."""
    found: Column = column[np.maximum(rows, 0)] if len(column) else np.zeros_like(rows)
    return found
