"""The HTML page of a run beside its plan: two rows of actions on one time axis, and tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import evolve

from parplan import __version__
from parplan.figures.differences import (
    device_table,
    link_table,
    makespan_sentence,
    order_sentences,
    work_table,
)
from parplan.figures.plan import Table
from parplan.graph import Kind
from parplan.measuring.differences import Differences, Run
from parplan.palette import colours_of
from parplan.report.document import TIMELINE, document
from parplan.report.packing import packed
from parplan.text import plain

STEPS = 1_000_000
"""Ticks that the longer of the two makespans is drawn in."""

KINDS: Mapping[str, Kind] = {
    "F": Kind.FORWARD,
    "B": Kind.BACKWARD,
    "I": Kind.BACKWARD_INPUT,
    "W": Kind.BACKWARD_WEIGHT,
}
"""By action of a recording; others are drawn as ``Kind.OTHER``."""


def difference_html(found: Differences) -> str:
    """Return the page of a run beside its plan; see ``parplan.report.document``.

    Each action is one bar, as it runs in one go: the planned one begins with its first operator.
    """
    return document(
        "comparison.html.jinja",
        (*TIMELINE, "comparison.js"),
        difference_drawing(found),
        title=plain(found.plan.problem.name),
        subtitle=plain(f"step {found.step} beside its plan; parplan {__version__}"),
        sentences=[_sentence(told) for told in (makespan_sentence(found), *order_sentences(found))],
        tables=_tables(found),
        more=[],
        heading="Plan and run on one time axis",
        links=False,
        transfers=True,
        memory=False,
        explained=False,
    )


def _sentence(told: str) -> str:
    return plain(f"{told[:1].upper()}{told[1:]}.")


def _tables(found: Differences) -> list[Table]:
    """Return the tables under titles that stand alone, less those that are empty."""
    named = {
        "Devices": device_table(found),
        "Actions that left their plan most": work_table(found),
        "Messages": link_table(found),
    }
    return [evolve(table, title=title) for title, table in named.items() if table.rows]


def difference_drawing(found: Differences) -> dict[str, Any]:
    """Return plain data for ``comparison.js``: the actions as planned, and as they ran."""
    horizon_s = max(found.planned_makespan_s, *(run.end_s for run in found.runs))
    kinds = list(dict.fromkeys(_kind(run) for run in found.runs))
    names = list(dict.fromkeys(plain(n) for run in found.runs for n in run.span.operators))
    passes = list(dict.fromkeys(_pass(run, kinds, names) for run in found.runs))
    number = {one: i for i, one in enumerate(passes)}

    def entry(name: str, times: Callable[[Run], tuple[float, float]]) -> dict[str, Any]:
        tick_s = horizon_s / STEPS
        rows: dict[str, list[Run]] = {device.device: [] for device in found.devices}
        for run in sorted(found.runs, key=times):
            rows[run.span.device].append(run)
        devices = [
            {
                "name": plain(device),
                "lanes": [
                    _lane(row, times, tick_s, [number[_pass(run, kinds, names)] for run in row])
                ],
            }
            for device, row in rows.items()
        ]
        shared = {
            "title": name,
            "note": "",
            "links": [],
            "memory": [],
            "tick_s": tick_s,
            "end": STEPS,
        }
        return {"name": name, "devices": devices, **shared}

    return {
        "horizon_s": horizon_s,
        "shortest_s": 4 * horizon_s / STEPS,
        "microbatches": found.plan.problem.workload.microbatches,
        "transfers": True,
        "entries": [
            entry("planned", lambda run: (run.planned_start_s, run.planned_end_s)),
            entry("measured", lambda run: (run.start_s, run.end_s)),
        ],
        "kinds": kinds,
        "colours": colours_of(kinds),
        "names": names,
        "passes": passes,
    }


def _kind(run: Run) -> str:
    return KINDS.get(run.span.action, Kind.OTHER).value


def _pass(run: Run, kinds: list[str], names: list[str]) -> tuple[int, int, int, int]:
    """Return kind, first and last operator, and how many, in the tables of the drawing."""
    operators = run.span.operators
    ends = [names.index(plain(name)) for name in (operators[0], operators[-1])]
    return kinds.index(_kind(run)), ends[0], ends[1], len(operators)


def _lane(
    runs: Sequence[Run],
    times: Callable[[Run], tuple[float, float]],
    tick_s: float,
    numbers: Sequence[int],
) -> dict[str, str]:
    """Return the bars of a device; one that would overlap the bar before begins behind it."""
    waits, lengths, at = [], [], 0
    for run in runs:
        start, end = (round(instant / tick_s) for instant in times(run))
        waits.append(max(0, start - at))
        lengths.append(end - start)
        at = max(start, at) + end - start
    return {
        "wait": packed(waits),
        "length": packed(lengths),
        "pass": packed(list(numbers)),
        "microbatch": packed([run.span.microbatch for run in runs]),
    }
