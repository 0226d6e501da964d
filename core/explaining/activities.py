"""Tasks and transfers of a schedule under one numbering, and what declared resources hold of them.

An activity is a task row, or ``number of tasks + transfer row``. It starts at its tick, ends when
its task has ended or its tensor has arrived, and lets go of links when it no longer occupies them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from attrs import frozen

from parplan.checking.columns import Mask, Profile, Ragged, Real, Whole, profile
from parplan.checking.facts import Facts
from parplan.checking.usage import Usage
from parplan.declarations import Held, ResidentParameters, Resource
from parplan.schedule import Schedule


@frozen(eq=False)
class Index:
    """The rows of a column by their value."""

    order: Whole
    ordered: Whole

    @classmethod
    def of(cls, column: Whole) -> Index:
        """Return the index of a column."""
        order = np.argsort(column, kind="stable")
        return cls(order, column[order])

    def rows(self, value: int) -> Whole:
        """Return the rows that have a value, in order."""
        first = bisect_left(self._values, value)
        return self.order[first : bisect_right(self._values, value, first)]

    @cached_property
    def _values(self) -> list[int]:
        """``ordered`` as a list, in which one value is found much sooner."""
        return self.ordered.tolist()  # type: ignore[no-any-return]  # of whole numbers


@frozen(eq=False)
class Spans:
    """What a resource carries for a time: [start, end) in ticks with an amount each.

    Attributes
    ----------
    starter
        Activity with which each begins.
    ender
        Activity with which each ends; -1 for a tensor, whose last readers end it.
    tensor
        Row of ``Lifetimes`` of a tensor's stay; -1 for all else.
    """

    resource: Resource
    start: Whole
    end: Whole
    amount: Real
    starter: Whole
    ender: Whole
    tensor: Whole
    level: Profile

    @cached_property
    def _by_starter(self) -> Index:
        return Index.of(self.starter)

    @cached_property
    def _by_end(self) -> Index:
        return Index.of(self.end)

    def begun_by(self, activity: int) -> Whole:
        """Return the rows that begin with an activity."""
        return self._by_starter.rows(activity)

    def ending_at(self, tick: int) -> Whole:
        """Return the rows that end at a tick."""
        return self._by_end.rows(tick)

    @cached_property
    def scarce(self) -> Mask:
        """Which rows would not fit with what is held in the tick before they start.

        Rows of one starter at one tick count together. What it would itself give back then does
        not count, so that some of these rows did not have to wait.
        """
        order = np.lexsort((self.start, self.starter))
        start, starter = self.start[order], self.starter[order]
        amount = np.where(self.end > self.start, self.amount, 0.0)[order]
        new = np.ones(len(order), dtype=bool)
        new[1:] = (start[1:] != start[:-1]) | (starter[1:] != starter[:-1])
        first = np.flatnonzero(new)
        taken = np.add.reduceat(amount, first) if len(first) else amount
        place = np.searchsorted(self.level.ticks, start[first], side="left") - 1
        level = np.concatenate((self.level.levels, [self.level.base]))  # -1 is the last
        found = np.zeros(len(order), dtype=bool)
        found[order] = ((level[place] + taken) > self.resource.capacity)[np.cumsum(new) - 1]
        return found

    def before(self, tick: int) -> float:
        """Return the level in the tick that ends at ``tick``."""
        place = int(np.searchsorted(self.level.ticks, tick, side="left")) - 1
        return self.level.base if place < 0 else float(self.level.levels[place])


@frozen(eq=False)
class Activities:
    """The activities of a whole, checked schedule, and all that is asked of them."""

    schedule: Schedule

    @cached_property
    def facts(self) -> Facts:
        """What the schedule says, derived as the checker does."""
        return Facts(self.schedule)

    @cached_property
    def usage(self) -> Usage:
        """Who uses what, and when."""
        return Usage(self.facts)

    @property
    def tasks(self) -> int:
        """Number of tasks: activities from here on are transfers."""
        return len(self.schedule.tasks)

    def is_task(self, activity: int) -> bool:
        """Return whether an activity is a task, and no transfer."""
        return activity < self.tasks

    @cached_property
    def starts(self) -> Whole:
        """Start of each activity."""
        return np.concatenate((self.facts.starts, self.schedule.transfers.start))

    @cached_property
    def ends(self) -> Whole:
        """End of each activity: of a transfer, its arrival."""
        x = self.schedule.transfers
        return np.concatenate((self.facts.ends, x.start + self.facts.moves.arrival))

    @cached_property
    def frees(self) -> Whole:
        """When each activity lets go of what it occupies: of a transfer, its links."""
        x = self.schedule.transfers
        return np.concatenate((self.facts.ends, x.start + self.facts.moves.occupied))

    def spans(self, resource: Resource) -> Spans:
        """Return what a resource carries, with who begins and ends it; each found once."""
        if resource.name not in self._spans:
            self._spans[resource.name] = self._find_spans(resource)
        return self._spans[resource.name]

    @cached_property
    def _spans(self) -> dict[str, Spans]:
        return {}

    def _find_spans(self, resource: Resource) -> Spans:
        demands = [d for d in resource.demands if not isinstance(d, ResidentParameters)]
        loads = self.usage.loads(resource)
        starters, enders, tensors = [], [], []
        for demand, load in zip(demands, loads, strict=True):
            none = np.full(len(load.row), -1, dtype=np.int64)
            if load.kind == "tensor":
                starters.append(self._maker[load.row])
                enders.append(none)
                tensors.append(load.row)
                continue
            row = load.row
            if load.kind == "transfer":
                # Collectives are numbered behind the transfers there.
                count = len(self.schedule.transfers)
                row = np.where(row < count, row + self.tasks, row - count)
            starters.append(row)
            enders.append(self._held_to(demand) if isinstance(demand, Held) else row)
            tensors.append(none)
        level = profile(loads, self.usage.base(resource))
        whole, real = np.zeros(0, np.int64), np.zeros(0)
        return Spans(
            resource,
            np.concatenate([whole, *(load.start for load in loads)]),
            np.concatenate([whole, *(load.end for load in loads)]),
            np.concatenate([real, *(load.amount for load in loads)]),
            np.concatenate([whole, *starters]),
            np.concatenate([whole, *enders]),
            np.concatenate([whole, *tensors]),
            level,
        )

    @cached_property
    def _maker(self) -> Whole:
        """Activity that begins each tensor's stay on a device: its producer, or its transfer."""
        lives, facts = self.usage.lifetimes, self.facts
        homes = len(lives.start) - len(self.schedule.transfers)
        producer = facts.producers[lives.tensor[:homes]]
        tasks = facts.rows[facts.task_number(producer, lives.microbatch[:homes])]
        return np.concatenate((tasks, self.tasks + np.arange(len(self.schedule.transfers))))

    def _held_to(self, demand: Held) -> Whole:
        index = self.facts.problem.graph.operator_index
        first, last = self.usage.pairs(index[demand.from_operator], index[demand.to_operator])
        if demand.device is None:
            return last
        device = self.facts.problem.cluster.device_index[demand.device]
        return last[self.facts.runs_on(first, np.full(len(first), device))]

    # -- reads ---------------------------------------------------------------------------------

    @cached_property
    def _needs_of(self) -> Ragged:
        """Rows of ``Needs`` of each task."""
        facts = self.facts
        return Ragged.grouped(facts.reads.reader[facts.needs.read], self.tasks)

    def inputs(self, task: int) -> Iterator[tuple[int, int]]:
        """Yield each tensor (index) that a task waits for, with the activity that brings it."""
        facts = self.facts
        for need in self._needs_of.row(task).tolist():
            read = int(facts.needs.read[need])
            if facts.needs.local[need]:
                yield int(facts.reads.tensor[read]), int(facts.reads.producer[read])
            elif facts.needs.transfer[need] >= 0:
                yield int(facts.reads.tensor[read]), self.tasks + int(facts.needs.transfer[need])

    def last_users(self, life: int) -> Iterator[int]:
        """Yield the activities with which the stay of a tensor on a device ends.

        Its producer where nobody there reads it, and none where it is an output of the graph.
        """
        lives, facts = self.usage.lifetimes, self.facts
        tick = int(lives.end[life])
        users = [*self._readers(life), *self._senders(life), int(self._maker[life])]
        for user in dict.fromkeys(users):
            done = facts.ends[user] if self.is_task(user) else self.frees[user]
            if done == tick:
                yield user

    def _place(self, life: int) -> int:
        lives = self.usage.lifetimes
        return int(
            self.facts.place_key(
                lives.tensor[life : life + 1],
                lives.microbatch[life : life + 1],
                lives.device[life : life + 1],
            )[0]
        )

    def _readers(self, life: int) -> list[int]:
        facts, needs = self.facts, self.facts.needs
        rows = self._reads_at.rows(self._place(life))
        return [int(task) for task in facts.reads.reader[needs.read[rows]]]

    @cached_property
    def _reads_at(self) -> Index:
        facts, reads, read = self.facts, self.facts.reads, self.facts.needs.read
        return Index.of(
            facts.place_key(reads.tensor[read], reads.microbatch[read], facts.needs.device)
        )

    def _senders(self, life: int) -> list[int]:
        rows = self._sent_from.rows(self._place(life))
        return [self.tasks + int(row) for row in rows]

    @cached_property
    def _sent_from(self) -> Index:
        x = self.schedule.transfers
        return Index.of(self.facts.place_key(x.tensor, x.microbatch, x.source))

    # -- names ---------------------------------------------------------------------------------

    def name(self, activity: int) -> str:
        """Return an activity's name with its microbatch and where it is."""
        if self.is_task(activity):
            return self.facts.task_name(activity)
        return self.facts.transfer_name(activity - self.tasks)

    def place(self, activity: int) -> str:
        """Return the device group of a task, or the links of a transfer."""
        if self.is_task(activity):
            chosen = self.schedule.alternative(activity)
            devices = self.facts.problem.cluster.devices
            return "+".join(devices[d].name for d in chosen.devices)
        x, cluster = self.schedule.transfers, self.facts.problem.cluster
        row = activity - self.tasks
        route = cluster.route(int(x.source[row]), int(x.target[row]))
        return "+".join(route.links) if route else ""

    def kind(self, activity: int) -> str:
        """Return the kind of a task's operator, or ``"transfer"``."""
        if not self.is_task(activity):
            return "transfer"
        operator = int(self.schedule.tasks.operator[activity])
        return self.facts.problem.graph.operators[operator].kind.value
