"""Layers: a forward operator with the operators of its backward pass, which share a stage."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import networkx as nx
from attrs import frozen

from parplan.errors import InputError
from parplan.graph import Graph, Kind, Repeat


class Side(StrEnum):
    """Which part of a step an operator belongs to."""

    FORWARD = "forward"
    BACKWARD = "backward"
    WEIGHT = "weight"
    ONCE = "once"


_SIDE_OF_KIND = {
    Kind.FORWARD: Side.FORWARD,
    Kind.BACKWARD: Side.BACKWARD,
    Kind.BACKWARD_INPUT: Side.BACKWARD,
    Kind.BACKWARD_WEIGHT: Side.WEIGHT,
}


@frozen(eq=False)
class Layers:
    """The operators of a graph by layer; a layer is named by the index of its forward operator.

    Attributes
    ----------
    side
        Of each operator.
    layer_of
        Of each operator that runs for every microbatch.
    """

    side: tuple[Side, ...]
    layer_of: Mapping[int, int]


def find_layers(graph: Graph) -> Layers:
    """Return the layers of a graph; O(operators x edges) at worst.

    A backward operator belongs to the forward operator of its module: the one of its own name (as
    importers give it, ``layer:kind``), the only one, or the last one that it reads from.

    Raises
    ------
    InputError
        If a backward operator has no forward operator.
    """
    side = _sides(graph)
    forwards = [o for o, found in enumerate(side) if found is Side.FORWARD]
    layer_of = {o: o for o in forwards}
    by_stem = {(graph.operators[o].module, _stem(graph, o)): o for o in forwards}
    by_module: dict[str, list[int]] = {}
    for o in forwards:
        by_module.setdefault(graph.operators[o].module, []).append(o)
    position = {o: i for i, o in enumerate(graph.topological_order)}
    for o in graph.topological_order:
        if side[o] not in (Side.BACKWARD, Side.WEIGHT):
            continue
        operator = graph.operators[o]
        named = by_stem.get((operator.module, _stem(graph, o)))
        own = by_module.get(operator.module, []) if operator.module else forwards
        if named is not None:
            layer_of[o] = named
        elif len(own) == 1:
            layer_of[o] = own[0]
        else:
            layer_of[o] = _by_reading(graph, layer_of, o, set(own), position)
    return Layers(side, layer_of)


def _sides(graph: Graph) -> tuple[Side, ...]:
    """Return the side of each operator; what is neither forward nor backward follows its inputs."""
    side = [Side.ONCE] * len(graph.operators)
    for o in graph.topological_order:
        operator = graph.operators[o]
        if operator.repeat is Repeat.STEP:
            continue
        known = _SIDE_OF_KIND.get(operator.kind)
        if known is None:
            makers = {side[graph.producers[t]] for t in graph.inputs[o]}
            known = Side.BACKWARD if makers & {Side.BACKWARD, Side.WEIGHT} else Side.FORWARD
        side[o] = known
    return tuple(side)


def _stem(graph: Graph, o: int) -> str:
    operator = graph.operators[o]
    return operator.name.removesuffix(f":{operator.kind.value}")


def _by_reading(
    graph: Graph, layer_of: Mapping[int, int], o: int, own: set[int], position: Mapping[int, int]
) -> int:
    """Return the last layer that an operator reads from, of its own module if any is."""
    makers = [graph.producers[t] for t in graph.inputs[o]]
    direct = [m for m in makers if layer_of.get(m) == m]
    handed = [layer_of[m] for m in makers if m in layer_of]
    earlier = [m for m in nx.ancestors(graph.digraph, o) if layer_of.get(m) == m]
    for found in ([m for m in direct if m in own], direct, handed, earlier):
        if found:
            return max(found, key=position.__getitem__)
    raise InputError(
        f"operator '{graph.operators[o].name}' is a backward pass that follows no forward "
        "operator, so no stage can hold it; give both the same module, or let it read what is "
        "saved for it"
    )
