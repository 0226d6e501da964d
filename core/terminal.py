"""A plan in the terminal: Gantt chart, memory over time, tables of figures."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from parplan.figures.comparison import ComparisonFigures, comparison_table, verdict
from parplan.figures.fitting import breadth, fitted
from parplan.figures.plan import (
    PlanFigures,
    Table,
    baseline_table,
    bound_sentence,
    device_table,
    headline,
    link_table,
    proof_text,
)
from parplan.figures.timeline import Row, coverage, device_rows, link_rows
from parplan.graph import Kind
from parplan.palette import COLOURS as PALETTE
from parplan.palette import TRANSFER, ink
from parplan.schedule import Column, Schedule
from parplan.text import plain, seconds_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

LETTERS = {
    Kind.FORWARD: "F",
    Kind.BACKWARD: "B",
    Kind.BACKWARD_INPUT: "B",
    Kind.BACKWARD_WEIGHT: "W",
    Kind.OPTIMIZER: "O",
    Kind.COLLECTIVE: "C",
    Kind.OTHER: "X",
}
COLOURS = {
    letter: f"{ink(kind.value)} on {PALETTE[kind.value]}"
    for kind, letter in reversed(LETTERS.items())
}
COLOURS["T"] = f"{ink(TRANSFER)} on {PALETTE[TRANSFER]}"
UNBOUNDED = 400
LEVELS = " ▁▂▃▄▅▆▇█"
ROWS = 64
"""Devices, and links, drawn at most; the HTML report holds them all."""


def plan_text(figures: PlanFigures, *, gantt: bool, colour: bool) -> str:
    """Return a plan as text: headline, tables and, if asked for, the Gantt chart first."""
    plan = figures.plan
    parts: list[RenderableType] = [f"{plain(plan.problem.name)}\n"]
    if gantt:
        parts.append(gantt_text(figures))
    parts.append("\n".join(f"{plain(k):<12}{plain(v)}" for k, v in headline(figures)))
    parts.append(plain(proof_text(figures)))
    tables = [device_table(figures), baseline_table(figures)]
    if gantt:
        tables.insert(1, link_table(figures))
    parts += [part for table in tables if table.rows for part in ("", shown(table))]
    return render(parts, colour=colour)


def comparison_text(figures: ComparisonFigures, *, colour: bool) -> str:
    """Return a comparison as text: a row per schedule, and how the plan stands among them."""
    plan, unit = figures.comparison.plan, figures.unit
    return render(
        [
            f"{plain(plan.problem.name)}\n",
            shown(comparison_table(figures)),
            f"\n{plain(verdict(figures))}",
            plain(bound_sentence(plan, unit)),
        ],
        colour=colour,
    )


def gantt_text(figures: PlanFigures) -> Text:
    """Return the Gantt chart: a line per device, its memory, a line per used link.

    A column is a slice of time. It shows the kind of work that takes most of it, in lower case if
    the slice is idle for more than half, and ``.`` where nothing runs.
    """
    from rich.text import Text

    schedule = figures.plan.schedule
    devices = device_rows(schedule)
    links = [row for row in link_rows(schedule) if len(row.start)]
    longest = max(len(plain(row.name)) for row in [*devices, *links])
    margin = min(24, max(longest, len("  memory"))) + 1
    width = max(20, shutil.get_terminal_size((100, 24)).columns - margin - 1)
    edges = _edges(schedule.makespan, width)
    text = Text(no_wrap=True)
    text.append(_axis(schedule, margin, width), "dim")
    specs = schedule.problem.cluster.devices
    for row, spec, (ticks, used) in list(zip(devices, specs, figures.memory, strict=True))[:ROWS]:
        text.append(_name(row.name, margin))
        text.append_text(_cells(_letters(schedule, row, edges)))
        if spec.usable_bytes is not None:
            memory = _memory(ticks, used / spec.usable_bytes, edges)
            text.append(f"{_name('  memory', margin)}{memory}\n", "dim")
    for row in links[:ROWS]:
        text.append(_name(row.name, margin))
        text.append_text(_cells(_letters(schedule, row, edges)))
    hidden = sum(max(0, len(rows) - ROWS) for rows in (devices, links))
    if hidden:
        text.append(f"... and {hidden} more rows: parplan show PLAN --html FILE\n", "dim")
    text.append(_legend(schedule), "dim")
    return text


def render(parts: Iterable[RenderableType], *, colour: bool) -> str:
    """Return rich texts and tables as one string, with escape codes only if ``colour``."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(
        file=out,
        width=_width(),
        force_terminal=colour,
        no_color=not colour,
        markup=False,
        highlight=False,
    )  # names are no markup
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str))
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip("\n").split("\n"))


