"""Transfers in the model: one start per (tensor, microbatch, target), made only where needed.

need[t, g, d] is 1 if a reader of tensor t of group g runs on device d and the producer does not;
where the source could be one of several devices (or the size one of several), z[t, m, d, i] says
which, with ``sum of z = need`` and ``z[i] <= x[producer]`` of the alternatives that offer option i.
Transfers that no resource can notice are never made: readers then wait for the arrival alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

from attrs import field, frozen

from parplan.model.blocks import RuleBlock, Value
from parplan.model.choices import Choices, Key, total
from parplan.model.clock import Clock
from parplan.model.tasks import Task, TaskKey
from parplan.model.terms import Interval, Literal, Time, instant, lasting
from parplan.problem import STEP, TransferTiming

TransferKey = tuple[int, int, int]
"""(tensor, microbatch, target device), all as indices."""


class Never:
    """Marks what no choice can make happen; None already means "always"."""


NEVER = Never()


@frozen
class Option:
    """A device to send from and a size, offered by some alternatives of the producer."""

    source: int
    bytes: int
    rows: tuple[int, ...]
    timing: TransferTiming


@frozen
class Possible:
    """A transfer that some choice needs, before anything of it is in the model."""

    key: TransferKey
    options: tuple[Option, ...]


@frozen(eq=False)
class Transfer:
    """A transfer in the model.

    Attributes
    ----------
    presence
        Literal: it is needed; None if always.
    literals
        One per option: that it is this one; each is ``presence`` itself if there is one only.
    start, arrival
        In model ticks; readers on the target wait for ``arrival``.
    interval
        From start to arrival, present if needed.
    """

    key: TransferKey
    name: str
    options: tuple[Option, ...]
    literals: tuple[Literal, ...]
    presence: Literal
    start: Time
    arrival: Time
    interval: Interval = field(init=False)

    @interval.default
    def _make_interval(self) -> Interval:
        return Interval(self.name, self.start, self.arrival, None, self.presence)


class Transport:
    """All transfers: which are possible, and (made when first asked for) their variables."""

    def __init__(
        self,
        choices: Choices,
        clock: Clock,
        block: RuleBlock,
        tasks: dict[TaskKey, Task],
        horizon: int,
    ) -> None:
        self.choices, self.clock, self.block = choices, clock, block
        self.tasks, self.horizon = tasks, horizon
        self.problem = choices.problem
        self.made: dict[TransferKey, Transfer] = {}
        self.explicit: set[tuple[int, int]] = set()
        self.on_late: Callable[[Transfer], None] | None = None
        self._needs: dict[tuple[int, int, int], Literal | Never] = {}
        self._options: dict[tuple[int, int, int, float], tuple[Option, ...]] = {}
        self._sources: dict[tuple[object, ...], tuple[Literal, ...]] = {}

    # -- what may be ---------------------------------------------------------------------------

    def readers(self, tensor: int, group: int) -> list[Key]:
        """Return (consumer, placement group) of all readers of a tensor made for a group."""
        once = self.problem.microbatches_of(self.problem.graph.producers[tensor]).start == STEP
        found = []
        for consumer in self.problem.graph.consumers[tensor]:
            groups = self.choices.groups(consumer)
            found += [(consumer, h) for h in (groups if once or len(groups) == 1 else (group,))]
        return found

    def reading_rows(self, reader: Key, tensor: int, device: int) -> tuple[int, ...]:
        """Return a reader's open alternatives that include a device and read a tensor."""
        graph = self.problem.graph
        return tuple(
            a
            for a in self.choices.on_device(reader, device)
            if tensor in graph.reads(reader[0], self.choices.alternative(reader[0], a).mode)
        )

    @cached_property
    def possible(self) -> dict[TransferKey, Possible]:
        """Every transfer that some choice of alternatives needs."""
        found = {}
        for tensor, producer in enumerate(self.problem.graph.producers):
            for microbatch in self.problem.microbatches_of(producer):
                for target in self._targets(tensor, self.problem.workload.group(microbatch)):
                    key = (tensor, microbatch, target)
                    options = self._find_options(key)
                    if options:
                        found[key] = Possible(key, options)
        return found

    def targets(self, tensor: int, microbatch: int) -> list[int]:
        """Return the devices that a tensor may have to be sent to."""
        group = self.problem.workload.group(microbatch)
        targets = self._targets(tensor, group)
        return [d for d in targets if (tensor, microbatch, d) in self.possible]

    @cached_property
    def _target_cache(self) -> dict[tuple[int, int], list[int]]:
        return {}

    def _targets(self, tensor: int, group: int) -> list[int]:
        if (tensor, group) not in self._target_cache:
            writer = (self.problem.graph.producers[tensor], group)
            reached = dict.fromkeys(
                d
                for reader in self.readers(tensor, group)
                for a in self.choices.rows[reader]
                for d in self.choices.alternative(reader[0], a).devices
                if tensor
                in self.problem.graph.reads(reader[0], self.choices.alternative(reader[0], a).mode)
            )
            self._target_cache[tensor, group] = [
                d
                for d in sorted(reached)
                if len(self.choices.on_device(writer, d)) < len(self.choices.rows[writer])
            ]
        return self._target_cache[tensor, group]

    def _find_options(self, key: TransferKey) -> tuple[Option, ...]:
        tensor, microbatch, target = key
        group = self.problem.workload.group(microbatch)
        cached = (tensor, group, target, self.problem.workload.scale(microbatch))
        if cached not in self._options:
            producer = self.problem.graph.producers[tensor]
            offers: dict[tuple[int, int], list[int]] = {}
            for a in self.choices.rows[producer, group]:
                alternative = self.choices.alternative(producer, a)
                size = self.problem.tensor_bytes(tensor, alternative.mode, microbatch)
                if size is None or target in alternative.devices:
                    continue
                for source in alternative.devices:
                    offers.setdefault((source, size), []).append(a)
            found = []
            for (source, size), rows in offers.items():
                timing = self.problem.transfer_timing(size, source, target)
                if timing is not None:
                    found.append(Option(source, size, tuple(rows), timing))
            self._options[cached] = tuple(found)
        return self._options[cached]

    # -- what is made --------------------------------------------------------------------------

    def make(self, key: TransferKey) -> Transfer:
        """Return a possible transfer with its variables, made on the first call.

        ``on_late``, once set, sees to it that readers wait for what is made after their waits.
        """
        if key not in self.made:
            self.made[key] = self._make(self.possible[key])
            self.explicit.add(key[:2])
            if self.on_late is not None:
                self.on_late(self.made[key])
        return self.made[key]

    def _make(self, possible: Possible) -> Transfer:
        tensor, microbatch, target = possible.key
        name = self.name(possible.key)
        need = self.need(tensor, self.problem.workload.group(microbatch), target)
        producer = self.tasks[self.problem.graph.producers[tensor], microbatch]
        earliest = _lower(producer.start) + min(producer.sizes.values())
        start = self.block.time(f"start {name}", min(earliest, self.horizon), self.horizon)
        literals = self.literals(possible.key)
        times = [self.clock.ticks(option.timing.arrival) for option in possible.options]
        if len(set(times)) == 1:
            arrival = start + times[0] if times[0] else start
        else:
            parts = [(p, z) for p, z in zip(times, literals, strict=True) if p]
            arrival = self.block.time(
                f"arrival {name}",
                0,
                self.horizon + max(times),
                lambda value: value(start) + sum(p * value(z) for p, z in parts),
            )
            self.block.row(arrival == start + total(p * z for p, z in parts))
        made = Transfer(possible.key, name, possible.options, literals, need, start, arrival)
        self.block.before(producer.interval, instant(name, start, need))
        return made

    def name(self, key: TransferKey) -> str:
        """Return a transfer as ``tensor@microbatch>device``."""
        tensor, device = self.problem.graph.tensors[key[0]], self.problem.cluster.devices[key[2]]
        suffix = "" if key[1] == STEP else f"@{key[1]}"
        return f"{tensor.name}{suffix}>{device.name}"

    def need(self, tensor: int, group: int, target: int) -> Literal | Never:
        """Return the literal that a tensor is needed on a device and not made there."""
        key = (tensor, group, target)
        if key not in self._needs:
            self._needs[key] = self._make_need(*key)
        return self._needs[key]

    def _make_need(self, tensor: int, group: int, target: int) -> Literal | Never:
        """State ``need >= reader on d - producer on d`` for each reader, and its converse."""
        choices = self.choices
        writer = (self.problem.graph.producers[tensor], group)
        home = choices.on_device(writer, target)
        found = [(r, self.reading_rows(r, tensor, target)) for r in self.readers(tensor, group)]
        found = [(reader, rows) for reader, rows in found if rows]
        if not found or len(home) == len(choices.rows[writer]):
            return NEVER
        always = any(len(rows) == len(choices.rows[reader]) for reader, rows in found)
        if not home and always:
            return None
        if not home and len(found) == 1:
            return choices.any_of(*found[0])
        name = self.problem.graph.tensors[tensor].name
        here = choices.sum_of(writer, home)
        sums = [choices.sum_of(reader, rows) for reader, rows in found]
        need = self.block.binary(
            f"need {name},{group},{target}",
            lambda value: max(0.0, max(map(value, sums)) - value(here)),
        )
        if always:
            self.block.row(need + here == 1)
            return need
        for reading in sums:
            self.block.row(need >= reading - here)
        self.block.row(need <= total(sums))
        if home:
            self.block.row(need <= 1 - here)
        return need

    def literals(self, key: TransferKey) -> tuple[Literal, ...]:
        """Return which option it is; shared by microbatches where placement alone decides."""
        tensor, microbatch, target = key
        options, name = self.possible[key].options, self.name(key)
        need = self.need(tensor, self.problem.workload.group(microbatch), target)
        assert not isinstance(need, Never)  # a possible transfer is needed by some choice
        if len(options) == 1:
            return (need,)
        writer = (self.problem.graph.producers[tensor], self.problem.workload.group(microbatch))
        decided = len({a for o in options for a in o.rows}) == sum(len(o.rows) for o in options)
        group = writer[1] if decided else microbatch
        shared = (decided, tensor, group, target, tuple(o.rows for o in options))
        if shared in self._sources:
            return self._sources[shared]
        if decided and need is None:
            literals = tuple(self.choices.any_of(writer, option.rows) for option in options)
        else:
            literals = tuple(
                self.block.binary(
                    f"{name} from {o.source},{o.bytes},{i}",
                    partial(_both, need, self.choices.sum_of(writer, o.rows)) if decided else None,
                )
                for i, o in enumerate(options)
            )
            self.block.row(total(literals) == (1 if need is None else need))
            for option, literal in zip(options, literals, strict=True):
                if len(option.rows) < len(self.choices.rows[writer]):
                    self.block.row(literal <= self.choices.sum_of(writer, option.rows))
            self.block.at_most_one(literals)
        self._sources[shared] = literals
        return literals

    def holding(self, transfer: Transfer, i: int, offset: int, length: int) -> Interval:
        """Return something a transfer holds if option ``i`` is taken, in model ticks."""
        start = transfer.start + offset if offset else transfer.start
        return lasting(transfer.name, start, length, transfer.literals[i])


class Untimed(Transport):
    """Transfers without times: what is needed, and from where."""

    def _make(self, possible: Possible) -> Transfer:
        tensor, microbatch, target = possible.key
        need = self.need(tensor, self.problem.workload.group(microbatch), target)
        literals = self.literals(possible.key)
        return Transfer(
            possible.key, self.name(possible.key), possible.options, literals, need, 0, 0
        )


def _both(need: Literal, here: Any, value: Value) -> float:
    """Return whether a transfer is needed and its producer is where an option takes it from."""
    return min(1.0 if need is None else value(need), value(here))


def _lower(time: Time) -> int:
    return int(time.lb) if hasattr(time, "lb") else int(time)
