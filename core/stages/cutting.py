"""Where a plan is cut into stages: layers that run one after another for every microbatch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from functools import partial

import networkx as nx

from parplan.graph import Digraph
from parplan.stages.layers import Side
from parplan.stages.planned import Planned

Parts = tuple[tuple[int, ...], ...]
"""Layers of each stage, stages in a topological order, layers in the order of the model."""

Cut = Callable[[Planned], Parts]
"""A way to cut a plan into stages."""


class Tightness(IntEnum):
    """What has to run back to back for layers to be one stage; each asks for all before it."""

    FORWARD = 0
    BACKWARD = 1
    WEIGHT = 2
    NO_WAIT = 3
    LAYER = 4


def cut(planned: Planned, tightness: Tightness) -> Parts:
    """Return the largest stages whose passes run back to back in the plan.

    The layers of a stage are connected, and stages read from one another without a cycle. With
    ``NO_WAIT`` a device does not even wait between two layers of a stage; with ``LAYER`` each layer
    is a stage by itself.
    """
    order = planned.layer_order
    layers = sorted(order, key=order.__getitem__)
    if tightness is Tightness.LAYER:
        return tuple((layer,) for layer in layers)
    runs = _runs(planned, broken_by_waits=tightness >= Tightness.NO_WAIT)
    parts: list[list[int]] = [layers]
    for side, least in (
        (Side.FORWARD, Tightness.FORWARD),
        (Side.BACKWARD, Tightness.BACKWARD),
        (Side.WEIGHT, Tightness.WEIGHT),
    ):
        if tightness >= least:
            parts = [finer for part in parts for finer in _split(part, runs[side].get)]
    joined = [piece for part in parts for piece in _connected(planned.layer_graph, part, order)]
    return _in_order(planned, _without_cycles(planned.layer_graph, joined, order))


BACK_TO_BACK: tuple[Cut, ...] = tuple(partial(cut, tightness=one) for one in Tightness)
"""Stages whose passes run back to back, the largest first."""


def by_device(planned: Planned) -> Parts:
    """Return the largest stages there can be: connected layers on one device.

    The plan may run other things between two of their layers.
    """
    order = planned.layer_order
    layers = sorted(order, key=order.__getitem__)
    members: dict[int, list[int]] = {}
    for layer in layers:
        members.setdefault(planned.device_of[layer], []).append(layer)
    graph = planned.layer_graph
    joined = [piece for part in members.values() for piece in _connected(graph, part, order)]
    return _in_order(planned, _without_cycles(graph, joined, order))


def _runs(planned: Planned, *, broken_by_waits: bool) -> dict[Side, dict[int, tuple[int, ...]]]:
    """Return the runs that the passes of each layer are in, one for each microbatch.

    A run is a sequence of forward operators, or of backward ones, of one microbatch that nothing
    interrupts on its device.
    """
    schedule, layers = planned.schedule, planned.layers
    operators, microbatches = schedule.tasks.operator.tolist(), schedule.tasks.microbatch.tolist()
    starts, ends = schedule.tasks.start.tolist(), schedule.ends.tolist()
    found: dict[Side, dict[int, list[tuple[int, int]]]] = {side: {} for side in Side}
    run = 0
    for rows in planned.rows:
        before, free = None, 0
        for row in rows:
            o, k = operators[row], microbatches[row]
            side = layers.side[o]
            kind = (k, side is Side.FORWARD, side is Side.ONCE)
            if kind != before or (broken_by_waits and starts[row] > free):
                run += 1
            before, free = kind, max(free, ends[row])
            if side is not Side.ONCE:
                found[side].setdefault(layers.layer_of[o], []).append((k, run))
    return {
        side: {layer: tuple(run for _, run in sorted(entries)) for layer, entries in rows.items()}
        for side, rows in found.items()
    }


def _split(
    part: Sequence[int], runs_of: Callable[[int], tuple[int, ...] | None]
) -> list[list[int]]:
    """Return the layers of a part by their runs; one without a pass goes with the one before it."""
    found: dict[tuple[int, ...], list[int]] = {}
    keys = [runs_of(layer) for layer in part]
    last = next((key for key in keys if key is not None), ())
    for layer, key in zip(part, keys, strict=True):
        last = last if key is None else key
        found.setdefault(last, []).append(layer)
    return list(found.values())


def _connected(
    graph: Digraph, part: Sequence[int], order: Mapping[int, int]
) -> Iterable[list[int]]:
    """Return the connected pieces of a part."""
    inside = graph.subgraph(part)
    return [
        sorted(piece, key=order.__getitem__) for piece in nx.weakly_connected_components(inside)
    ]


def _without_cycles(
    graph: Digraph, parts: Sequence[Sequence[int]], order: Mapping[int, int]
) -> list[list[int]]:
    """Return parts, those on a cycle split by how often paths on the cycle change parts.

    Along every edge between the pieces of a cycle that number grows, so none is left.
    """
    part_of = {layer: p for p, part in enumerate(parts) for layer in part}
    found: list[list[int]] = []
    for knot in nx.strongly_connected_components(_quotient(graph, part_of)):
        if len(knot) == 1:
            found += [list(parts[p]) for p in knot]
            continue
        members = sorted((layer for p in knot for layer in parts[p]), key=order.__getitem__)
        changes: dict[int, int] = {}
        pieces: dict[tuple[int, int], list[int]] = {}
        for layer in members:
            changes[layer] = max(
                (
                    changes[before] + (part_of[before] != part_of[layer])
                    for before in graph.predecessors(layer)
                    if before in changes
                ),
                default=0,
            )
            pieces.setdefault((part_of[layer], changes[layer]), []).append(layer)
        found += pieces.values()
    return found


def _in_order(planned: Planned, parts: Sequence[Sequence[int]]) -> Parts:
    """Return parts in a topological order, ties by their first layer."""
    order = planned.layer_order
    part_of = {layer: p for p, part in enumerate(parts) for layer in part}
    quotient = _quotient(planned.layer_graph, part_of)
    ranked = nx.lexicographical_topological_sort(
        quotient, key=lambda p: min(order[layer] for layer in parts[p])
    )
    return tuple(tuple(sorted(parts[p], key=order.__getitem__)) for p in ranked)


def _quotient(graph: Digraph, part_of: Mapping[int, int]) -> Digraph:
    found: Digraph = nx.DiGraph()
    found.add_nodes_from(set(part_of.values()))
    found.add_edges_from(
        (part_of[a], part_of[b]) for a, b in graph.edges if part_of[a] != part_of[b]
    )
    return found
