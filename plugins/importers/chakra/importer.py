"""Runs that Chakra's execution traces hold, as operators with their measured seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from attrs import field, frozen

from parplan.contracts import Importer
from parplan.errors import InputError
from parplan.graph import Graph, Kind, Mode, Operator, Repeat, Tensor
from parplan.plugins.importers.chakra.dependencies import Dependencies, dependencies
from parplan.plugins.importers.chakra.events import Event, Run, collective, gather
from parplan.plugins.importers.chakra.nodes import NodeType
from parplan.plugins.importers.chakra.reading import read_ranks
from parplan.plugins.importers.chakra.rings import ring
from parplan.spec.structuring import structure

_PER_SECOND = 10**6


@frozen
class ChakraOptions:
    """How traces become a graph.

    Attributes
    ----------
    devices
        Names of the devices of the ranks, rank 0 first: the work of each rank then stays there.
        Empty: work may run anywhere; that of rank 3 is the module ``rank3``.
    device_kind
        Kind of the devices that were recorded; ``*`` for all.
    control
        Whether control dependencies count beside those of data: they hold the order of the run.
    """

    devices: tuple[str, ...] = ()
    device_kind: str = "*"
    control: bool = False

    def __attrs_post_init__(self) -> None:
        if not self.device_kind:
            raise InputError("is empty; name the kind that was recorded, or '*'", key="device_kind")


class Chakra(Importer):
    """Reads the ``NAME.RANK.et`` (or ``.json``) of all ranks in a folder, or one such file.

    Every piece of work is an operator that runs once per step. A message is a tensor from what made
    it to what reads it, on another rank; a collective of several ranks is one operator on all of
    their devices. Nodes of the host and what takes no device's time only hand on who waits for
    whom.
    """

    name: ClassVar[str] = "chakra"
    options: ClassVar[type] = ChakraOptions

    def load(self, path: Path, options: Mapping[str, Any]) -> Graph:
        """Return the graph of a run; InputError names the file, and the node at fault."""
        chosen = structure(dict(options), ChakraOptions, key="model.options")
        traces = read_ranks(path)
        if chosen.devices and len(chosen.devices) != len(traces):
            raise InputError(
                f"names {len(chosen.devices)} devices for {len(traces)} ranks",
                key="model.options.devices",
            )
        try:
            run = gather(traces)
            waits = dependencies(run, control=chosen.control)
            return _Reader(path.name.partition(".")[0], run, waits, chosen).graph()
        except InputError as error:
            raise error.located(file=str(path)) from None


@frozen
class _Reader:
    """Makes operators and tensors of the events of a run."""

    title: str
    run: Run
    waits: Dependencies
    options: ChakraOptions
    names: Mapping[int, str] = field(init=False)

    @names.default
    def _(self) -> Mapping[int, str]:
        work = [at for at, event in enumerate(self.run.events) if event.is_work]
        return dict(zip(work, _names([self.run.events[at] for at in work]), strict=True))

    def graph(self) -> Graph:
        """Return the graph.

        Raises
        ------
        InputError
            If there is no work, or a collective of ranks whose devices are not named.
        """
        if not self.names:
            raise InputError("has no work: no node that takes the time of a device")
        operators = tuple(self._operator(at) for at in self.names)
        return Graph(self.title, operators, tuple(self._tensors()))

    def _operator(self, at: int) -> Operator:
        event = self.run.events[at]
        node = event.node
        together = node.type is NodeType.COLLECTIVE
        return Operator(
            name=self.names[at],
            kind=Kind.COLLECTIVE if together else Kind.OTHER,
            flops=float(node.amount("num_ops")),
            bytes_touched=float(node.amount("tensor_size")),
            repeat=Repeat.STEP,
            module="" if event.is_joint else f"rank{next(iter(event.parts))}",
            modes=(self._mode(event),),
        )

    def _mode(self, event: Event) -> Mode:
        """Return how an event runs: for as long as on the rank that waited least for the others."""
        took = [node.duration_us for node in event.parts.values() if node.duration_us]
        unknown = not took and (event.node.amount("num_ops") or event.node.amount("tensor_size"))
        seconds = {} if unknown else {self.options.device_kind: min(took, default=0) / _PER_SECOND}
        source = f"Chakra trace {self.title}" if seconds else ""
        if not event.is_joint:
            (rank,) = event.parts
            named = self.options.devices[rank : rank + 1]
            return Mode(
                groups=(named,) if named else (),
                seconds=seconds,
                engines=_engines(event),
                source=source,
            )
        if not self.options.devices:
            raise InputError(
                f"{event.node} is a collective of ranks {', '.join(map(str, event.parts))}: say "
                "which devices they are by the option 'devices'"
            )
        moved = ring(collective(event.node), event.node.amount("comm_size"), len(event.parts))
        return Mode(
            devices=len(event.parts),
            groups=(tuple(self.options.devices[rank] for rank in event.parts),),
            seconds=seconds,
            engines=_engines(event),
            ring_bytes=moved.bytes,
            ring_steps=moved.steps,
            source=source,
        )

    def _tensors(self) -> Iterator[Tensor]:
        """Yield results, messages, and what stands for waiting alone."""
        covered: set[tuple[int, int]] = set()
        made = [*self._results(), *self._messages()]
        for name, maker, readers, size in made:
            covered.update((maker, reader) for reader in readers)
            yield Tensor(name, self.names[maker], tuple(self.names[r] for r in readers), size)
        after: dict[int, list[int]] = {}
        for at in self.names:
            for other in self.waits.last[at]:
                if (other, at) not in covered:
                    after.setdefault(other, []).append(at)
        for maker, readers in after.items():
            name = self.names[maker]
            yield Tensor(f"{name}:done", name, tuple(self.names[r] for r in readers))

    def _results(self) -> Iterator[tuple[str, int, Sequence[int], int]]:
        """Yield results whose bytes are known: name, who made them, who reads them, bytes."""
        readers: dict[int, list[int]] = {}
        for at in self.names:
            for other in self.waits.direct[at]:
                if other in self.names and _reads(self.run.events[at], self.run.events[other]):
                    readers.setdefault(other, []).append(at)
        for maker, found in readers.items():
            size = sum(self.run.events[maker].node.made.values())
            yield self.names[maker], maker, found, size

    def _messages(self) -> Iterator[tuple[str, int, Sequence[int], int]]:
        """Yield messages that have a maker and a reader."""
        behind: dict[int, list[int]] = {}
        for at in self.names:
            for other in self.waits.direct[at]:
                behind.setdefault(other, []).append(at)
        for number, message in enumerate(self.run.messages):
            makers, readers = self.waits.last[message.send], behind.get(message.receive, [])
            if makers and readers and message.bytes:
                yield f"message {number}", makers[-1], readers, message.bytes


def _engines(event: Event) -> tuple[str, ...]:
    """Return what an event holds of its device; a device computes beside collectives."""
    return ("collective",) if event.node.type is NodeType.COLLECTIVE else ("compute",)


def _reads(event: Event, other: Event) -> bool:
    """Return whether work reads a result of other work, as far as both tell."""
    if event.is_joint or other.is_joint or not other.node.made:
        return False
    return not event.node.read or not event.node.read.isdisjoint(other.node.made)


def _names(events: Sequence[Event]) -> list[str]:
    """Return a name for each event: that of its node, with its rank or a number where it recurs."""
    plain = [event.node.name or f"node {event.node.id}" for event in events]
    often = Counter(plain)
    longer = [
        name if often[name] == 1 else f"rank{next(iter(event.parts))}.{name}"
        for name, event in zip(plain, events, strict=True)
    ]
    taken, count = set(longer), Counter[str]()
    found = []
    for name in longer:
        count[name] += 1
        chosen = name
        while count[name] > 1 and chosen in taken:
            chosen = f"{name}-{count[name]}"
            count[name] += chosen in taken
        taken.add(chosen)
        found.append(chosen)
    return found
