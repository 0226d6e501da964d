"""A problem as flat arrays: tasks, what they send, routes and memory, for graphs of any shape.

Placement heuristics and local search work on this; every plan is made and checked by the network
of the problem itself (`parplan.scheduling.network`), so what is left out here costs quality
and never validity.
"""

from __future__ import annotations

import numpy as np
from attrs import frozen

from parplan.scheduling.tables import Flags, Real, Whole


@frozen(eq=False)
class Lists:
    """Rows of indices: those of row i are ``item[first[i]:first[i + 1]]``."""

    first: Whole
    item: Whole

    def __len__(self) -> int:
        return len(self.first) - 1

    def row(self, index: int) -> Whole:
        """Return one row."""
        return self.item[self.first[index] : self.first[index + 1]]


@frozen(eq=False)
class Sends:
    """Tensors of one microbatch each, s of them, in the order of the tasks that make them.

    There is at most one transfer of each to each device, however many tasks read it there.

    Attributes
    ----------
    producer
        ``(s,)``, task that makes it.
    tensor
        ``(s,)``, index of the tensor in the problem's graph.
    bytes
        ``(s,)``.
    of_task
        Sends of each task.
    readers
        Tasks that read each send.
    inputs
        Sends that each task reads.
    """

    producer: Whole
    tensor: Whole
    bytes: Real
    of_task: Lists
    readers: Lists
    inputs: Lists

    def __len__(self) -> int:
        return len(self.producer)


@frozen(eq=False)
class Routes:
    """How long transfers take between d devices, and what they queue for.

    Attributes
    ----------
    ticks_per_byte
        ``(d, d)``, of holding the route; infinite where there is none.
    latency
        ``(d, d)``, ticks from the end of the hold to the arrival.
    channels
        What a transfer holds alone, by ``source * d + target``: links, and engines of its ends.
    channel_count
        How many channels there are.
    """

    ticks_per_byte: Real
    latency: Whole
    channels: Lists
    channel_count: int


@frozen(eq=False)
class Memory:
    """What units keep on their device for the whole step.

    Attributes
    ----------
    room
        ``(d,)`` bytes of each device; infinite without a limit.
    groups
        Parameter groups that each unit reads; a device keeps each group once.
    group_bytes
        ``(g,)``.
    kept_bytes
        ``(u,)``, what a unit keeps beside parameters: an estimate of its activations.
    """

    room: Real
    groups: Lists
    group_bytes: Real
    kept_bytes: Real


@frozen(eq=False)
class TaskGraph:
    """n tasks in u units on d devices. A unit is a block of one placement group: one device has it.

    Times are whole ticks.

    Attributes
    ----------
    unit
        ``(n,)``, unit of each task. Tasks are numbered as in ``Problem.tasks()``.
    ticks
        ``(n, d)``, how long each task takes on each device; -1 where it cannot run.
    lane
        ``(n,)``, the engine of its device that a task has alone while it runs, as a number below
        ``lanes``; -1 if it holds none.
    release
        ``(n,)``, before which no task starts.
    order
        ``(n,)``, the tasks in a topological order.
    allowed
        ``(u, d)``, where units may go.
    """

    unit: Whole
    ticks: Whole
    lane: Whole
    lanes: int
    release: Whole
    order: Whole
    allowed: Flags
    sends: Sends
    routes: Routes
    memory: Memory

    def __len__(self) -> int:
        return len(self.unit)

    @property
    def units(self) -> int:
        """Number of units."""
        return len(self.allowed)

    @property
    def devices(self) -> int:
        """Number of devices."""
        return int(self.ticks.shape[1])

    def mean_ticks(self) -> Real:
        """Return ``(n,)``, the mean duration of each task over the devices that can run it."""
        runs = self.ticks >= 0
        total = np.where(runs, self.ticks, 0).sum(axis=1)
        return np.asarray(total / np.maximum(runs.sum(axis=1), 1), dtype=float)

    def least_ticks(self) -> Real:
        """Return ``(n,)``, the shortest duration of each task."""
        most = np.iinfo(np.int64).max
        least = np.where(self.ticks >= 0, self.ticks, most).min(axis=1)
        return np.asarray(least, dtype=float)

    def mean_transfer_ticks(self) -> Real:
        """Return ``(s,)``, the mean time of each send over pairs of different devices."""
        routes = self.routes
        there = np.isfinite(routes.ticks_per_byte)
        np.fill_diagonal(there, False)
        if not there.any():
            return np.zeros(len(self.sends))
        per_byte = float(routes.ticks_per_byte[there].mean())
        return np.asarray(self.sends.bytes * per_byte + float(routes.latency[there].mean()))


def lists_of(rows: list[list[int]]) -> Lists:
    """Return rows as ``Lists``."""
    first = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=first[1:])
    return Lists(first, np.array([i for row in rows for i in row], dtype=np.int64))


def inverted(lists: Lists, count: int) -> Lists:
    """Return which rows name each of ``count`` indices, rows in their order."""
    rows = np.repeat(np.arange(len(lists), dtype=np.int64), np.diff(lists.first))
    order = np.argsort(lists.item, kind="stable")
    first = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(lists.item, minlength=count), out=first[1:])
    return Lists(first, rows[order])
