"""A network as flat arrays, for list scheduling many times over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from parplan.scheduling.buffers import Amounts
from parplan.scheduling.network import Network
from parplan.system.collector import collector_paused

Whole = NDArray[np.int64]
Real = NDArray[np.float64]
Flags = NDArray[np.bool_]


@frozen(eq=False)
class Rows:
    """Rows of (index, amount) pairs: those of row i are at ``first[i]`` up to ``first[i + 1]``."""

    first: Whole
    index: Whole
    amount: Real


@frozen(eq=False)
class Tables:
    """What the list scheduler needs of a network of n activities, r resources and b buffers.

    Attributes
    ----------
    needs, ends, buffers
        Amounts of resources that an activity takes when it starts (its own and its buffers'),
        gives back when it ends, and that a buffer gives back. Resources that can never be full
        are left out.
    arcs
        Later activities and their delays, from start to start.
    frees, left
        Buffers that wait for the end of an activity; how many ends each buffer waits for.
    waiting
        How many arcs lead to each activity.
    queue
        Queue of each activity: activities in one queue compete for one resource.
    gate
        Resource that blocks a whole queue when it is full; -1 if there is none.
    strict
        Whether a queue is served in the order of arrival, without overtaking.
    watchers
        Queues that may go on when some of a resource comes free.
    """

    durations: Whole
    releases: Whole
    arcs: Rows
    needs: Rows
    ends: Rows
    buffers: Rows
    frees: Rows
    left: Whole
    waiting: Whole
    queue: Whole
    gate: Whole
    strict: Flags
    watchers: Rows
    levels: Real
    limits: Real


@collector_paused()
def make_tables(network: Network) -> Tables:
    """Return the tables of a network; linear in activities, arcs and amounts."""
    needs = [dict(amounts) for amounts in network.amounts]
    frees: list[list[tuple[int, float]]] = [[] for _ in needs]
    for b, buffer in enumerate(network.buffers):
        need = needs[buffer.allocator]
        for r, amount in buffer.amounts:
            need[r] = need.get(r, 0.0) + amount
        for releaser in buffer.releasers:
            frees[releaser].append((b, 0.0))
    total = np.array(network.levels, dtype=float)
    for need in needs:
        for r, amount in need.items():
            total[r] += amount
    limits = np.array(network.capacities, dtype=float) * (1 + 1e-12)
    binding = total > np.array(network.capacities, dtype=float)
    queue, gate, strict = _queues(network)
    need_rows = _rows([need.items() for need in needs], binding)
    arcs = _rows(network.successors)
    return Tables(
        durations=np.array(network.durations, dtype=np.int64),
        releases=np.array(network.releases, dtype=np.int64),
        arcs=arcs,
        needs=need_rows,
        ends=_rows(network.amounts, binding),
        buffers=_rows([buffer.amounts for buffer in network.buffers], binding),
        frees=_rows(frees),
        left=np.array([len(buffer.releasers) for buffer in network.buffers], dtype=np.int64),
        waiting=np.bincount(arcs.index, minlength=len(needs)).astype(np.int64),
        queue=queue,
        gate=gate,
        strict=strict,
        watchers=_watchers(need_rows, queue, len(limits)),
        levels=np.array(network.levels, dtype=float),
        limits=limits,
    )


def _rows(rows: Sequence[Iterable[tuple[int, float]]], keep: Flags | None = None) -> Rows:
    lists = [list(row) for row in rows]
    pairs = list(chain.from_iterable(lists))
    index = np.array([i for i, _ in pairs], dtype=np.int64)
    amount = np.array([a for _, a in pairs], dtype=float)
    lengths = np.array([len(row) for row in lists], dtype=np.int64)
    if keep is not None and len(index):
        kept = keep[index]
        of = np.repeat(np.arange(len(lists)), lengths)
        lengths = np.bincount(of[kept], minlength=len(lists))
        index, amount = index[kept], amount[kept]
    return Rows(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), index, amount)


def _queues(network: Network) -> tuple[Whole, Whole, Flags]:
    """Return queue of each activity, gate of each queue, and which queues are strict.

    Queue 0 is for what competes for no unit resource, queue r + 1 for unit resource r; with
    first-in-first-out transfers each ordered pair of devices has one after these.
    """
    count = len(network.capacities)
    units = [c == 1 for c in network.capacities]
    choice: dict[Amounts, int] = {}
    for amounts in set(network.amounts):
        choice[amounts] = next((r + 1 for r, _ in amounts if units[r]), 0)
    queue = np.array([choice[amounts] for amounts in network.amounts], dtype=np.int64)
    pairs: dict[tuple[int, int], int] = {}
    if network.problem.cluster.fifo:
        for t, (_, _, source, target) in enumerate(network.transfers):
            number = pairs.setdefault((source, target), count + 1 + len(pairs))
            queue[len(network.tasks) + t] = number
    gate = np.full(count + 1 + len(pairs), -1, dtype=np.int64)
    gate[1 : count + 1] = np.arange(count)
    strict = np.zeros(len(gate), dtype=np.bool_)
    strict[count + 1 :] = True
    return queue, gate, strict


def _watchers(needs: Rows, queue: Whole, resources: int) -> Rows:
    of = np.repeat(queue, np.diff(needs.first))
    pairs = np.unique(np.stack([needs.index, of]), axis=1) if len(of) else np.zeros((2, 0), int)
    lengths = np.bincount(pairs[0], minlength=resources)
    first = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Rows(first, pairs[1].astype(np.int64), np.zeros(pairs.shape[1]))
