"""Which share of a tensor each device has between operators that are divided in styles.

What PyTorch would take for another share, without a word and with wrong results, is an error here.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import frozen

from parplan.errors import InputError
from parplan.graph import Graph
from parplan.plugins.exporters.dtensor.ways import Style, Way
from parplan.stages.layers import Side, find_layers


class Layout(StrEnum):
    """What a device has of a tensor of shape (samples, tokens, ..., features)."""

    REPLICATED = "replicated"
    SEQUENCE = "sequence"
    COLUMNS = "columns"


@frozen
class Layouts:
    """Of what an operator reads and of what it makes."""

    input: Layout
    output: Layout


_READS: Mapping[Style, frozenset[Layout]] = {
    Style.COLWISE: frozenset({Layout.REPLICATED, Layout.SEQUENCE}),
    Style.ROWWISE: frozenset({Layout.REPLICATED, Layout.COLUMNS}),
    Style.SEQUENCE: frozenset({Layout.SEQUENCE}),
    Style.LOCAL: frozenset(Layout),
    Style.REPLICATE: frozenset({Layout.REPLICATED}),
}


def forward_layouts(graph: Graph, ways: Mapping[int, Way]) -> Mapping[int, Layouts]:
    """Return the layouts of forward operators, those of samples (``SHARD``) left out.

    What a row-wise operator adds up is scattered over the sequence where an operator that reads it
    is divided so, and is whole on each device elsewhere. What a column-wise one makes stays
    divided, but is gathered for readers that need it whole, and at the model's end.

    Raises
    ------
    InputError
        Naming an operator that would read shares which its style does not read.
    """
    side = find_layers(graph).side
    forwards = [
        o
        for o in graph.topological_order
        if side[o] is Side.FORWARD and o in ways and ways[o].style is not Style.SHARD
    ]
    known = set(forwards)
    readers = {
        o: [c for t in graph.outputs[o] for c in graph.consumers[t] if c in known] for o in forwards
    }
    for_sequence = _wanting(ways, readers, Style.SEQUENCE)
    for_whole = _wanting(ways, readers, Style.REPLICATE)
    found: dict[int, Layouts] = {}
    for o in forwards:
        makers = [graph.producers[t] for t in graph.inputs[o] if graph.producers[t] in known]
        read = made = _read(graph, o, ways[o].style, {m: found[m].output for m in makers})
        if ways[o].style is Style.COLWISE:
            stays_divided = readers[o] and for_whole.isdisjoint(readers[o])
            made = Layout.COLUMNS if stays_divided else Layout.REPLICATED
        elif ways[o].style is Style.ROWWISE:
            is_whole = for_sequence.isdisjoint(readers[o])
            made = Layout.REPLICATED if is_whole else Layout.SEQUENCE
        found[o] = Layouts(read, made)
    return found


def _wanting(
    ways: Mapping[int, Way], readers: Mapping[int, list[int]], style: Style
) -> frozenset[int]:
    """Return the operators of a style, and the local ones that hand on to them."""
    found: set[int] = set()
    for o in reversed(list(readers)):
        is_passing = ways[o].style is Style.LOCAL and any(r in found for r in readers[o])
        if ways[o].style is style or is_passing:
            found.add(o)
    return frozenset(found)


def _read(graph: Graph, o: int, style: Style, made: Mapping[int, Layout]) -> Layout:
    """Return the layout in which an operator reads what others made."""
    name = graph.operators[o].name
    layouts = set(made.values()) or {Layout.REPLICATED}
    if len(layouts) > 1:
        shown = ", ".join(
            f"that of '{graph.operators[m].name}' {layout}" for m, layout in made.items()
        )
        raise InputError(
            f"operator '{name}' reads results that are divided differently ({shown}); PyTorch "
            "would take one share for the other: plan it with one of its neighbours' styles"
        )
    (layout,) = layouts
    if layout not in _READS[style]:
        source = f"from '{graph.operators[next(iter(made))].name}'" if made else "at its start"
        raise InputError(
            f"operator '{name}' is divided {style}, and what it reads {source} is {layout}: "
            f"{style} reads {' or '.join(sorted(_READS[style]))}"
        )
    return layout
