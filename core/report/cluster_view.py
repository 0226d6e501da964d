"""The cluster of a plan as SVG: devices with what they do, links as wide as they are used."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import networkx as nx

from parplan.figures.plan import PlanFigures
from parplan.palette import device_colours
from parplan.report.svg import cut, element, picture
from parplan.text import bytes_text, percent_text

MOST = 64
"""Devices drawn at most."""

WIDTH = 1100.0
BOX_WIDTH, BOX_HEIGHT = 96.0, 44.0
ACROSS, DOWN = 14.0, 90.0
ROOMY = 60.0
"""Pixels between devices where there are few."""

LABELLED = 16
"""Links up to which each says how much of the time it is held."""

LITTLE = 0.0005
"""Part of the time that would be read as 0.0%."""

Centre = tuple[float, float]


def cluster_svg(figures: PlanFigures) -> str:
    """Return the cluster as one SVG picture; an empty text if there are too many devices."""
    cluster = figures.plan.problem.cluster
    if len(cluster.devices) > MOST:
        return ""
    devices = [device.name for device in cluster.devices]
    ends = [(link.source, link.target) for link in cluster.links]
    centres = _centres(devices, cluster.switches, ends)
    height = max(y for _, y in centres.values()) + BOX_HEIGHT / 2 + 6
    lines = list(_links(figures, centres))
    switches = [part for name in cluster.switches for part in _switch(name, centres)]
    return picture(
        WIDTH, height, f"cluster {cluster.name}", [*lines, *switches, *_devices(figures, centres)]
    )


def _centres(
    devices: Sequence[str], switches: Sequence[str], links: Sequence[tuple[str, str]]
) -> dict[str, Centre]:
    """Return where everything stands: on a ring, or switches above the devices they join."""
    if not switches:
        return _ring(devices)
    graph: nx.Graph[str] = nx.Graph(links)
    graph.add_nodes_from([*devices, *switches])
    near = nx.multi_source_dijkstra_path_length(graph, set(devices), weight=None)
    far = {point: int(distance) for point, distance in near.items()}
    top = max(far.get(point, 1) for point in switches)
    order = _by_neighbour(devices, switches, graph)
    centres: dict[str, Centre] = {}
    across = ROOMY if len(order) * (BOX_WIDTH + ROOMY) <= WIDTH else ACROSS
    per_line = int((WIDTH - 4 + across) // (BOX_WIDTH + across))
    for i, name in enumerate(order):
        row, column = divmod(i, per_line)
        in_row = min(per_line, len(order) - row * per_line)
        left = (WIDTH - in_row * (BOX_WIDTH + across) + across) / 2
        y = 20 + top * DOWN + row * (BOX_HEIGHT + 30)
        centres[name] = (left + column * (BOX_WIDTH + across) + BOX_WIDTH / 2, y)
    for level in range(1, top + 1):
        for point in (p for p in switches if far.get(p, 1) == level):
            below = [centres[n][0] for n in graph[point] if n in centres]
            x = sum(below) / len(below) if below else WIDTH / 2
            centres[point] = (x, 20 + (top - level) * DOWN)
    return centres


def _by_neighbour(
    devices: Sequence[str], switches: Sequence[str], graph: nx.Graph[str]
) -> list[str]:
    """Return devices in the order of the switches that they hang on."""
    place = {name: i for i, name in enumerate(switches)}
    first = {d: min((place[n] for n in graph[d] if n in place), default=0) for d in devices}
    return sorted(devices, key=first.__getitem__)


def _ring(devices: Sequence[str]) -> dict[str, Centre]:
    count = len(devices)
    if count <= 2:
        y = BOX_HEIGHT / 2 + 16
        return {d: (WIDTH / 2 + (i - (count - 1) / 2) * 320, y) for i, d in enumerate(devices)}
    across = min(WIDTH / 2 - BOX_WIDTH / 2 - 4, max(180.0, count * (BOX_WIDTH + ACROSS) / 5))
    down = max(90.0, count * (BOX_HEIGHT + 36) / 6)
    centres = {}
    for i, name in enumerate(devices):
        angle = 2 * math.pi * i / count - math.pi / 2
        centres[name] = (
            WIDTH / 2 + across * math.cos(angle),
            BOX_HEIGHT / 2 + 4 + down * (1 + math.sin(angle)),
        )
    return centres


def _links(figures: PlanFigures, centres: Mapping[str, Centre]) -> Iterator[str]:
    links, uses = figures.plan.problem.cluster.links, figures.uses.links
    whole = figures.uses.makespan_s
    for link, use in zip(links, uses, strict=True):
        available = whole * (link.capacity or 1)
        share = min(1.0, use.busy_s / available) if available > 0 else 0.0
        (x1, y1), (x2, y2) = centres[link.source], centres[link.target]
        length = math.hypot(x2 - x1, y2 - y1) or 1.0
        # The two directions of a pair lie side by side.
        dx, dy = -(y2 - y1) / length * 4, (x2 - x1) / length * 4
        told = (
            f"{link.name}: {link.source} to {link.target}\nheld {percent_text(share)} of the time"
        )
        yield element(
            "line",
            element("title", text=f"{told}, {bytes_text(use.bytes)} moved"),
            x1=x1 + dx,
            y1=y1 + dy,
            x2=x2 + dx,
            y2=y2 + dy,
            stroke="#56b4e9" if share > 0 else "currentColor",
            stroke_opacity=1.0 if share > 0 else 0.25,
            stroke_width=1 + 6 * share,
        )
        if share >= LITTLE and len(links) <= LABELLED:
            yield element(
                "text",
                text=percent_text(share),
                x=x1 + (x2 - x1) * 0.5 + 3.5 * dx,
                y=y1 + (y2 - y1) * 0.5 + 2 * dy,
                text_anchor="middle",
                font_size=9,
                dominant_baseline="middle",
                fill="currentColor",
            )


def _switch(name: str, centres: Mapping[str, Centre]) -> Iterator[str]:
    x, y = centres[name]
    yield element("circle", element("title", text=name), cx=x, cy=y, r=9, fill="#999999")
    yield element(
        "text", text=cut(name, 200), x=x + 14, y=y, dominant_baseline="middle", fill="currentColor"
    )


def _devices(figures: PlanFigures, centres: Mapping[str, Centre]) -> Iterator[str]:
    cluster = figures.plan.problem.cluster
    colours = device_colours(len(cluster.devices))
    for colour, spec, use in zip(colours, cluster.devices, figures.uses.devices, strict=True):
        x, y = centres[spec.name]
        x, y = x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2
        busy = 1.0 - use.bubble
        full = use.peak_bytes / spec.usable_bytes if spec.usable_bytes else None
        memory = "" if full is None else f", memory {percent_text(full)}"
        bars = [(busy, colour), *([] if full is None else [(full, "#7a8694")])]
        yield element(
            "g",
            element("title", text=f"{spec.name} ({spec.kind})\nbusy {percent_text(busy)}{memory}"),
            element(
                "rect",
                x=x,
                y=y,
                width=BOX_WIDTH,
                height=BOX_HEIGHT,
                rx=4,
                class_="paper",
                stroke=colour,
                stroke_width=1.5,
            ),
            element(
                "text", text=cut(spec.name, BOX_WIDTH - 10), x=x + 6, y=y + 14, fill="currentColor"
            ),
            element(
                "text",
                text=f"busy {percent_text(busy)}",
                x=x + 6,
                y=y + 27,
                font_size=10,
                fill="currentColor",
                opacity=0.75,
            ),
            *(
                element(
                    "rect",
                    x=x + 6,
                    y=y + BOX_HEIGHT - 10 + 4 * i,
                    height=2.5,
                    fill=fill,
                    width=(BOX_WIDTH - 12) * min(1.0, part),
                )
                for i, (part, fill) in enumerate(bars)
            ),
        )
