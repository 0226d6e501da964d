"""Coarsening to a stated number of parts: no part too large, and no path longer than it must be.

Rounds contract a few pairs each, every node at most once, so that parts grow evenly. Parts of a
graph with many short paths easily wait for one another in a long chain; so what counts first is how
long the heaviest path through two nodes would be if they were one.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import numpy as np
from attrs import frozen

from parplan.scheduling.tables import Flags, Real, Whole
from parplan.search.coarsening.contraction import matched
from parplan.search.coarsening.dag import Dag, common_depth
from parplan.search.coarsening.merging import Coarsened, composed, merge
from parplan.search.coarsening.paths import heaviest_path, paths_through

SPAN = 2048
"""How far apart in the order two nodes may stand: what a check costs at most."""

LARGEST = 1.5
"""Work of the largest part made of near nodes, over what each would have if all had the same."""

ROUND_PART = 0.2
"""Part of the nodes that one round contracts at most: then paths are measured anew."""

CHOICE = 12
"""How many times as many pairs are looked at."""

STALLED = 0.01
"""A round that contracts a smaller part of the nodes is left to pairs of any nodes."""

LEVEL_PART = 0.6
"""Size of a level over that of the one before, at most but for the last."""


@frozen
class BalancedMerge:
    """Rounds of contractions until a graph has so many parts.

    Nodes with an edge between them and readers of one tensor go first, the deeper in the hierarchy
    the sooner; of these what makes the least heavy path, and then what has the most bytes per tick
    of the smaller node. What cannot be made so small by them goes on with neighbours in the order,
    the least work first, whatever it comes to. More parts are left only where no device can run
    both of any two neighbours, or where paths get too heavy.

    Attributes
    ----------
    size
        Number of parts wanted.
    heaviest
        Ticks that no path of the graph of parts may exceed, each part on its fastest device.
    """

    size: int
    heaviest: float = inf

    def apply(self, dag: Dag) -> Coarsened:
        """Return the graph of the parts."""
        return composed(dag, list(self._rounds(dag)))

    def levels(self, dag: Dag) -> Iterator[Coarsened]:
        """Yield coarsenings one after another, each of what the one before left."""
        fine = dag
        waiting: list[Coarsened] = []
        for found in self._rounds(dag):
            waiting.append(found)
            if len(found.coarse) <= max(LEVEL_PART * len(fine), self.size):
                yield composed(fine, waiting)
                fine, waiting = found.coarse, []
        if waiting:
            yield composed(fine, waiting)

    def _rounds(self, dag: Dag) -> Iterator[Coarsened]:
        """Yield one coarsening for each round.

        O((pairs log pairs + pairs x nodes between their ends) x log(nodes / size)).
        """
        largest = LARGEST * float(dag.least_work.sum()) / max(self.size, 1)
        while len(dag) > self.size:
            found = self._round(dag, largest)
            if found is None or heaviest_path(found.coarse) > self.heaviest:
                return
            yield found
            dag = found.coarse

    def _round(self, dag: Dag, largest: float) -> Coarsened | None:
        nodes = np.arange(len(dag))
        most = min(len(dag) - self.size, max(1, int(ROUND_PART * len(dag))))
        for some, others in _candidates(dag, largest, most):
            mate = matched(dag.first, dag.pairs.heads, some, others, most, SPAN)
            merged = np.count_nonzero(mate != nodes) // 2
            if merged >= min(most, max(1.0, STALLED * len(dag))):
                return merge(dag, np.minimum(mate, nodes))
        return None


def _candidates(dag: Dag, largest: float, most: int) -> Iterator[tuple[Whole, Whole]]:
    """Yield pairs of near nodes, then of any neighbours in the order, the best pairs first."""
    pairs = dag.pairs
    some, others, shared = _siblings(dag)
    yield _nearest(
        dag,
        np.concatenate([pairs.tails, some]),
        np.concatenate([pairs.heads, others]),
        np.concatenate([pairs.bytes, shared]),
        largest,
        CHOICE * most,
    )
    some, others = _smallest(dag)
    yield some, others
    yield some[:1], others[:1]  # nothing can stand between them


def _siblings(dag: Dag) -> tuple[Whole, Whole, Real]:
    """Return readers of one tensor that follow one another, and the bytes of the tensor."""
    same = dag.read[1:] == dag.read[:-1]
    return dag.reader[:-1][same], dag.reader[1:][same], dag.sizes[dag.read[1:][same]]


def _nearest(
    dag: Dag, some: Whole, others: Whole, bytes_: Real, largest: float, most: int
) -> tuple[Whole, Whole]:
    """Return so many pairs within a limit of work, the best first."""
    work = dag.least_work
    fits = (work[some] + work[others] <= largest) & _can_run(dag, some, others)
    some, others, bytes_ = some[fits], others[fits], bytes_[fits]
    through = paths_through(dag, some, others)
    # A level of the hierarchy outweighs any path.
    cost = through - common_depth(dag.ancestry, some, others) * (through.max(initial=0.0) + 1.0)
    if len(cost) > most:
        kept = cost <= np.partition(cost, most)[most]
        some, others, bytes_, cost = some[kept], others[kept], bytes_[kept], cost[kept]
    smaller = np.minimum(work[some], work[others])
    weight = np.full(len(some), inf)
    np.divide(bytes_, smaller, out=weight, where=smaller > 0)
    order = np.lexsort((-weight, cost))
    return some[order], others[order]


def _smallest(dag: Dag) -> tuple[Whole, Whole]:
    """Return neighbours in the order that some device can run, those with the least work first."""
    some = np.arange(len(dag) - 1)
    some = some[_can_run(dag, some, some + 1)]
    some = some[np.argsort(dag.least_work[some] + dag.least_work[some + 1], kind="stable")]
    return some, some + 1


def _can_run(dag: Dag, some: Whole, others: Whole) -> Flags:
    return np.asarray(np.isfinite(dag.work[some] + dag.work[others]).any(axis=1))
