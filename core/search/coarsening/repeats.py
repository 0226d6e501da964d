"""Blocks that repeat, such as equal layers: one of them is coarsened, and the others like it.

A block is a module of the hierarchy. Two are equal if their nodes, in the order of the graph, have
the same work and exchange tensors of the same bytes; what they exchange with the rest may differ.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from attrs import frozen

from parplan.scheduling.tables import Whole
from parplan.search.coarsening.balancing import BalancedMerge
from parplan.search.coarsening.dag import NO_MODULE, Dag
from parplan.search.coarsening.merging import Coarsened, can_merge, composed, merge


@frozen
class RepeatedMerge:
    """Coarsens one of each set of equal blocks, and the others like it.

    A set is left as it is where its parts would wait for one another, because of paths through the
    rest of the graph.

    Attributes
    ----------
    size
        Number of parts wanted of the whole graph; each block gets its share of them by its work,
        and one at least.
    """

    size: int

    def apply(self, dag: Dag) -> Coarsened:
        """Return the graph with its repeated blocks coarsened."""
        nodes = np.arange(len(dag))
        labels, total = nodes, float(dag.least_work.sum())
        for blocks in repeated_blocks(dag):
            one = dag.among(blocks[0])
            share = float(one.least_work.sum()) / total if total else 0.0
            inner = BalancedMerge(max(1, round(share * self.size))).apply(one)
            first = np.array([members[0] for members in inner.members], dtype=np.int64)
            found = labels.copy()
            found[blocks] = blocks[:, first[inner.part_of]]
            if can_merge(dag, found):
                labels = found
        return composed(dag, ()) if (labels == nodes).all() else merge(dag, labels)


def repeated_blocks(dag: Dag) -> Iterator[Whole]:
    """Yield ``(blocks, nodes)`` of each set of equal blocks, the highest in the hierarchy first.

    What stands in one column is equal. Inside of what repeats nothing else is looked for.
    O(depth x (nodes + reads)).
    """
    free = np.ones(len(dag), dtype=np.bool_)
    for depth in range(dag.ancestry.shape[1]):
        inside = np.flatnonzero(free & (dag.ancestry[:, depth] != NO_MODULE))
        alike: dict[bytes, list[Whole]] = {}
        for block in _blocks(dag.ancestry[inside, depth], inside):
            alike.setdefault(_description(dag.among(block)), []).append(block)
        for found in alike.values():
            if len(found) > 1:
                blocks = np.stack(found)
                free[blocks] = False
                yield blocks


def _blocks(module: Whole, nodes: Whole) -> list[Whole]:
    """Return the nodes of each module that has several, in the order of the graph."""
    order = np.argsort(module, kind="stable")
    edges = np.flatnonzero(np.diff(module[order])) + 1
    return [block for block in np.split(nodes[order], edges) if len(block) > 1]


def _description(block: Dag) -> bytes:
    """Return what is equal for equal blocks, and for no others."""
    rows = (block.work, block.maker, block.sizes, block.read, block.reader)
    return b"|".join(row.tobytes() for row in rows)
