"""The Gantt chart of a plan as SVG, for papers and notebooks: a row per device and used link.

Bars that are too thin to be seen are drawn as what most of each stretch is, as strong as the part
that is taken: a chart of any number of tasks stays small.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from parplan.figures.plan import PlanFigures
from parplan.figures.timeline import Row, coverage, device_rows, link_rows
from parplan.palette import COLOURS, TRANSFER, ink
from parplan.report.svg import box_path, cut, element, picture
from parplan.schedule import Column, Schedule
from parplan.text import seconds_text

WIDTH = 900.0
LABEL = 90.0
"""Pixels for the names of rows."""

TALL, THIN = 16.0, 8.0
"""Pixels of a lane of a device, and of a link."""

GAP = 5.0
AXIS = 20.0
LEGEND = 22.0
FINE = 0.75
"""Pixels of a bar that is drawn for itself; and of a stretch of thinner ones."""

STRENGTHS = 4
"""Steps of how much of a stretch is taken."""

ROWS = 64
"""Devices, and links, drawn at most."""

Reals = NDArray[np.float64]


@frozen
class Place:
    """Where rows stand: ``scale`` pixels a tick from ``left`` on."""

    left: float
    scale: float
    width: float


def gantt_svg(figures: PlanFigures, *, width: float = WIDTH, links: bool = True) -> str:
    """Return the Gantt chart of a plan as one SVG picture.

    Parameters
    ----------
    width
        In pixels; height follows from the rows.
    links
        Whether links that carry anything are drawn.
    """
    schedule = figures.plan.schedule
    place = Place(LABEL, (width - LABEL - 10) / max(schedule.makespan, 1), width - LABEL - 10)
    used = [row for row in link_rows(schedule) if len(row.start)] if links else []
    rows = [(row, TALL) for row in device_rows(schedule)[:ROWS]]
    rows += [(row, THIN) for row in used[:ROWS]]
    parts: list[str] = []
    top = AXIS
    for row, tall in rows:
        parts += _row(schedule, row, top, tall, place)
        top += row.lanes * tall + GAP
    parts = [*_axis(schedule, top, place), *parts]
    hidden = len(device_rows(schedule)) + len(used) - len(rows)
    if hidden:
        parts.append(element("text", text=f"and {hidden} more rows", x=0, y=top + 8, **_TEXT))
        top += GAP + TALL
    parts += _legend(schedule, top + LEGEND / 2, transfers=bool(used))
    return picture(width, top + LEGEND, figures.plan.problem.name, parts)


_TEXT = {"fill": "currentColor", "dominant_baseline": "middle"}


def _row(schedule: Schedule, row: Row, top: float, tall: float, place: Place) -> Iterator[str]:
    high = row.lanes * tall
    yield element("text", text=cut(row.name, LABEL - 8), x=0, y=top + min(high, TALL) / 2, **_TEXT)
    yield element("rect", x=place.left, y=top, width=place.width, height=high,
                  fill="currentColor", fill_opacity=0.06)  # fmt: skip
    kinds = _kinds(schedule, row)
    for lane in range(row.lanes):
        mine = row.lane == lane
        wide = mine & ((row.end - row.start) * place.scale >= FINE)
        y = top + lane * tall + 0.5
        for kind in sorted(set(kinds[mine].tolist())):
            alike = wide & (kinds == kind)
            left = place.left + row.start[alike] * place.scale
            length = (row.end - row.start)[alike] * place.scale
            gaps = np.where(length > 3, 0.5, 0.0)
            boxes = zip(left.tolist(), (length - gaps).tolist(), strict=True)
            shape = box_path((x, y, w, tall - 1) for x, w in boxes)
            if shape:
                yield element("path", d=shape, fill=COLOURS[kind])
        yield from _fine(row, kinds, np.flatnonzero(mine & ~wide), y, tall - 1, place)
        if tall == TALL:
            yield from _numbers(schedule, row, kinds, np.flatnonzero(wide), y + tall / 2, place)


def _kinds(schedule: Schedule, row: Row) -> NDArray[np.str_]:
    operators = schedule.problem.graph.operators
    of = schedule.tasks.operator[np.maximum(row.tasks, 0)] if len(schedule.tasks) else row.tasks
    return np.array(
        [
            operators[o].kind.value if task >= 0 else TRANSFER
            for o, task in zip(of.tolist(), row.tasks.tolist(), strict=True)
        ],
        dtype=np.str_,
    )


def _fine(
    row: Row, kinds: NDArray[np.str_], bars: Column, y: float, high: float, place: Place
) -> Iterator[str]:
    """Yield what stretches of thin bars mostly are, stretches that are alike as one."""
    if not len(bars):
        return
    edges = _edges(place)
    known = sorted(set(kinds[bars].tolist()))
    taken = np.array(
        [coverage(row.start[b], row.end[b], edges) for b in (bars[kinds[bars] == k] for k in known)]
    )
    touched = np.zeros(len(edges) - 1, dtype=bool)  # a bar of no length is seen too
    begun = np.searchsorted(edges, row.start[bars], side="right") - 1
    touched[np.clip(begun, 0, len(touched) - 1)] = True
    share = taken.sum(axis=0) / np.maximum(np.diff(edges), 1)
    strength = np.where(touched | (share > 0), np.ceil(np.clip(share, 0.01, 1.0) * STRENGTHS), 0)
    code = np.where(strength > 0, taken.argmax(axis=0) * (STRENGTHS + 1) + strength, 0).astype(int)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(code)) + 1))
    ends = np.concatenate((starts[1:], [len(code)]))
    boxes: dict[int, list[tuple[float, float, float, float]]] = {}
    for first, last in zip(starts.tolist(), ends.tolist(), strict=True):
        if code[first]:
            left, right = (place.left + float(edges[i]) * place.scale for i in (first, last))
            boxes.setdefault(int(code[first]), []).append((left, y, right - left, high))
    for number, found in boxes.items():
        kind, strong = divmod(number, STRENGTHS + 1)
        yield element("path", d=box_path(found), fill=COLOURS[known[kind]],
                      fill_opacity=0.25 + 0.75 * strong / STRENGTHS)  # fmt: skip


def _edges(place: Place) -> Column:
    ticks = place.width / place.scale
    count = max(1, min(int(place.width / FINE), int(ticks)))
    edges: Column = np.linspace(0, ticks, count + 1).round().astype(np.int64)
    return edges


def _numbers(
    schedule: Schedule, row: Row, kinds: NDArray[np.str_], bars: Column, y: float, place: Place
) -> Iterator[str]:
    """Yield the microbatch of each bar that has room for it."""
    for i in bars.tolist():
        task = int(row.tasks[i])
        microbatch = int(schedule.tasks.microbatch[task]) if task >= 0 else -1
        length = float(row.end[i] - row.start[i]) * place.scale
        if microbatch < 0 or length < 5.5 * len(str(microbatch)) + 2:
            continue
        x = place.left + float(row.start[i]) * place.scale + length / 2
        yield element("text", text=str(microbatch), x=x, y=y,
                      fill=ink(str(kinds[i])), font_size=9, text_anchor="middle",
                      dominant_baseline="middle")  # fmt: skip


def _axis(schedule: Schedule, bottom: float, place: Place) -> Iterator[str]:
    """Yield round instants, about a hundred pixels apart."""
    tick_s = schedule.problem.tick_s
    horizon_s = max(schedule.makespan, 1) * tick_s
    rough = horizon_s * 100 / place.width
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(k * power for k in (1, 2, 5, 10) if k * power >= rough * (1 - 1e-9))
    for k in range(int(horizon_s / step * (1 + 1e-9)) + 1):
        x = place.left + k * step / tick_s * place.scale
        yield element("line", x1=x, x2=x, y1=AXIS - 5, y2=bottom - GAP, stroke="currentColor",
                      stroke_opacity=0.2)  # fmt: skip
        yield element("text", text=seconds_text(k * step) if k else "0", x=x, y=7,
                      text_anchor="middle" if k else "start", **_TEXT)  # fmt: skip


def _legend(schedule: Schedule, y: float, *, transfers: bool) -> Iterator[str]:
    kinds = list(dict.fromkeys(op.kind.value for op in schedule.problem.graph.operators))
    x = LABEL
    for kind in [*kinds, *([TRANSFER] if transfers else [])]:
        yield element("rect", x=x, y=y - 5, width=10, height=10, fill=COLOURS[kind])
        yield element("text", text=kind, x=x + 14, y=y + 1, **_TEXT)
        x += 14 + 6.2 * len(kind) + 16
