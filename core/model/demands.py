"""From what a rule declares to intervals with heights: one function per kind of demand.

Each demand gives ``Use`` records, which are cheap and touch nothing; the interval behind a use, and
with it variables of transfers and lifetimes, is made only if its resource can run out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial

from attrs import frozen

from parplan.declarations import (
    Demand,
    Edge,
    Held,
    Moving,
    Receiving,
    Resident,
    ResidentParameters,
    Running,
    Sending,
)
from parplan.model.blocks import RuleBlock
from parplan.model.choices import Key
from parplan.model.lifetimes import Lifetimes
from parplan.model.tasks import Task
from parplan.model.terms import Interval, Literal, Time, instant
from parplan.model.transfers import Possible, TransferKey, Transport


@frozen(eq=False)
class Use:
    """A height over an interval that is still to be made.

    Uses of one ``owner`` in different ways exclude each other; in the same way they add up, and a
    way of None adds to all. ``fixed`` ones are there at all times.
    """

    owner: tuple[object, ...]
    way: object
    height: float
    make: Callable[[], Interval]
    fixed: bool = False


class Demands:
    """Finds the uses of every demand; tasks and transfers are indexed once by device and link."""

    def __init__(self, transport: Transport, lifetimes: Lifetimes, block: RuleBlock) -> None:
        self.transport, self.lifetimes, self.block = transport, lifetimes, block
        self.choices, self.problem = transport.choices, transport.problem
        self.clock = transport.clock

    def uses(self, demand: Demand) -> Iterator[Use]:
        """Yield what a demand may use, without making anything."""
        table: dict[type, Callable[..., Iterator[Use]]] = {
            Running: self._running,
            Moving: self._moving,
            Sending: self._at_an_end,
            Receiving: self._at_an_end,
            Resident: self._resident,
            ResidentParameters: self._parameters,
            Held: self._held,
        }
        return table[type(demand)](demand)

    # -- indices -------------------------------------------------------------------------------

    @cached_property
    def _tasks_on(self) -> dict[int, list[tuple[Task, int]]]:
        """(task, alternative) by device."""
        found: dict[int, list[tuple[Task, int]]] = {}
        for task in self.transport.tasks.values():
            for a in task.sizes:
                for d in self.choices.alternative(task.operator, a).devices:
                    found.setdefault(d, []).append((task, a))
        return found

    @cached_property
    def _collectives_on(self) -> dict[int, list[tuple[Task, int]]]:
        """(task, alternative) by the link that its ring holds."""
        found: dict[int, list[tuple[Task, int]]] = {}
        for task in self.transport.tasks.values():
            for a in task.sizes:
                alternative = self.choices.alternative(task.operator, a)
                for link in self.problem.collective_links(task.operator, alternative):
                    found.setdefault(link, []).append((task, a))
        return found

    @cached_property
    def _moves_on(self) -> dict[int, list[tuple[Possible, int, int, int]]]:
        """(transfer, option, offset, length) by link, in model ticks; none of length zero."""
        found: dict[int, list[tuple[Possible, int, int, int]]] = {}
        for possible in self.transport.possible.values():
            for i, option in enumerate(possible.options):
                for hold in option.timing.holds:
                    offset, length = self.clock.hold(hold.offset, hold.ticks)
                    if length:
                        found.setdefault(hold.link, []).append((possible, i, offset, length))
        return found

    @cached_property
    def _moves_at(self) -> dict[tuple[int, bool], list[tuple[Possible, int, int, int]]]:
        """The same by (device, whether it sends): held until no link is held."""
        found: dict[tuple[int, bool], list[tuple[Possible, int, int, int]]] = {}
        for possible in self.transport.possible.values():
            for i, option in enumerate(possible.options):
                length = self.clock.ticks(option.timing.occupied)
                if length:
                    found.setdefault((option.source, True), []).append((possible, i, 0, length))
                    found.setdefault((possible.key[2], False), []).append((possible, i, 0, length))
        return found

    # -- tasks ---------------------------------------------------------------------------------

    def _running(self, demand: Running) -> Iterator[Use]:
        for task, a in self._tasks_on.get(self.problem.cluster.device_index[demand.device], ()):
            if task.sizes[a]:
                height = self._running_height(demand, task.operator, a)
                if height:
                    owner = ("task", task.operator, task.microbatch)
                    yield Use(owner, a, height, partial(task.alternative, a))

    def _running_height(self, demand: Running, o: int, a: int) -> float:
        operator = self.problem.graph.operators[o]
        mode = operator.modes[self.choices.alternative(o, a).mode]
        if (
            (demand.engine is not None and demand.engine not in mode.engines)
            or (demand.operators is not None and operator.name not in demand.operators)
            or (demand.modes is not None and mode.name not in demand.modes)
        ):
            return 0.0
        amount = demand.amount
        each = amount if isinstance(amount, int | float) else amount.get(operator.name, 0.0)
        return each * mode.workspace_bytes if demand.per_workspace_byte else each

    def _held(self, demand: Held) -> Iterator[Use]:
        index = self.problem.graph.operator_index
        one, two = index[demand.from_operator], index[demand.to_operator]
        for m in self.problem.microbatches_of(one) if demand.amount else ():
            first = self.transport.tasks[one, m]
            presence: Literal = None
            if demand.device is not None:
                device = self.problem.cluster.device_index[demand.device]
                rows = self.choices.on_device(first.key, device)
                if not rows:
                    continue
                presence = self.choices.any_of(first.key, rows)
            for k in self.problem.reading_tasks(two, m):
                last = self.transport.tasks[two, k]
                make = partial(self._hold, demand, first, last, presence)
                yield Use(("held", one, m, two, k), None, demand.amount, make)

    def _hold(self, demand: Held, first: Task, last: Task, presence: Literal) -> Interval:
        start, end = edge(first, demand.from_edge), edge(last, demand.to_edge)
        name = f"{first.name} until {last.name}"
        if first is last:
            if demand.from_edge is Edge.END:
                return Interval(name, start, start, 0, presence)
            return Interval(name, start, end, first.interval.size, presence)
        # Nothing says that ``last`` comes later; if it comes first, nothing is held.
        until = self.block.time(
            f"{name} until",
            0,
            self.transport.horizon,
            lambda value: max(value(start), value(end)),
        )
        for time in (start, end):
            self.block.before(instant(name, time), instant(name, until, presence))
        return Interval(name, start, until, None, presence)

    # -- transfers -----------------------------------------------------------------------------

    def _moving(self, demand: Moving) -> Iterator[Use]:
        link = self.problem.cluster.link_index[demand.link]
        yield from self._moves(self._moves_on.get(link, ()), demand.amount, demand.tensors)
        if demand.tensors is None and demand.amount:
            for task, a in self._collectives_on.get(link, ()):
                if task.sizes[a]:
                    owner = ("task", task.operator, task.microbatch)
                    yield Use(owner, a, demand.amount, partial(task.alternative, a))

    def _at_an_end(self, demand: Sending | Receiving) -> Iterator[Use]:
        device = self.problem.cluster.device_index[demand.device]
        moves = self._moves_at.get((device, isinstance(demand, Sending)), ())
        yield from self._moves(moves, demand.amount, None)

    def _moves(
        self,
        moves: list[tuple[Possible, int, int, int]] | tuple[()],
        amount: float,
        tensors: frozenset[str] | None,
    ) -> Iterator[Use]:
        """Yield one use per transfer where all its options hold alike, else one per option."""
        alike: dict[tuple[TransferKey, int, int], list[int]] = {}
        for possible, i, offset, length in moves if amount else ():
            if tensors is None or self.problem.graph.tensors[possible.key[0]].name in tensors:
                alike.setdefault((possible.key, offset, length), []).append(i)
        for (key, offset, length), chosen in alike.items():
            whole = len(chosen) == len(self.transport.possible[key].options)
            for i in chosen[:1] if whole else chosen:
                make = partial(self._move, key, None if whole else i, offset, length)
                yield Use(("transfer", *key), None if whole else i, amount, make)

    def _move(self, key: TransferKey, option: int | None, offset: int, length: int) -> Interval:
        transfer = self.transport.make(key)
        if option is not None:
            return self.transport.holding(transfer, option, offset, length)
        start = transfer.start + offset if offset else transfer.start
        return Interval(transfer.name, start, start + length, length, transfer.presence)

    # -- memory --------------------------------------------------------------------------------

    def _resident(self, demand: Resident) -> Iterator[Use]:
        device = self.problem.cluster.device_index[demand.device]
        tensors = self.problem.graph.tensors
        for t, tensor in enumerate(tensors if demand.amount else ()):
            if demand.tensors is None or tensor.name in demand.tensors:
                for m in self.problem.microbatches_of(self.problem.graph.producers[t]):
                    yield from self._living((t, m, device), demand.amount)

    def _living(self, key: TransferKey, amount: float) -> Iterator[Use]:
        tensor, microbatch, device = key
        owner = ("tensor", *key)
        writer = (
            self.problem.graph.producers[tensor],
            self.problem.workload.group(microbatch),
        )
        sizes: dict[int, list[int]] = {}
        for a in self.choices.on_device(writer, device):
            mode = self.choices.alternative(writer[0], a).mode
            size = self.problem.tensor_bytes(tensor, mode, microbatch)
            if size:
                sizes.setdefault(size, []).append(a)
        for size, rows in sizes.items():
            make = partial(self.lifetimes.produced, key, tuple(rows))
            yield Use(owner, ("made", size), size * amount, make)
        possible = self.transport.possible.get(key)
        arriving: dict[int, list[int]] = {}
        for i, option in enumerate(possible.options if possible else ()):
            if option.bytes:
                arriving.setdefault(option.bytes, []).append(i)
        for size, chosen in arriving.items():
            assert possible is not None  # arriving is empty without it
            whole = len(chosen) == len(possible.options)
            for i in chosen[:1] if whole else chosen:
                make = partial(self._arrived, key, None if whole else i)
                yield Use(owner, ("sent", i), size * amount, make)

    def _arrived(self, key: TransferKey, option: int | None) -> Interval:
        transfer = self.transport.make(key)
        literal = transfer.presence if option is None else transfer.literals[option]
        return self.lifetimes.received(transfer, literal)

    def _parameters(self, demand: ResidentParameters) -> Iterator[Use]:
        """Yield one layer per distinct size; those up to the largest reader's add to its size."""
        device = self.problem.cluster.device_index[demand.device]
        for group, readers in self._parameters_on.get(device, {}).items():
            name = self.problem.graph.parameters[group].name
            if not demand.amount or (demand.groups is not None and name not in demand.groups):
                continue
            below = 0
            for size in sorted({size for _, _, size in readers if size}):
                least: dict[Key, list[int]] = {}
                for key, a, bytes_ in readers:
                    if bytes_ >= size:
                        least.setdefault(key, []).append(a)
                always = any(len(rows) == len(self.choices.rows[k]) for k, rows in least.items())
                make = partial(self._layer, f"{name}>={size} on {demand.device}", least)
                owner = ("parameters", device, group)
                yield Use(owner, None, (size - below) * demand.amount, make, always)
                below = size

    @cached_property
    def _parameters_on(self) -> dict[int, dict[int, list[tuple[Key, int, int]]]]:
        """(operator and group, alternative, bytes) by device and parameter group."""
        graph = self.problem.graph
        found: dict[int, dict[int, list[tuple[Key, int, int]]]] = {}
        for key, rows in self.choices.rows.items():
            if not graph.operators[key[0]].parameters:
                continue
            for a in rows:
                alternative = self.choices.alternative(key[0], a)
                sizes = graph.parameter_bytes(key[0], alternative.mode)
                for d in alternative.devices:
                    for group, size in sizes.items():
                        found.setdefault(d, {}).setdefault(group, []).append((key, a, size))
        return found

    @cached_property
    def _layers(self) -> dict[str, Literal]:
        return {}

    def _layer(self, name: str, readers: dict[Key, list[int]]) -> Interval:
        """Return the whole horizon, present if any reader takes at least that size."""
        if name not in self._layers:
            literals = [self.choices.any_of(key, rows) for key, rows in readers.items()]
            if any(literal is None for literal in literals):
                self._layers[name] = None
            elif len(literals) == 1:
                self._layers[name] = literals[0]
            else:
                self._layers[name] = self.block.binary(
                    name, lambda value: max(map(value, literals))
                )
                for literal in literals:
                    self.block.row(self._layers[name] >= literal)
        horizon = self.transport.horizon
        return Interval(name, 0, horizon, horizon, self._layers[name])


def edge(task: Task, which: Edge) -> Time:
    """Return a task's start or end."""
    return task.start if which is Edge.START else task.end
