"""A schedule: when each task runs and each tensor crosses each link, as numpy columns."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from parplan.errors import InputError
from parplan.problem import STEP, Alternative, Problem, TransferTiming

Column = NDArray[np.int64]


def _column(values: object) -> Column:
    array = np.array(values, dtype=np.int64)
    array.setflags(write=False)
    return array


@frozen(eq=False)
class Tasks:
    """Columns of the tasks, one row each, in any order.

    ``alternative`` indexes ``problem.alternatives[operator]``; ``microbatch`` is -1 for work done
    once per step; ``start`` in ticks.
    """

    operator: Column = field(converter=_column)
    microbatch: Column = field(converter=_column)
    alternative: Column = field(converter=_column)
    start: Column = field(converter=_column)

    def __attrs_post_init__(self) -> None:
        _check_lengths("tasks", self.operator, self.microbatch, self.alternative, self.start)

    def __len__(self) -> int:
        return len(self.operator)


@frozen(eq=False)
class Transfers:
    """Columns of the transfers: one row per (tensor, microbatch, target device); start in ticks."""

    tensor: Column = field(converter=_column)
    microbatch: Column = field(converter=_column)
    source: Column = field(converter=_column)
    target: Column = field(converter=_column)
    start: Column = field(converter=_column)

    def __attrs_post_init__(self) -> None:
        _check_lengths(
            "transfers", self.tensor, self.microbatch, self.source, self.target, self.start
        )

    def __len__(self) -> int:
        return len(self.tensor)


def _check_lengths(what: str, *columns: Column) -> None:
    if len({len(column) for column in columns}) > 1:
        raise InputError(f"{what}: columns have different lengths {[len(c) for c in columns]}")


@frozen
class TaskView:
    """One task with its names, for people and exporters; times in ticks."""

    operator: str
    microbatch: int
    mode: str
    devices: tuple[str, ...]
    start: int
    end: int


@frozen
class TransferView:
    """One transfer with its names; holds its links from start to ``free``; times in ticks."""

    tensor: str
    microbatch: int
    source: str
    target: str
    links: tuple[str, ...]
    start: int
    free: int
    arrival: int


@frozen(eq=False)
class Schedule:
    """When and where everything of a problem happens. Not yet checked: see ``parplan.checking``."""

    problem: Problem
    tasks: Tasks
    transfers: Transfers

    @cached_property
    def ends(self) -> Column:
        """End of each task row in ticks."""
        problem, t = self.problem, self.tasks
        scale, microbatches = problem.workload.scale, t.microbatch.tolist()
        rows = zip(t.operator.tolist(), t.alternative.tolist(), microbatches, strict=True)
        alike = [(o, a, scale(m)) for o, a, m in rows]
        ticks = {
            (o, a, size): problem.ticks(o, problem.alternatives[o][a], m)
            for (o, a, size), m in dict(zip(alike, microbatches, strict=True)).items()
        }
        return _column(t.start + np.array([ticks[key] for key in alike], dtype=np.int64))

    @cached_property
    def makespan(self) -> int:
        """End of the last task in ticks (start counts from 0)."""
        return int(self.ends.max()) if len(self.tasks) else 0

    def alternative(self, row: int) -> Alternative:
        """Return the alternative of a task row."""
        operator = int(self.tasks.operator[row])
        return self.problem.alternatives[operator][int(self.tasks.alternative[row])]

    @cached_property
    def row_of(self) -> dict[tuple[int, int], int]:
        """Row of each task by (operator index, microbatch)."""
        keys = zip(self.tasks.operator.tolist(), self.tasks.microbatch.tolist(), strict=True)
        return {key: row for row, key in enumerate(keys)}

    def producer_mode(self, tensor: int, microbatch: int) -> int:
        """Return the mode index in which a tensor was produced."""
        row = self.row_of[self.problem.graph.producers[tensor], microbatch]
        return self.alternative(row).mode

    def transfer_timing(self, row: int) -> TransferTiming:
        """Return the times of a transfer row; InputError if it has no route or no such tensor."""
        x = self.transfers
        tensor, microbatch = int(x.tensor[row]), int(x.microbatch[row])
        size = self.problem.tensor_bytes(tensor, self.producer_mode(tensor, microbatch), microbatch)
        source, target = int(x.source[row]), int(x.target[row])
        timing = None if size is None else self.problem.transfer_timing(size, source, target)
        if timing is None:
            name = self.problem.graph.tensors[tensor].name
            raise InputError(f"transfer of '{name}' from device {source} to {target} cannot be")
        return timing

    def task_views(self) -> Iterator[TaskView]:
        """Yield every task with its names, in row order."""
        graph, devices = self.problem.graph, self.problem.cluster.devices
        for row in range(len(self.tasks)):
            operator = graph.operators[int(self.tasks.operator[row])]
            chosen = self.alternative(row)
            yield TaskView(
                operator.name,
                int(self.tasks.microbatch[row]),
                operator.modes[chosen.mode].name,
                tuple(devices[d].name for d in chosen.devices),
                int(self.tasks.start[row]),
                int(self.ends[row]),
            )

    def transfer_views(self) -> Iterator[TransferView]:
        """Yield every transfer with its names, in row order."""
        graph, cluster = self.problem.graph, self.problem.cluster
        for row in range(len(self.transfers)):
            timing = self.transfer_timing(row)
            start = int(self.transfers.start[row])
            yield TransferView(
                graph.tensors[int(self.transfers.tensor[row])].name,
                int(self.transfers.microbatch[row]),
                cluster.devices[int(self.transfers.source[row])].name,
                cluster.devices[int(self.transfers.target[row])].name,
                tuple(cluster.links[h.link].name for h in timing.holds),
                start,
                start + timing.occupied,
                start + timing.arrival,
            )


__all__ = ["STEP", "Column", "Schedule", "TaskView", "Tasks", "TransferView", "Transfers"]
