"""How long tensors live on devices, as intervals: made only for resources that can run out.

A tensor lives on each device of its producer from S[producer] to H, on a receiver from the start of
its transfer to H, where H is at least every end that keeps it there. H is a variable only where
more than one thing may be the last; it may exceed the last end, which only makes a model stricter.
"""

from __future__ import annotations

from parplan.model.blocks import RuleBlock, Value
from parplan.model.tasks import Task
from parplan.model.terms import Interval, Literal, Time, instant
from parplan.model.transfers import Transfer, TransferKey, Transport
from parplan.problem import STEP


class Lifetimes:
    """The ends H[tensor, microbatch, device] of tensors, made when first asked for."""

    def __init__(self, transport: Transport, block: RuleBlock, makespan: Time) -> None:
        self.transport, self.block, self.makespan = transport, block, makespan
        self.choices, self.problem = transport.choices, transport.problem
        self._ends: dict[tuple[TransferKey, bool], Time] = {}

    def produced(self, key: TransferKey, rows: tuple[int, ...]) -> Interval:
        """Return the life of a tensor where it was made, if the producer runs in one of ``rows``.

        ``key`` is (tensor, microbatch, device); all ``rows`` include the device.
        """
        producer = self._producer(key)
        literal = self.choices.any_of(producer.key, rows)
        end = self._end(key, home=True)
        size = None
        if end is producer.end:
            inside = {producer.sizes[a] for a in rows}
            size = inside.pop() if len(inside) == 1 else None
        return Interval(self._name(key), producer.start, end, size, literal)

    def received(self, transfer: Transfer, literal: Literal) -> Interval:
        """Return the life of a tensor where it was sent to, under a literal of its transfer."""
        end = self._end(transfer.key, home=False)
        return Interval(self._name(transfer.key), transfer.start, end, None, literal)

    def _producer(self, key: TransferKey) -> Task:
        return self.transport.tasks[self.problem.graph.producers[key[0]], key[1]]

    def _name(self, key: TransferKey) -> str:
        tensor = self.problem.graph.tensors[key[0]].name
        suffix = "" if key[1] == STEP else f"@{key[1]}"
        return f"{tensor}{suffix} on {self.problem.cluster.devices[key[2]].name}"

    def _end(self, key: TransferKey, *, home: bool) -> Time:
        if (key, home) not in self._ends:
            self._ends[key, home] = self._make_end(key, home=home)
        return self._ends[key, home]

    def _make_end(self, key: TransferKey, *, home: bool) -> Time:
        producer = self._producer(key)
        if home and self.problem.graph.tensors[key[0]].output:
            return self.makespan
        users = self._readers(key) + (self._leaving(key) if home else [])
        if not users:
            return producer.end
        if home:
            rows = self.choices.on_device(producer.key, key[2])
            presence = self.choices.any_of(producer.key, rows)
        else:
            presence = self.transport.made[key].presence
        if len(users) == 1 and (users[0].presence is None or users[0].presence is presence):
            return users[0].end
        if home:
            users.append(producer.interval)
        side = "made" if home else "received"
        end = self.block.time(
            f"{self._name(key)} {side} until",
            0,
            self.transport.horizon,
            lambda value: latest(users, value),
        )
        for user in users:
            self.block.before(user, instant(self._name(key), end, presence))
        return end

    def _readers(self, key: TransferKey) -> list[Interval]:
        """Return the tasks that may read the tensor on the device."""
        tensor, microbatch, device = key
        found = []
        for consumer in self.problem.graph.consumers[tensor]:
            for m in self.problem.reading_tasks(consumer, microbatch):
                task = self.transport.tasks[consumer, m]
                rows = self.transport.reading_rows(task.key, tensor, device)
                if rows:
                    found.append(task.within(rows))
        return found

    def _leaving(self, key: TransferKey) -> list[Interval]:
        """Return the transfers that may leave the device, until they no longer hold a link."""
        tensor, microbatch, device = key
        found = []
        for target in self.transport.targets(tensor, microbatch):
            transfer = self.transport.make((tensor, microbatch, target))
            for i, option in enumerate(transfer.options):
                if option.source == device:
                    occupied = self.transport.clock.ticks(option.timing.occupied)
                    found.append(self.transport.holding(transfer, i, 0, occupied))
        return found


def latest(intervals: list[Interval], value: Value) -> float:
    """Return the last end of the intervals that are present; 0 if none is."""
    there = (i for i in intervals if i.presence is None or value(i.presence) > 0.5)
    return max((value(i.end) for i in there), default=0.0)
