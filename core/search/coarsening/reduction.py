"""Transitive reduction: which edges say nothing that a longer path does not say already.

As an order of operators, exactly these can go, and what is left is the least graph with the same
order (Aho, Garey, Ullman 1972). With transfers an edge says more: see `implied_sends`.
"""

from __future__ import annotations

import numpy as np

from parplan.scheduling.tables import Flags, Whole
from parplan.search.coarsening.dag import distinct
from parplan.system.compiling import compiled

TOGETHER = 64
"""Chains that are looked at in one sweep: a cache line or two for each node."""

FAR = np.iinfo(np.int32).max
"""The place of a node that cannot be reached."""


def implied_edges(first: Whole, heads: Whole, asked: Flags | None = None) -> Flags:
    """Return which edges join two nodes that a path of two or more edges joins, too.

    The nodes are covered by chains, greedily, and for every chain that ends an edge in question the
    first node of it that each node reaches is swept backwards through the graph (Simon 1988), as
    far as the edges in question go back. O((nodes + edges) x such chains) time at most, and near
    linear where edges are short beside the graph; O(nodes) memory. An edge between neighbouring
    levels is the only path there and needs no chain, so layered graphs cost O(nodes + edges).

    Parameters
    ----------
    first, heads
        The heads of node i's edges are ``heads[first[i]:first[i + 1]]``, each once; all are larger
        than i.
    asked
        Which edges are in question; the others are returned as not implied. None: all.
    """
    depth = _depths(first, heads)
    tails = np.repeat(np.arange(len(depth)), np.diff(first))
    asked = np.ones(len(heads), dtype=np.bool_) if asked is None else asked
    asked = asked & (depth[heads] > depth[tails] + 1)
    implied = np.zeros(len(heads), dtype=np.bool_)
    if asked.any():
        chain, place = _chains(first, heads)
        wanted = distinct(chain[heads[asked]])
        number = np.full(int(chain.max()) + 1, -1)
        number[wanted] = np.arange(len(wanted))
        _sweep(first, heads, number[chain], place, len(wanted), asked, implied)
    return implied


@compiled
def _depths(first: Whole, heads: Whole) -> Whole:
    """Return the most edges on a path to each node."""
    depth = np.zeros(len(first) - 1, dtype=np.int64)
    for node in range(len(depth)):
        for edge in range(first[node], first[node + 1]):
            depth[heads[edge]] = max(depth[heads[edge]], depth[node] + 1)
    return depth


@compiled
def _chains(first: Whole, heads: Whole) -> tuple[Whole, Whole]:
    """Return a chain for each node, and its place there; chains are paths, no node is on two."""
    count = len(first) - 1
    chain, place = np.full(count, -1, dtype=np.int64), np.zeros(count, dtype=np.int64)
    chains = 0
    for node in range(count):
        if chain[node] < 0:
            chain[node] = chains
            chains += 1
        for edge in range(first[node], first[node + 1]):
            head = heads[edge]
            if chain[head] < 0:
                chain[head], place[head] = chain[node], place[node] + 1
                break
    return chain, place


@compiled
def _sweep(
    first: Whole,
    heads: Whole,
    chain: Whole,
    place: Whole,
    chains: int,
    asked: Flags,
    implied: Flags,
) -> None:
    """Set which of the edges asked for are implied.

    Parameters
    ----------
    chain
        Number of each node's chain, -1 where none is needed.
    """
    count = len(first) - 1
    reached = np.empty((count, TOGETHER), dtype=np.int32)
    nearest, second = np.empty(TOGETHER, dtype=np.int32), np.empty(TOGETHER, dtype=np.int32)
    through = np.empty(TOGETHER, dtype=np.int64)
    # Only what stands between the ends of an edge in question can lie on another path.
    sweeps = (chains + TOGETHER - 1) // TOGETHER
    begin, end = np.full(sweeps, count, dtype=np.int64), np.zeros(sweeps, dtype=np.int64)
    for node in range(count):
        for edge in range(first[node], first[node + 1]):
            if asked[edge]:
                sweep = chain[heads[edge]] // TOGETHER
                begin[sweep] = min(begin[sweep], node)
                end[sweep] = max(end[sweep], heads[edge])
    for sweep in range(sweeps):
        low = sweep * TOGETHER
        width = min(TOGETHER, chains - low)
        for node in range(end[sweep], begin[sweep] - 1, -1):
            for c in range(width):
                nearest[c], second[c], through[c] = FAR, FAR, -1
            for edge in range(first[node], first[node + 1]):
                head = heads[edge]
                if head > end[sweep]:
                    continue
                for c in range(width):
                    if reached[head, c] < nearest[c]:
                        second[c] = nearest[c]
                        nearest[c], through[c] = reached[head, c], head
                    elif reached[head, c] < second[c]:
                        second[c] = reached[head, c]
            for edge in range(first[node], first[node + 1]):
                head = heads[edge]
                c = chain[head] - low
                if asked[edge] and 0 <= c < width:
                    other = second[c] if through[c] == head else nearest[c]
                    implied[edge] = other <= place[head]
            for c in range(width):
                reached[node, c] = nearest[c]
            if 0 <= chain[node] - low < width:
                reached[node, chain[node] - low] = place[node]
