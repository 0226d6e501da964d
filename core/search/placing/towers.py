"""Splits of models with towers: parts that know nothing of each other until something joins them.

A tower is what has the same beginnings: in CLIP all that only images lead to, and all that only
texts lead to. Towers stand side by side, so each has devices of its own, as many as its share of
the work asks for, and is a pipeline on these. Or they lie head to tail or tail to tail along the
devices: then one device may have the end of one and the beginning, or the end, of the next.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import networkx as nx
from attrs import frozen

from parplan.graph import Kind
from parplan.search.placing.placement import Placer, Row
from parplan.search.placing.splits import device_orders, split_along

if TYPE_CHECKING:
    Digraph: TypeAlias = nx.DiGraph[int]
else:
    Digraph = nx.DiGraph

LIGHT = 0.25
"""A part with less than this share of what a device does on average is part of a tower."""

MOST_BEGINNINGS = 64
"""A graph with more beginnings has none that towers stand on."""

MOST_TOWERS = 4
"""More parts than these are branches, and no towers."""

ORDERS_TRIED = 2
"""Orders of devices that are kept of each arrangement."""


@frozen
class Arrangement:
    """Towers in a row along the devices.

    Attributes
    ----------
    blocks
        All blocks, in the order in which they lie there.
    ends
        Positions in ``blocks`` at which no device goes on to another tower.
    """

    name: str
    blocks: tuple[int, ...]
    ends: tuple[int, ...] = ()


def tower_splits(placer: Placer, group: int = 0) -> Iterator[tuple[str, Row]]:
    """Yield (name, row) of the splits of each arrangement with the least largest loads.

    Nothing for a model without towers. O(arrangements x orders of devices x stages x blocks^2).
    """
    towers = find_towers(placer, group)
    for arrangement in arrangements(towers):
        rows: dict[Row, float] = {}
        for order in _device_orders(placer, group):
            row = split_along(placer, order, arrangement.blocks, arrangement.ends, group)
            if row is not None:
                rows[row] = _largest_load(placer, row, group)
        for row in sorted(rows, key=rows.__getitem__)[:ORDERS_TRIED]:
            yield arrangement.name, row


def arrangements(towers: Sequence[Sequence[int]]) -> Iterator[Arrangement]:
    """Yield the ways to lay towers along devices; none for a single tower.

    >>> [a.blocks for a in arrangements([(0, 1), (2, 3)])]
    [(0, 1, 2, 3), (0, 1, 2, 3), (0, 1, 3, 2), (0, 1, 3, 2)]
    """
    if not 2 <= len(towers) <= MOST_TOWERS:
        return
    first, *others = towers
    for turned in itertools.product((False, True), repeat=len(others)):
        laid = [first, *(t[::-1] if back else t for t, back in zip(others, turned, strict=True))]
        blocks = tuple(block for tower in laid for block in tower)
        ends = tuple(itertools.accumulate(len(tower) for tower in laid))[:-1]
        how = "tail to tail" if any(turned) else "head to tail"
        yield Arrangement(f"towers apart, {how}", blocks, ends)
        yield Arrangement(f"towers {how}", blocks)


def find_towers(placer: Placer, group: int = 0) -> list[tuple[int, ...]]:
    """Return the blocks of each tower, in the blocks' order; one tower where there are no others.

    What is too light for a tower goes to what reads it, or to what it reads. Where a block is read
    by what it reads itself, as with tied embeddings on one device, nothing is told apart.
    """
    graph = _forward_blocks(placer)
    everything = [tuple(range(len(placer.blocks)))]
    first = sum(degree == 0 for _, degree in graph.in_degree)
    if first > MOST_BEGINNINGS or not nx.is_directed_acyclic_graph(graph):
        return everything
    beginnings: dict[int, frozenset[int]] = {}
    for block in nx.topological_sort(graph):
        above = [beginnings[b] for b in graph.predecessors(block)]
        beginnings[block] = frozenset[int]().union(*above) if above else frozenset({block})
    numbers = {key: n for n, key in enumerate(dict.fromkeys(beginnings.values()))}
    if len(numbers) > MOST_BEGINNINGS:
        return everything
    part_of = _without_light(placer, graph, {b: numbers[k] for b, k in beginnings.items()}, group)
    parts: dict[int, list[int]] = {}
    for block in range(len(placer.blocks)):
        parts.setdefault(part_of[block], []).append(block)
    return [tuple(part) for part in parts.values()]


def _forward_blocks(placer: Placer) -> Digraph:
    """Return the blocks with an edge from each to those whose forward passes read its."""
    graph, block_of = placer.problem.graph, placer.blocks.block_of
    found: Digraph = nx.DiGraph()
    found.add_nodes_from(range(len(placer.blocks)))
    for t, producer in enumerate(graph.producers):
        for reader in graph.consumers[t]:
            kinds = {graph.operators[producer].kind, graph.operators[reader].kind}
            if kinds == {Kind.FORWARD} and block_of[producer] != block_of[reader]:
                found.add_edge(block_of[producer], block_of[reader])
    return found


def _without_light(
    placer: Placer, graph: Digraph, part_of: dict[int, int], group: int
) -> dict[int, int]:
    """Return the part of each block once light parts, lightest first, have joined neighbours."""
    work = [max(row.values(), default=0.0) for row in placer.loads[group]]
    least = LIGHT * sum(work) / len(placer.problem.cluster.devices)
    while len(set(part_of.values())) > 1:
        loads: dict[int, float] = {}
        for block, part in part_of.items():
            loads[part] = loads.get(part, 0.0) + work[block]
        part = min(loads, key=loads.__getitem__)
        if loads[part] >= least:
            break
        edges = [(part_of[a], part_of[b]) for a, b in graph.edges]
        readers = [b for a, b in edges if a == part != b]
        sources = [a for a, b in edges if b == part != a]
        into = next(iter(readers or sources), None)
        if into is None:
            break
        part_of = {block: into if own == part else own for block, own in part_of.items()}
    return part_of


def _device_orders(placer: Placer, group: int) -> list[tuple[int, ...]]:
    """Return the orders of devices by kind, and those that take one of each kind in turn."""
    orders = device_orders(placer, group)
    devices = placer.problem.cluster.devices
    mixed = []
    for order in orders:
        kinds = [list(run) for _, run in itertools.groupby(order, key=lambda d: devices[d].kind)]
        turns = itertools.chain.from_iterable(itertools.zip_longest(*kinds))
        mixed.append(tuple(d for d in turns if d is not None))
    return list(dict.fromkeys([*orders, *mixed]))


def _largest_load(placer: Placer, row: Row, group: int) -> float:
    loads: dict[int, float] = {}
    for block, device in enumerate(row):
        loads[device] = loads.get(device, 0.0) + placer.loads[group][block][device]
    return max(loads.values())
