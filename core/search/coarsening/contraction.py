"""Pairs of nodes contracted one after another, each only if no cycle arises; compiled.

An edge may be contracted if it is the only path from its tail to its head (Pesto, Hafeez et al.,
Middleware 2021), and two nodes that no path joins always may. The kernel keeps a topological order
of what was contracted so far: only what stands between the two can lie on another path.
"""

from __future__ import annotations

import numpy as np

from parplan.compiling import compiled
from parplan.search.scheduling.tables import Whole

GONE = -1
"""Fills the second place of a contracted pair."""


@compiled
def matched(first: Whole, heads: Whole, some: Whole, others: Whole, most: int, span: int) -> Whole:
    """Return the node with which each node is contracted; itself where it stays alone.

    Pairs are taken in the order given, each node at most once; a pair is left out if the graph of
    what was contracted so far has a path from one to the other besides the edge between them.
    O(pairs x (nodes + edges) between the two in the order).

    Parameters
    ----------
    first, heads
        The heads of node i's edges are ``heads[first[i]:first[i + 1]]``; all are larger than i.
    some, others
        The two nodes of each pair.
    most
        Pairs contracted at most.
    span
        Pairs that stand further apart than this in the order are left out, too.
    """
    count = len(first) - 1
    mate = np.arange(count)
    place, order = np.arange(count), np.arange(count)  # of a pair: of its smaller node
    reached = np.full(count, -1, dtype=np.int64)
    later = np.empty(count, dtype=np.int64)
    done = 0
    for number in range(len(some)):
        if done == most:
            break
        source, target = some[number], others[number]
        if mate[source] != source or mate[target] != target:
            continue
        if place[source] > place[target]:
            source, target = target, source
        low, high = place[source], place[target]
        if high - low > span:
            continue
        reached[source] = number
        alone = True
        for position in range(low, high):
            node = order[position]
            if node == GONE or reached[node] != number:
                continue
            for half in (node, mate[node]):
                for edge in range(first[half], first[half + 1]):
                    head = min(heads[edge], mate[heads[edge]])
                    if head == target and node != source:
                        alone = False
                    reached[head] = number
                if mate[node] == node:
                    break
            if not alone:
                break
        if not alone:
            continue
        # What can be reached from the pair goes behind it, the rest before it.
        behind, fill = 0, low
        for position in range(low + 1, high):
            node = order[position]
            if node != GONE and reached[node] == number:
                later[behind] = node
                behind += 1
            else:
                order[fill] = node
                if node != GONE:
                    place[node] = fill
                fill += 1
        mate[source], mate[target] = target, source
        kept = min(source, target)
        order[fill], place[kept] = kept, fill
        order[fill + 1] = GONE
        for position in range(behind):
            node = later[position]
            order[fill + 2 + position] = node
            place[node] = fill + 2 + position
        done += 1
    return mate
