"""Which tensors flow between the stages of a plan, forwards and backwards."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import networkx as nx

from parplan.errors import InputError
from parplan.graph import Digraph
from parplan.stages.chaining import Pair, passed_through
from parplan.stages.layers import Side
from parplan.stages.planned import Planned
from parplan.stages.program import Edge


def find_edges(
    planned: Planned, stage_of: Mapping[int, int], *, is_chain: bool = False
) -> tuple[Edge, ...]:
    """Return the edges between stages, given the stage of each layer.

    A gradient that goes further back than to a stage before (a residual connection) is counted on
    every edge of the shortest way. In a chain all that skips stages is on the edges between.

    Raises
    ------
    InputError
        If a gradient goes where nothing came from, or something else flows between stages.
    """
    graph, layers = planned.problem.graph, planned.layers
    forwards: dict[Pair, dict[int, int]] = {}
    backwards: dict[Pair, dict[int, int]] = {}
    for t, reader in planned.readings():
        maker = graph.producers[t]
        if Side.ONCE in (layers.side[maker], layers.side[reader]):
            continue
        source, target = stage_of[layers.layer_of[maker]], stage_of[layers.layer_of[reader]]
        if source == target:
            continue
        if layers.side[maker] is Side.FORWARD and source < target:
            forwards.setdefault((source, target), {})[t] = size_of(planned, t)
        elif layers.side[reader] is not Side.FORWARD and layers.side[maker] is not Side.WEIGHT:
            backwards.setdefault((target, source), {})[t] = size_of(planned, t)
        else:
            raise InputError(
                f"operator '{graph.operators[reader].name}' reads tensor '{graph.tensors[t].name}' "
                f"of '{graph.operators[maker].name}' in another stage, which is neither a result "
                "of its forward pass nor a gradient for a stage before; put the two operators on "
                "one device"
            )
    way: Digraph = nx.DiGraph()
    way.add_edges_from(forwards)
    gradients: dict[Pair, dict[int, int]] = {}
    for pair, tensors in backwards.items():
        for hop in _hops(planned, way, pair, tensors):
            gradients.setdefault(hop, {}).update(tensors)
    if is_chain:
        everywhere = {(s, s + 1): dict[int, int]() for s in range(max(stage_of.values()))}
        forwards = everywhere | passed_through(forwards, {})
        gradients = passed_through(gradients, planned.gradient_of)
    names = [tensor.name for tensor in graph.tensors]
    return tuple(
        Edge(
            *pair,
            tuple(names[t] for t in forwards[pair]),
            sum(forwards[pair].values()),
            tuple(names[t] for t in gradients.get(pair, ())),
            sum(gradients.get(pair, {}).values()),
        )
        for pair in sorted(forwards)
    )


def passed_bytes(planned: Planned, stage_of: Mapping[int, int]) -> Mapping[int, int]:
    """Return the bytes of a microbatch that each stage of a chain only hands on."""
    graph, layers = planned.problem.graph, planned.layers
    readers: dict[int, set[int]] = {}
    for t, reader in planned.readings():
        maker = graph.producers[t]
        if layers.side[maker] is Side.FORWARD and layers.side[reader] is not Side.ONCE:
            readers.setdefault(t, set()).add(stage_of[layers.layer_of[reader]])
    found: dict[int, int] = {}
    for t, stages in readers.items():
        home = stage_of[layers.layer_of[graph.producers[t]]]
        for stage in set(range(home + 1, max(stages))) - stages:
            found[stage] = found.get(stage, 0) + size_of(planned, t)
    return found


def size_of(planned: Planned, tensor: int) -> int:
    """Return the bytes of a tensor in the modes of the plan, for a microbatch of scale 1."""
    graph = planned.problem.graph
    maker = graph.producers[tensor]
    return max(graph.writes(maker, mode).get(tensor, 0) for mode in planned.modes[maker])


def _hops(planned: Planned, way: Digraph, pair: Pair, tensors: Mapping[int, int]) -> list[Pair]:
    """Return the edges that gradients for ``pair[0]`` from ``pair[1]`` go along."""
    source, target = pair
    if source not in way or target not in way or not nx.has_path(way, source, target):
        name = planned.problem.graph.tensors[next(iter(tensors))].name
        raise InputError(
            f"gradient '{name}' goes from stage {target} to stage {source}, though no forward pass "
            "leads there; put both operators on one device"
        )
    path: list[int] = nx.shortest_path(way, source, target)
    return list(pairwise(path))