def _width() -> int:
    """Return the width of the terminal; a file or a pipe has none to fit into."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else UNBOUNDED


def shown(table: Table) -> RenderableType:
    """Return a table as rich draws it, less optional columns that the terminal has no room for."""
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    width = _width()
    table, left_out = fitted(table, width)
    fits = breadth(table) <= width
    grid = Grid(
        title=table.title or None,
        title_justify="left",
        caption=f"no room for: {', '.join(left_out)}" if left_out else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
    )
    for index, column in enumerate(table.columns):
        side: Literal["left", "right"] = "right" if table.kind(index) == "figure" else "left"
        whole = fits and table.kind(index) != "note"
        grid.add_column(column, justify=side, overflow="fold", no_wrap=whole)
    for index, row in enumerate(table.rows):
        style = "bold" if index in table.marked else ""
        grid.add_row(*(Text(plain(cell)) for cell in row), style=style)
    return grid


def _edges(makespan: int, width: int) -> Column:
    edges: Column = np.linspace(0, max(makespan, 1), width + 1).round().astype(np.int64)
    return edges


def _axis(schedule: Schedule, margin: int, width: int) -> str:
    tick = schedule.problem.tick_s
    end = seconds_text(schedule.makespan * tick)
    middle = seconds_text(schedule.makespan * tick / 2)
    half = width // 2
    return " " * margin + "0".ljust(half) + middle.ljust(width - half - len(end)) + end + "\n"


def _name(name: str, margin: int) -> str:
    shown = plain(name)
    return (shown if len(shown) < margin else shown[: margin - 2] + "~").ljust(margin)


def _letters(schedule: Schedule, row: Row, edges: Column) -> str:
    """Return one letter per slice; ``.`` if idle."""
    operators = schedule.problem.graph.operators
    kinds = np.array([ord(LETTERS[op.kind]) for op in operators], dtype=np.int64)
    letters = np.where(
        row.tasks >= 0, kinds[schedule.tasks.operator[np.maximum(row.tasks, 0)]], ord("T")
    )
    known = np.unique(letters)
    if not len(known):
        return "." * (len(edges) - 1)
    covered = np.array(
        [coverage(row.start[letters == k], row.end[letters == k], edges) for k in known]
    )
    length = np.maximum(np.diff(edges), 1)
    result = []
    for column, total in enumerate(covered.sum(axis=0)):
        letter = chr(known[int(covered[:, column].argmax())])
        mostly = 2 * total >= length[column]
        result.append("." if total == 0 else letter if mostly else letter.lower())
    return "".join(result)


def _cells(letters: str) -> Text:
    from rich.text import Text

    text = Text(no_wrap=True)
    for letter in letters:
        text.append(letter, COLOURS.get(letter, "dim"))
    text.append("\n")
    return text


def _memory(ticks: Column, shares: NDArray[np.float64], edges: Column) -> str:
    """Return the highest level within each slice as a bar of eighths."""
    level = np.concatenate(([0.0], shares))
    first = np.searchsorted(ticks, edges[:-1], side="right")
    last = np.searchsorted(ticks, edges[1:], side="left")
    top = [float(level[a : max(b, a) + 1].max()) for a, b in zip(first, last, strict=True)]
    return "".join(LEVELS[min(8, int(np.ceil(8 * share - 1e-9)))] for share in top)


def _legend(schedule: Schedule) -> str:
    kinds = dict.fromkeys(op.kind for op in schedule.problem.graph.operators)
    named: dict[str, list[str]] = {}
    for kind in kinds:
        named.setdefault(LETTERS[kind], []).append(kind.value)
    parts = [f"{letter} {', '.join(names)}" for letter, names in named.items()]
    if len(schedule.transfers):
        parts.append("T transfer")
    return "; ".join([*parts, "lower case: idle for more than half of the slice"])
