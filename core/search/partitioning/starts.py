"""Partitions to start from: the items in a line along the flow of data, cut into runs."""

from __future__ import annotations

import random
from collections.abc import Iterator

import networkx as nx
import numpy as np

from parplan import clock
from parplan.scheduling.tables import Whole
from parplan.search.partitioning.annealing import load_of
from parplan.search.partitioning.instance import Instance
from parplan.search.partitioning.line_splits import split_line

LINES = 8
"""Lines that are cut."""

KEPT = 3
"""Splits that the search starts from."""

SLOW = 2.0
"""How many times the fastest device one may take for all items, and still have a run of them."""


def starting_partitions(instance: Instance, until: float, seed: int) -> list[Whole]:
    """Return partitions to start from, the best first: at least one, and contiguous ones.

    Several lines are cut exactly; where that cannot be, one is cut evenly.
    """
    found: list[tuple[float, int, Whole]] = []
    units: list[list[int]] = []
    for number, line in enumerate(lines(instance, seed)):
        units = units or line
        split = split_line(instance, line)
        if split is not None:
            found.append((load_of(instance, split), number, split))
        if number + 1 == LINES or clock.now() > until:
            break
    if not found:
        return [even_split(instance, units)]
    return [split for _, _, split in sorted(found)[:KEPT]]


def stretches(instance: Instance, until: float, seed: int) -> Iterator[Whole]:
    """Yield partitions in which each device runs one stretch of a line, in turn: no two alike.

    They take least time among those of a line where nothing runs beside anything else, which is
    what remains where memory is scarce and branches are few.
    """
    seen: set[bytes] = set()
    for number, line in enumerate(lines(instance, seed)):
        split = split_line(instance, line, in_turn=True)
        if split is not None and split.tobytes() not in seen:
            seen.add(split.tobytes())
            yield split
        if number + 1 == LINES or clock.now() > until:
            return


def lines(instance: Instance, seed: int) -> Iterator[list[list[int]]]:
    """Yield the items in endless lines along the flows of data, backward ones the other way round.

    Items between which data goes there and back make one unit. Every other line heeds backward
    flows only where there is nothing else to go by, since they may differ from forward ones. The
    first two follow the numbers of the items; the others go on from what came last (depth first).
    """
    wholes = [_condensed(instance, everything) for everything in (False, True)]
    for whole in wholes:
        order = nx.lexicographical_topological_sort(whole, key=lambda u: whole.nodes[u]["members"])
        yield [whole.nodes[unit]["members"] for unit in order]
    dice = random.Random(seed)
    while True:
        for whole in wholes:
            yield [whole.nodes[unit]["members"] for unit in _depth_first(whole, dice)]


def _condensed(instance: Instance, everything: bool) -> nx.DiGraph[int]:
    """Return the graph of units; without ``everything``, back arcs between leading items drop."""
    tails, heads, flows = (
        column.tolist() for column in (instance.arc_tail, instance.arc_head, instance.arc_flow)
    )
    back = instance.goes_back.tolist()
    ends = [e for row in zip(tails, heads, flows, strict=True) if not back[row[2]] for e in row[:2]]
    leading = set(ends)
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(instance.bytes)))
    for tail, head, flow in zip(tails, heads, flows, strict=True):
        if not back[flow]:
            graph.add_edge(tail, head)
        elif everything or not leading.issuperset((tail, head)):
            graph.add_edge(head, tail)
    whole = nx.condensation(graph)
    for unit in whole:
        whole.nodes[unit]["members"] = sorted(whole.nodes[unit]["members"])
    return whole


def _depth_first(graph: nx.DiGraph[int], dice: random.Random) -> Iterator[int]:
    """Yield the nodes in a topological order that goes on from what came last where it can."""
    waits = {node: graph.in_degree(node) for node in graph}
    stack = [node for node, count in waits.items() if count == 0]
    dice.shuffle(stack)
    while stack:
        node = stack.pop()
        yield node
        after = list(graph.successors(node))
        dice.shuffle(after)
        for other in after:
            waits[other] -= 1
            if waits[other] == 0:
                stack.append(other)


def even_split(instance: Instance, units: list[list[int]]) -> Whole:
    """Return items in a line, cut so that all fast devices have equal loads; slow ones have none.

    What may not run on the device of its run goes where it takes least.
    """
    items = len(instance.bytes)
    ticks = np.where(instance.allowed, instance.work.max(axis=2), np.inf)
    typical = np.where(np.isfinite(ticks), ticks, ticks.min(axis=1, keepdims=True)).sum(axis=0)
    fast = np.flatnonzero(typical <= SLOW * typical.min())
    ends = np.cumsum([ticks[unit].min(axis=1).sum() for unit in units])
    part = ends / ends[-1] if ends[-1] > 0 else np.linspace(0.0, 1.0, len(units))
    stage = np.minimum((part * len(fast)).astype(np.int64), len(fast) - 1)
    found = np.zeros(items, dtype=np.int64)
    for unit, at in zip(units, stage.tolist(), strict=True):
        found[unit] = fast[at]
    barred = ~instance.allowed[np.arange(items), found]
    return np.where(barred, ticks.argmin(axis=1), found)
