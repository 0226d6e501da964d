"""One coarsening: a partition of a graph's nodes applied, and what was found for parts taken back.

In the manner of cvxpy's reductions a step is applied to a graph and leaves both the coarse graph
and what is needed to invert it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from parplan.scheduling.tables import Whole
from parplan.search.coarsening.dag import NO_MODULE, Dag, distinct, firsts
from parplan.system.compiling import compiled

Scalar = TypeVar("Scalar", bound=np.generic)


@frozen(eq=False)
class Coarsened:
    """A graph, the graph of its parts, and the way between them.

    Attributes
    ----------
    part_of
        Part (node of ``coarse``) of each node of ``fine``.
    """

    fine: Dag
    coarse: Dag
    part_of: Whole

    def invert(self, values: NDArray[Scalar]) -> NDArray[Scalar]:
        """Return what was found for each part (a device, say) for each of its members."""
        return values[self.part_of]

    @cached_property
    def members(self) -> tuple[Whole, ...]:
        """Nodes of ``fine`` in each part, in their order."""
        order = np.argsort(self.part_of, kind="stable")
        edges = np.searchsorted(self.part_of[order], np.arange(1, len(self.coarse)))
        return tuple(np.split(order, edges))


class CoarseningStep(Protocol):
    """A way to make a graph smaller."""

    def apply(self, dag: Dag) -> Coarsened:
        """Return the graph with some of its nodes merged; none of them if there is no reason to."""


def composed(fine: Dag, chain: Sequence[Coarsened]) -> Coarsened:
    """Return a chain of coarsenings, each of what the one before left, as one; empty: as it is."""
    part_of, coarse = np.arange(len(fine)), fine
    for step in chain:
        part_of, coarse = step.part_of[part_of], step.coarse
    return Coarsened(fine, coarse, part_of)


def invert_all(chain: Sequence[Coarsened], values: NDArray[Scalar]) -> NDArray[Scalar]:
    """Return what was found for the parts of the last of a chain, for the nodes of the first."""
    for coarsened in reversed(chain):
        values = coarsened.invert(values)
    return values


def merge(dag: Dag, labels: Whole) -> Coarsened:
    """Return a graph with the nodes of each label merged into one part.

    A part takes the sum of its members' work, can run where all of them can, and stands in the
    deepest module that holds all of them. A tensor between parts keeps its bytes and is read once
    by each part, as it is sent once to each device. O(reads log reads).

    Raises
    ------
    ValueError
        If parts would wait for one another.
    """
    names = distinct(labels)
    part_of = np.searchsorted(names, labels)
    rank = _rank_of_parts(dag, part_of, len(names))
    if (rank < 0).any():
        raise ValueError("parts would wait for one another")
    part_of = rank[part_of]
    return Coarsened(dag, _quotient(dag, part_of, len(names)), part_of)


def can_merge(dag: Dag, labels: Whole) -> bool:
    """Return whether the nodes of each label can be merged: no part would wait for itself."""
    names = distinct(labels)
    return bool((_rank_of_parts(dag, np.searchsorted(names, labels), len(names)) >= 0).all())


def _rank_of_parts(dag: Dag, part_of: Whole, count: int) -> Whole:
    """Return the place of each part in a topological order, -1 for parts that wait in a circle."""
    tails, heads = part_of[dag.pairs.tails], part_of[dag.pairs.heads]
    outer = tails != heads
    keys = distinct(tails[outer] * count + heads[outer])
    first = np.searchsorted(keys, np.arange(count + 1) * count)
    return topological_rank(first, keys % max(count, 1))


def _quotient(dag: Dag, part_of: Whole, count: int) -> Dag:
    work = np.zeros((count, dag.work.shape[1]))
    np.add.at(work, part_of, dag.work)
    maker, reader = part_of[dag.maker[dag.read]], part_of[dag.reader]
    outer = maker != reader
    keys = distinct(dag.read[outer] * max(count, 1) + reader[outer])
    tensors, reader = keys // max(count, 1), keys % max(count, 1)
    new = firsts(tensors)
    kept = tensors[new]
    return Dag(
        work=work,
        maker=part_of[dag.maker[kept]],
        sizes=dag.sizes[kept],
        read=np.cumsum(new) - 1,
        reader=reader,
        ancestry=_common_modules(dag.ancestry, part_of, count),
    )


def _common_modules(ancestry: Whole, part_of: Whole, count: int) -> Whole:
    least = np.full((count, ancestry.shape[1]), np.iinfo(np.int64).max)
    most = np.full((count, ancestry.shape[1]), NO_MODULE)
    np.minimum.at(least, part_of, ancestry)
    np.maximum.at(most, part_of, ancestry)
    shared = np.logical_and.accumulate(least == most, axis=1)
    return np.where(shared, least, NO_MODULE)


@compiled
def topological_rank(first: Whole, heads: Whole) -> Whole:
    """Return the place of each node in a topological order; -1 for what waits for itself.

    What has become ready last comes first, so that the two ends of an edge stand close together.

    Parameters
    ----------
    first, heads
        The heads of node i's edges are ``heads[first[i]:first[i + 1]]``.
    """
    count = len(first) - 1
    waiting = np.zeros(count, dtype=np.int64)
    for head in heads:
        waiting[head] += 1
    rank = np.full(count, -1, dtype=np.int64)
    stack = np.empty(count, dtype=np.int64)
    height = 0
    for node in range(count - 1, -1, -1):
        if waiting[node] == 0:
            stack[height] = node
            height += 1
    done = 0
    while height > 0:
        height -= 1
        node = stack[height]
        rank[node] = done
        done += 1
        for edge in range(first[node + 1] - 1, first[node] - 1, -1):
            head = heads[edge]
            waiting[head] -= 1
            if waiting[head] == 0:
                stack[height] = head
                height += 1
    return rank
