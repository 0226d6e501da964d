"""Pairs of nodes contracted one after another, each only if no cycle arises; compiled.

An edge may be contracted if it is the only path from its tail to its head (Pesto, Hafeez et al.,
Middleware 2021), and two nodes that no path joins always may. The kernel keeps a topological order
of what was contracted so far: only what stands between the two can lie on another path.
"""

from __future__ import annotations

import numpy as np

from parplan.scheduling.tables import Whole
from parplan.system.compiling import compiled, kernel_part

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
    reached = np.full(count, -1, dtype=np.int64)  # the last pair from which it was
    behind = np.empty(count, dtype=np.int64)
    done = 0
    for pair in range(len(some)):
        if done == most:
            break
        source, target = some[pair], others[pair]
        if mate[source] != source or mate[target] != target:
            continue
        if place[source] > place[target]:
            source, target = target, source
        if place[target] - place[source] > span:
            continue
        if _is_only_path(pair, source, target, first, heads, mate, place, order, reached):
            mate[source], mate[target] = target, source
            _put_together(pair, source, target, place, order, reached, behind)
            done += 1
    return mate


@kernel_part
def _is_only_path(
    pair: int,
    source: int,
    target: int,
    first: Whole,
    heads: Whole,
    mate: Whole,
    place: Whole,
    order: Whole,
    reached: Whole,
) -> bool:
    """Return whether nothing but an edge leads to a node from one before it in the order.

    Sets ``reached`` to the number of the pair for what is reached between the two.
    """
    reached[source] = pair
    for position in range(place[source], place[target]):
        node = order[position]
        if node == GONE or reached[node] != pair:
            continue
        for half in (node, mate[node]):
            for edge in range(first[half], first[half + 1]):
                head = min(heads[edge], mate[heads[edge]])
                if head == target and node != source:
                    return False
                reached[head] = pair
    return True


@kernel_part
def _put_together(
    pair: int,
    source: int,
    target: int,
    place: Whole,
    order: Whole,
    reached: Whole,
    behind: Whole,
) -> None:
    """Change the order so that two nodes stand in one place: behind it what they reach.

    Parameters
    ----------
    behind
        Room for nodes; its contents do not matter.
    """
    low, high = place[source], place[target]
    later, fill = 0, low
    for position in range(low + 1, high):
        node = order[position]
        if node != GONE and reached[node] == pair:
            behind[later] = node
            later += 1
        else:
            order[fill] = node
            if node != GONE:
                place[node] = fill
            fill += 1
    kept = min(source, target)
    order[fill], order[fill + 1], place[kept] = kept, GONE, fill
    for number in range(later):
        order[fill + 2 + number] = behind[number]
        place[behind[number]] = fill + 2 + number
