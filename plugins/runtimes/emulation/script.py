"""What each process of an emulated run does: the tasks of a device in order, and its messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import attrs
from attrs import frozen

from parplan.errors import InputError
from parplan.graph import Kind
from parplan.problem import STEP, Problem
from parplan.schedule import Schedule

LETTERS = {
    Kind.FORWARD: "F",
    Kind.BACKWARD: "B",
    Kind.BACKWARD_INPUT: "I",
    Kind.BACKWARD_WEIGHT: "W",
}
"""Names of passes in a recording; other operators are called by their kind."""


@frozen
class Message:
    """A transfer of the plan.

    Attributes
    ----------
    source, target
        Ranks.
    seconds
        From the end of what makes the tensor until its arrival, waits for links included.
    """

    source: int
    target: int
    seconds: float


@frozen
class Task:
    """A task of the plan.

    Attributes
    ----------
    action
        What a recording calls it.
    microbatch
        -1: once per step.
    release_s
        When it may start at the earliest, after the beginning of the step.
    receives, sends
        Numbers of the messages that it waits for first, and that leave when it has ended.
    takes
        Numbers and bytes of the tensors that are held from its start on.
    drops
        Numbers of the tensors that are no longer held when it has ended.
    """

    operator: str
    action: str
    microbatch: int
    seconds: float
    release_s: float = 0.0
    receives: tuple[int, ...] = ()
    sends: tuple[int, ...] = ()
    takes: tuple[tuple[int, int], ...] = ()
    drops: tuple[int, ...] = ()


@frozen
class Emulation:
    """An emulated run, in the seconds and bytes of the run.

    Attributes
    ----------
    devices
        That of each rank: those of the plan that have tasks, in the cluster's order.
    tasks
        Of each rank, first to last.
    messages
        By number.
    """

    devices: tuple[str, ...]
    tasks: tuple[tuple[Task, ...], ...]
    messages: tuple[Message, ...]
    steps: int = 1

    def received_by(self, rank: int) -> Iterator[int]:
        """Yield the messages to a rank in the order in which it waits for them."""
        for task in self.tasks[rank]:
            yield from task.receives


def emulation_of(
    schedule: Schedule, seconds_per_planned_second: float, bytes_per_planned_byte: float, steps: int
) -> Emulation:
    """Return the run that emulates a schedule.

    Raises
    ------
    InputError
        If a task runs on several devices together, or a device runs several tasks at once.
    """
    planned = _Planned(schedule, seconds_per_planned_second, bytes_per_planned_byte)
    orders = [planned.order(device) for device in planned.devices]
    names = schedule.problem.cluster.devices
    return Emulation(
        tuple(names[device].name for device in planned.devices),
        tuple(
            tuple(planned.tasks(device, order))
            for device, order in zip(planned.devices, orders, strict=True)
        ),
        planned.messages,
        steps,
    )


Copy = tuple[int, int, int]
"""A tensor's copy: tensor, microbatch of its maker, device."""


