"""Heaviest paths of a graph, and how heavy they would be through two nodes made one."""

from __future__ import annotations

import numpy as np

from parplan.scheduling.tables import Real, Whole
from parplan.search.coarsening.dag import Dag
from parplan.system.compiling import compiled


def heaviest_path(dag: Dag) -> float:
    """Return the work of the heaviest path."""
    arrivals = paths_before(dag.pairs.tails, dag.pairs.heads, dag.least_work)
    return float((arrivals[0] + dag.least_work).max(initial=0.0))


def paths_through(dag: Dag, some: Whole, others: Whole) -> Real:
    """Return the work of the heaviest path through each pair of nodes if they were one node.

    Parameters
    ----------
    some, others
        Pairs; where an edge joins two, it leads from ``some`` to ``others``.
    """
    tails, heads, work = dag.pairs.tails, dag.pairs.heads, dag.least_work
    last = len(dag) - 1
    first_in, by_in, second_in = paths_before(tails, heads, work)
    # The path behind a node is the path before it in the graph turned round.
    turned = paths_before((last - heads)[::-1], (last - tails)[::-1], work[::-1])
    first_out, second_out = turned[0][::-1], turned[2][::-1]
    by_out = np.where(turned[1] >= 0, last - turned[1], -1)[::-1]
    into = np.where(by_in[others] == some, second_in[others], first_in[others])
    out = np.where(by_out[some] == others, second_out[some], first_out[some])
    before = np.maximum(first_in[some], into)
    behind = np.maximum(first_out[others], out)
    return np.asarray(before + work[some] + work[others] + behind)


@compiled
def paths_before(tails: Whole, heads: Whole, work: Real) -> tuple[Real, Whole, Real]:
    """Return the heaviest path before each node, the node it comes from, and the next heaviest.

    The next heaviest comes from another node; O(nodes + edges).

    Parameters
    ----------
    tails, heads
        Edges by tail, in a topological order.
    """
    first = np.zeros(len(work))
    by = np.full(len(work), -1, dtype=np.int64)
    second = np.zeros(len(work))
    for edge in range(len(tails)):
        tail, head = tails[edge], heads[edge]
        end = first[tail] + work[tail]
        if end > first[head] or by[head] < 0:
            second[head] = max(first[head], 0.0)
            first[head], by[head] = end, tail
        elif end > second[head]:
            second[head] = end
    return first, by, second
