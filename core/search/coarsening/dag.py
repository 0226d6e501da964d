"""A graph to be coarsened, as arrays: work, tensors and who reads them, in a topological order."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from attrs import frozen

from parplan.scheduling.tables import Flags, Real, Whole
from parplan.search.graphs.task_graph import Lists, inverted

NO_MODULE = -1
"""Where a path in the model's hierarchy has ended."""


@frozen(eq=False)
class Dag:
    """Nodes (operators, blocks or parts), numbered so that whoever makes comes before who reads.

    Attributes
    ----------
    work
        ``(nodes, classes)``, ticks on a device of each class; inf where it cannot run.
    maker, sizes
        Node that makes each tensor, and its bytes.
    read, reader
        One entry for each (tensor, reading node), in the order of tensors, no pair twice.
    ancestry
        ``(nodes, depth)``, the module at each depth of the hierarchy; ``NO_MODULE`` below the last.
        A module has one number wherever it stands.

    Raises
    ------
    ValueError
        If a tensor is read by its maker or before it: such a graph may have a cycle.
    """

    work: Real
    maker: Whole
    sizes: Real
    read: Whole
    reader: Whole
    ancestry: Whole

    def __attrs_post_init__(self) -> None:
        if (self.maker[self.read] >= self.reader).any():
            raise ValueError("nodes must be numbered in a topological order")

    def __len__(self) -> int:
        return len(self.work)

    @cached_property
    def pairs(self) -> Pairs:
        """Every pair of a maker and a reader once, with all bytes that go from one to the other."""
        tails, heads = self.maker[self.read], self.reader
        keys = tails * len(self) + heads
        order = np.argsort(keys, kind="stable")
        keys, new = keys[order], firsts(keys[order])
        sums = np.zeros(np.count_nonzero(new))
        np.add.at(sums, np.cumsum(new) - 1, self.sizes[self.read[order]])
        return Pairs(keys[new] // max(len(self), 1), keys[new] % max(len(self), 1), sums)

    @cached_property
    def first(self) -> Whole:
        """Where the pairs of each maker begin in ``pairs``; one entry more than nodes."""
        return np.searchsorted(self.pairs.tails, np.arange(len(self) + 1))

    @cached_property
    def reads(self) -> Lists:
        """Readers of each tensor."""
        first = np.searchsorted(self.read, np.arange(len(self.maker) + 1))
        return Lists(first.astype(np.int64), self.reader)

    @cached_property
    def made(self) -> Lists:
        """Tensors that each node makes."""
        return inverted(Lists(np.arange(len(self.maker) + 1), self.maker), len(self))

    def among(self, nodes: Whole) -> Dag:
        """Return the graph of some nodes, in increasing order, with what goes between them.

        O(what they make and who reads it).
        """
        local = {node: i for i, node in enumerate(nodes.tolist())}
        maker: list[int] = []
        tensors: list[int] = []
        read: list[int] = []
        reader: list[int] = []
        for number, node in enumerate(nodes.tolist()):
            for tensor in self.made.row(node).tolist():
                inner = [local[r] for r in self.reads.row(tensor).tolist() if r in local]
                if inner:
                    read += [len(tensors)] * len(inner)
                    reader += inner
                    tensors.append(tensor)
                    maker.append(number)
        return Dag(
            work=self.work[nodes],
            maker=np.array(maker, dtype=np.int64),
            sizes=self.sizes[np.array(tensors, dtype=np.int64)],
            read=np.array(read, dtype=np.int64),
            reader=np.array(reader, dtype=np.int64),
            ancestry=self.ancestry[nodes],
        )

    @cached_property
    def least_work(self) -> Real:
        """Ticks of each node on the device that is fastest for it; inf if there is none."""
        return np.asarray(self.work.min(axis=1))


@frozen(eq=False)
class Pairs:
    """Pairs of nodes that depend directly on one another, by tail, then head, each once."""

    tails: Whole
    heads: Whole
    bytes: Real


def firsts(ordered: Whole) -> Flags:
    """Return which entries of a sorted array differ from the one before."""
    new: Flags = np.ones(len(ordered), dtype=np.bool_)
    new[1:] = ordered[1:] != ordered[:-1]
    return new


def distinct(numbers: Whole) -> Whole:
    """Return numbers sorted, each once; `numpy.unique` takes several times as long."""
    ordered = np.sort(numbers)
    return ordered[firsts(ordered)]


def common_depth(ancestry: Whole, some: Whole, others: Whole) -> Whole:
    """Return how many levels of the hierarchy each node of ``some`` shares with that of ``others``.

    O(pairs x depth).
    """
    left, right = ancestry[some], ancestry[others]
    shared: Flags = (left == right) & (left != NO_MODULE)
    depth: Whole = np.logical_and.accumulate(shared, axis=1).sum(axis=1)
    return depth
