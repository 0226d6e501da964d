"""The model of a plan as SVG: boxes of operators in layers, coloured by device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from attrs import frozen

from parplan.figures.plan import PlanFigures
from parplan.palette import device_colours
from parplan.report.grouping import Group, model_groups
from parplan.report.layers import layers
from parplan.report.svg import cut, element, picture
from parplan.schedule import Schedule
from parplan.text import seconds_text

MOST = 120
"""Boxes drawn at most."""

WIDTH = 1100.0
BOX_WIDTH, BOX_HEIGHT = 118.0, 34.0
ACROSS, DOWN = 20.0, 8.0
"""Pixels between layers, and between boxes of one layer."""

BETWEEN = 26.0
"""Pixels between the lines of layers."""

Corner = tuple[float, float]


@frozen
class Load:
    """What a box says: device groups that run its operators, the most frequent first; seconds."""

    places: tuple[tuple[int, ...], ...]
    seconds: float


def model_svg(figures: PlanFigures) -> str:
    """Return the model as one SVG picture; layers that do not fit a line go on in the next."""
    schedule = figures.plan.schedule
    groups, edges = model_groups(schedule.problem.graph, MOST)
    corners, bottom = _corners(layers(len(groups), edges))
    loads = _loads(schedule, groups)
    boxes = [
        part
        for group, load, corner in zip(groups, loads, corners, strict=True)
        for part in _box(schedule, group, load, corner)
    ]
    lines = [_edge(corners[a], corners[b]) for a, b in edges]
    name = f"model {schedule.problem.graph.name}"
    return picture(WIDTH, bottom, name, [*lines, *boxes])


def _corners(found: Sequence[Sequence[int]]) -> tuple[list[Corner], float]:
    """Return the upper left corner of each node's box, and the height of all."""
    per_line = int((WIDTH - 4 + ACROSS) // (BOX_WIDTH + ACROSS))
    corners: dict[int, Corner] = {}
    top = 4.0
    for first in range(0, len(found), per_line):
        line = found[first : first + per_line]
        tallest = max(len(layer) for layer in line)
        for column, layer in enumerate(line):
            inset = (tallest - len(layer)) * (BOX_HEIGHT + DOWN) / 2
            for row, node in enumerate(layer):
                corners[node] = (
                    2 + column * (BOX_WIDTH + ACROSS),
                    top + inset + row * (BOX_HEIGHT + DOWN),
                )
        top += tallest * (BOX_HEIGHT + DOWN) - DOWN + BETWEEN
    return [corners[node] for node in range(len(corners))], top - BETWEEN + 4


def _loads(schedule: Schedule, groups: Sequence[Group]) -> list[Load]:
    of = {operator: i for i, group in enumerate(groups) for operator in group.operators}
    places: list[Counter[tuple[int, ...]]] = [Counter() for _ in groups]
    ticks = [0] * len(groups)
    lengths = (schedule.ends - schedule.tasks.start).tolist()
    for row, operator in enumerate(schedule.tasks.operator.tolist()):
        if operator in of:
            places[of[operator]][schedule.alternative(row).devices] += 1
            ticks[of[operator]] += lengths[row]
    tick_s = schedule.problem.tick_s
    return [
        Load(tuple(place for place, _ in found.most_common()), spent * tick_s)
        for found, spent in zip(places, ticks, strict=True)
    ]


def _box(schedule: Schedule, group: Group, load: Load, corner: Corner) -> Iterator[str]:
    x, y = corner
    names = [device.name for device in schedule.problem.cluster.devices]
    colours = device_colours(len(names))
    runs = [" + ".join(names[d] for d in place) for place in load.places]
    first = colours[load.places[0][0]] if load.places else "#999999"
    more = f" +{len(runs) - 1}" if len(runs) > 1 else ""
    count = f"{len(group.operators)} operators, " if len(group.operators) > 1 else ""
    told = f"{group.name}\n{count}{seconds_text(load.seconds)} in all\non {', '.join(runs)}"
    yield element(
        "g",
        element("title", text=told),
        element("rect", x=x, y=y, width=BOX_WIDTH, height=BOX_HEIGHT, rx=3, class_="paper"),
        element(
            "rect",
            x=x,
            y=y,
            width=BOX_WIDTH,
            height=BOX_HEIGHT,
            rx=3,
            fill=first,
            fill_opacity=0.18,
            stroke=first,
        ),
        element("rect", x=x, y=y, width=4, height=BOX_HEIGHT, fill=first),
        element(
            "text", text=cut(group.name, BOX_WIDTH - 14), x=x + 9, y=y + 14, fill="currentColor"
        ),
        element(
            "text",
            text=cut(f"{runs[0] if runs else '-'}{more}", BOX_WIDTH - 14, 10),
            x=x + 9,
            y=y + 27,
            fill="currentColor",
            font_size=10,
            opacity=0.75,
        ),
        class_="box",
        **_found_by(schedule, group),
    )


def _found_by(schedule: Schedule, group: Group) -> dict[str, str]:
    """Return what a search for finds all operators of a box; nothing if their names share none."""
    operators = schedule.problem.graph.operators
    shared = all(group.name in operators[i].name for i in group.operators)
    return {"data_find": group.name} if shared else {}


def _edge(source: Corner, target: Corner) -> str:
    """Return a curve from the right of one box to the left of another."""
    x1, y1 = source[0] + BOX_WIDTH, source[1] + BOX_HEIGHT / 2
    x2, y2 = target[0], target[1] + BOX_HEIGHT / 2
    if x2 > x1:
        bend = (x2 - x1) / 2
        over = BOX_HEIGHT if x2 - x1 > ACROSS + 1 else 0.0  # not through the boxes between
        points = ((x1, y1), (x1 + bend, y1 - over), (x2 - bend, y2 - over), (x2, y2))
    else:  # into a later line: down from below the one to above the other
        x1, y1, x2, y2 = x1 - 20, source[1] + BOX_HEIGHT, x2 + 20, target[1]
        bend = max(14.0, (y2 - y1) / 2)
        points = ((x1, y1), (x1, y1 + bend), (x2, y2 - bend), (x2, y2))
    start, *rest = (f"{x:.1f} {y:.1f}" for x, y in points)
    path = f"M{start}C{' '.join(rest)}"
    return element("path", d=path, fill="none", stroke="currentColor", stroke_opacity=0.35)
