"""Heads and tails of large plain graphs, by a compiled kernel.

Plain: microbatches that are all alike, every choice one device, and every tensor of one size
whatever the modes, which any reader takes. ``paths`` says what heads and tails are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from parplan.search.bounds.instance import Arc, Array, Instance, is_step
from parplan.system.compiling import compiled

Index = NDArray[np.int64]


@frozen(eq=False)
class PlainGraph:
    """A graph as flat arrays, to be read from the start; ``reversed`` is the same from the end.

    Attributes
    ----------
    order
        Operators, each after all that it waits for.
    first
        Where the choices of each operator begin, ``(operators + 1,)``.
    device, ticks
        Of each choice of each operator.
    begin
        Earliest start of each choice by itself, infinite where it cannot be.
    row
        Where the arcs into each operator begin, ``(operators + 1,)``.
    before, size, lag, from_start, to_end
        Of each arc: the operator waited for, bytes of its tensor, or -1 and a lag between edges.
    latency, per_byte, slack
        Of each ordered pair of devices: see ``Transit.timing``.
    """

    order: Index
    first: Index
    device: Index
    ticks: Array
    begin: Array
    row: Index
    before: Index
    size: Array
    lag: Array
    from_start: NDArray[np.bool_]
    to_end: NDArray[np.bool_]
    latency: Array
    per_byte: Array
    slack: Array

    def times(self) -> Array:
        """Return the earliest start of each choice of each operator."""
        return longest_paths(
            self.order,
            self.first,
            self.device,
            self.ticks,
            self.begin.copy(),
            self.row,
            self.before,
            self.size,
            self.lag,
            self.from_start,
            self.to_end,
            self.latency,
            self.per_byte,
            self.slack,
        )

    def split(self, flat: Array) -> tuple[Array, ...]:
        """Return figures of choices as ``(1, A)`` per operator."""
        ends = self.first.tolist()
        return tuple(flat[None, a:b] for a, b in pairwise(ends))

    def reversed(self, usable: NDArray[np.bool_]) -> PlainGraph:
        """Return the graph whose earliest starts are the least remainders of this one."""
        count = len(self.first) - 1
        after = np.repeat(np.arange(count), np.diff(self.row))
        by_before = np.argsort(self.before, kind="stable")
        return evolve(
            self,
            order=self.order[::-1].copy(),
            begin=np.where(usable, 0.0, np.inf),
            row=np.concatenate(([0], np.cumsum(np.bincount(self.before, minlength=count)))),
            before=after[by_before],
            size=self.size[by_before],
            lag=self.lag[by_before],
            from_start=self.to_end[by_before],
            to_end=self.from_start[by_before],
            latency=self.latency.T.copy(),
            per_byte=self.per_byte.T.copy(),
            slack=self.slack.T.copy(),
        )


def plain_windows(instance: Instance) -> tuple[tuple[Array, ...], tuple[Array, ...]] | None:
    """Return heads and tails, ``(1, A)`` per operator; None where the graph is not plain.

    O(arcs x choices of the producer x choices of the reader).
    """
    graph = _plain(instance)
    if graph is None:
        return None
    usable = np.isfinite(graph.begin)
    return graph.split(graph.times()), graph.split(graph.reversed(usable).times())


def _plain(instance: Instance) -> PlainGraph | None:
    problem, choices = instance.problem, instance.choices
    steps = {is_step(problem.graph, o) for o in range(len(choices))}
    alike = steps == {True} or (steps == {False} and len(instance.columns) == 1)
    kinds = {id(some): some for some in choices}.values()
    if not alike or any(len(a.devices) > 1 for some in kinds for a in some):
        return None
    if any(m.layout or m.reads is not None for o in problem.graph.operators for m in o.modes):
        return None
    columns = instance.columns_of(0)
    arcs = [arc for into in instance.incoming for arc in into]
    sizes = _sizes(instance, arcs, columns[0].microbatch)
    if sizes is None:
        return None
    devices = {id(some): np.array([a.devices[0] for a in some]) for some in kinds}
    usable = np.concatenate([u[0] for u in instance.usable])
    latency, per_byte, slack = instance.transit.timing()
    return PlainGraph(
        np.array(instance.order, dtype=np.int64),
        np.cumsum([0, *map(len, choices)]),
        np.concatenate([devices[id(some)] for some in choices]),
        np.concatenate([t[0] for t in instance.ticks]),
        np.where(usable, float(columns[0].release), np.inf),
        np.cumsum([0, *map(len, instance.incoming)]),
        np.array([a.before for a in arcs], dtype=np.int64),
        sizes,
        np.array([a.lag for a in arcs], dtype=float),
        np.array([a.from_start for a in arcs], dtype=np.bool_),
        np.array([a.to_end for a in arcs], dtype=np.bool_),
        latency,
        per_byte,
        slack,
    )


def _sizes(instance: Instance, arcs: Sequence[Arc], microbatch: int) -> Array | None:
    """Return the bytes of each arc's tensor, -1 without one; None where modes differ in them."""
    problem, graph = instance.problem, instance.problem.graph
    found: dict[int, int | None] = {-1: -1}
    for arc in arcs:
        if arc.tensor not in found:
            modes = range(len(graph.operators[arc.before].modes))
            sizes = {problem.tensor_bytes(arc.tensor, m, microbatch) for m in modes}
            found[arc.tensor] = sizes.pop() if len(sizes) == 1 else None
            if found[arc.tensor] is None:
                return None
    return np.array([found[arc.tensor] for arc in arcs], dtype=float)


@compiled
def longest_paths(
    order: Index,
    first: Index,
    device: Index,
    ticks: Array,
    start: Array,
    row: Index,
    before: Index,
    size: Array,
    lag: Array,
    from_start: NDArray[np.bool_],
    to_end: NDArray[np.bool_],
    latency: Array,
    per_byte: Array,
    slack: Array,
) -> Array:
    """Make starts those of a longest path on which each reader picks its best producer.

    Delays are those of ``Transit``, without its matrices: a large graph has one for each tensor.
    """
    for o in order:
        for arc in range(row[o], row[o + 1]):
            p = before[arc]
            if size[arc] < 0.0:
                least = np.inf
                for b in range(first[p], first[p + 1]):
                    edge = start[b] if from_start[arc] else start[b] + ticks[b]
                    least = min(least, edge)
                for a in range(first[o], first[o + 1]):
                    edge = least + lag[arc]
                    if to_end[arc]:
                        edge -= ticks[a]
                    start[a] = max(start[a], edge)
                continue
            for a in range(first[o], first[o + 1]):
                least = np.inf
                for b in range(first[p], first[p + 1]):
                    end = start[b] + ticks[b]
                    if end >= least:
                        continue
                    d, e = device[b], device[a]
                    exact = size[arc] * per_byte[d, e]
                    whole = np.ceil(exact * (1 - 1e-12) - 1e-9 - slack[d, e])
                    least = min(least, end + latency[d, e] + max(whole, 0.0))
                start[a] = max(start[a], least)
    return start