class _Planned:
    """A schedule, asked for what its devices do."""

    def __init__(self, schedule: Schedule, second: float, byte: float) -> None:
        tasks = schedule.tasks
        self.schedule, self.byte = schedule, byte
        self.tick_s = schedule.problem.tick_s * second
        self.groups = [schedule.alternative(row).devices for row in range(len(tasks))]
        self.devices = sorted({device for group in self.groups for device in group})
        rank = {device: number for number, device in enumerate(self.devices)}
        moves = schedule.transfers
        columns = (moves.tensor, moves.microbatch, moves.source, moves.target)
        keys = list(zip(*(column.tolist() for column in columns), strict=True))
        self.messages = tuple(
            Message(rank[source], rank[target], self._seconds(row, tensor, microbatch))
            for row, (tensor, microbatch, source, target) in enumerate(keys)
        )
        self.number = {(t, k, target): row for row, (t, k, _, target) in enumerate(keys)}
        self.leaving: dict[Copy, list[int]] = {}
        for row in moves.start.argsort(kind="stable").tolist():
            tensor, microbatch, source, _ = keys[row]
            self.leaving.setdefault((tensor, microbatch, source), []).append(row)
        self.held: dict[Copy, int] = {}

    @property
    def problem(self) -> Problem:
        return self.schedule.problem

    def _seconds(self, row: int, tensor: int, microbatch: int) -> float:
        maker = self.schedule.row_of[self.problem.graph.producers[tensor], microbatch]
        left = int(self.schedule.transfers.start[row]) - int(self.schedule.ends[maker])
        return (left + self.schedule.transfer_timing(row).arrival) * self.tick_s

    def order(self, device: int) -> list[int]:
        """Return the rows of the tasks of a device, as they follow one another."""
        schedule, tasks = self.schedule, self.schedule.tasks
        places = {o: place for place, o in enumerate(self.problem.graph.topological_order)}
        rows = sorted(
            (row for row, group in enumerate(self.groups) if device in group),
            key=lambda row: (
                *(int(tasks.start[row]), int(schedule.ends[row])),
                places[int(tasks.operator[row])],
            ),
        )
        for row in rows:
            if len(self.groups[row]) > 1:
                raise InputError(
                    f"operator '{self._name(row)}' runs on {len(self.groups[row])} devices "
                    "together, which emulation does not do yet; give it one device"
                )
        for before, after in pairwise(rows):
            if tasks.start[after] < schedule.ends[before]:
                raise InputError(
                    f"device '{self.problem.cluster.devices[device].name}' runs "
                    f"'{self._name(before)}' and '{self._name(after)}' at once; emulated devices "
                    "do one thing after another: give both the same engine"
                )
        return rows

    def _name(self, row: int) -> str:
        return self.problem.graph.operators[int(self.schedule.tasks.operator[row])].name

    def tasks(self, device: int, rows: Sequence[int]) -> Iterator[Task]:
        """Yield what a device does."""
        schedule, problem = self.schedule, self.problem
        known: set[Copy] = set()
        found: list[Task] = []
        last_use: dict[Copy, int] = {}
        for place, row in enumerate(rows):
            operator, k = (int(schedule.tasks.operator[row]), int(schedule.tasks.microbatch[row]))
            read, written = self._read(device, row), self._written(device, row)
            new = [copy for copy in read if copy in self.number and copy not in known]
            known.update(new)
            last_use.update(dict.fromkeys((*read, *written), place))
            spec = problem.graph.operators[operator]
            found.append(
                Task(
                    spec.name,
                    LETTERS.get(spec.kind, spec.kind.value),
                    k,
                    int(schedule.ends[row] - schedule.tasks.start[row]) * self.tick_s,
                    problem.release(k) * self.tick_s if k != STEP else 0.0,
                    tuple(sorted((self.number[copy] for copy in new), key=self._arrival)),
                    tuple(n for copy in written for n in self.leaving.get(copy, ())),
                    tuple((self._hold(copy), self._size(copy)) for copy in (*new, *written))
                    if self.byte
                    else (),
                )
            )
        drops: dict[int, list[int]] = {}
        for copy, place in last_use.items():
            if copy in self.held:
                drops.setdefault(place, []).append(self.held[copy])
        for place, task in enumerate(found):
            yield attrs.evolve(task, drops=tuple(drops.get(place, ())))

    def _arrival(self, number: int) -> int:
        schedule = self.schedule
        return int(schedule.transfers.start[number]) + schedule.transfer_timing(number).arrival

    def _read(self, device: int, row: int) -> list[Copy]:
        graph, tasks = self.problem.graph, self.schedule.tasks
        operator, k = int(tasks.operator[row]), int(tasks.microbatch[row])
        return [
            (tensor, made, device)
            for tensor in graph.reads(operator, self.schedule.alternative(row).mode)
            for made in self.problem.read_microbatches(tensor, k)
        ]

    def _written(self, device: int, row: int) -> list[Copy]:
        graph, tasks = self.problem.graph, self.schedule.tasks
        written = graph.writes(int(tasks.operator[row]), self.schedule.alternative(row).mode)
        return [(tensor, int(tasks.microbatch[row]), device) for tensor in written]

    def _hold(self, copy: Copy) -> int:
        return self.held.setdefault(copy, len(self.held))

    def _size(self, copy: Copy) -> int:
        tensor, k, _ = copy
        size = self.problem.tensor_bytes(tensor, self.schedule.producer_mode(tensor, k), k) or 0
        return round(size * self.byte)
