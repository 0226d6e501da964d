"""Offload: what forward passes keep goes to a host's memory, and comes back before it is needed.

The copies are transfers over the cluster's own links, so they take its bandwidth, wait for each
other, and fill the host's memory, by the rules that hold for every transfer and tensor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import attrs
from attrs import field, frozen

from parplan.contracts import Strategy
from parplan.errors import InputError
from parplan.graph import Graph, Kind, Mode, Operator, Repeat, Tensor
from parplan.hardware import Cluster
from parplan.patterns import all_matching, matching_devices
from parplan.recomputing import KEEP, is_variant, variant
from parplan.saved_tensors import BACKWARD, saved_tensors

OFFLOAD = "offload"


def _at_least_one(_: Any, __: Any, value: int) -> None:
    if value < 1:
        raise InputError(f"ahead is {value}; at least 1, so that something holds a fetch back")


@frozen
class Offload(Strategy):
    """Gives forward operators with saved tensors, and their backward passes, two modes.

    In mode ``keep`` all is as before. In mode ``offload`` the saved tensors are read by an operator
    on a host that takes no time (``:park``), and the backward operators read them from a second one
    (``:fetch``). What moves between device and host are transfers like any other. A fetch is held
    back until some backward operator further on has ended, or it would fill memory at once.

    Attributes
    ----------
    blocks
        Names or patterns of the forward operators (or their modules) that get the choice.
    hosts
        Names or patterns of the devices that tensors may go to; empty: all without the engine
        ``compute``.
    ahead
        How many backward operators before its own a fetch waits for. Forward operators whose
        backward pass has fewer before it get no choice: they keep what they need soon.
    """

    name: ClassVar[str] = "offload"

    blocks: tuple[str, ...] = ("*",)
    hosts: tuple[str, ...] = ()
    ahead: int = field(default=2, validator=_at_least_one)

    def apply(self, graph: Graph, problem_hint: Mapping[str, Any]) -> Graph:
        """Return the graph with both modes, and the operators on hosts.

        Raises
        ------
        InputError
            If the cluster has no host, or no operator in ``blocks`` saves anything for a backward
            pass that is far enough away.
        """
        hosts = self._hosts(problem_hint["cluster"])
        meant = set(all_matching(self.blocks, graph.operators, key="blocks"))
        position = {o: i for i, o in enumerate(graph.topological_order)}
        found = [
            stay
            for o, operator in enumerate(graph.operators)
            if operator.kind is Kind.FORWARD
            and operator.repeat is Repeat.MICROBATCH
            and operator.name in meant
            for stay in (_stay(graph, o, self.ahead, position),)
            if stay is not None
        ]
        if not found:
            raise InputError(
                f"no operator of {', '.join(self.blocks)} has saved tensors (which only backward "
                f"operators read) whose readers come {self.ahead} backward operators or more after "
                "the first; where 'recompute' is a strategy too, it comes before 'offload'"
            )
        return _offloading(graph, found, hosts)

    def _hosts(self, cluster: Cluster) -> tuple[str, ...]:
        if self.hosts:
            named = [name for p in self.hosts for name in matching_devices(p, cluster, key="hosts")]
            return tuple(dict.fromkeys(named))
        found = tuple(d.name for d in cluster.devices if "compute" not in d.engines)
        if not found:
            raise InputError(
                "no device can be the host: all have the engine 'compute'; add one with "
                "'engines: {}' to cluster.devices, and links to it"
            )
        return found


@frozen
class _Stay:
    """Saved tensors that may stay on a host.

    Attributes
    ----------
    forward
        The operator that makes them.
    tensors
        Their indices.
    readers
        The backward operators that read them.
    held_back_by
        The backward operator that has to end before they come back.
    """

    forward: int
    tensors: tuple[int, ...]
    readers: tuple[int, ...]
    held_back_by: int

    def park(self, graph: Graph) -> str:
        """Return the name of the operator that takes them in."""
        return f"{graph.operators[self.forward].name}:park"

    def fetch(self, graph: Graph) -> str:
        """Return the name of the operator that gives them back."""
        return f"{graph.operators[self.forward].name}:fetch"


def _stay(graph: Graph, forward: int, ahead: int, position: Mapping[int, int]) -> _Stay | None:
    """Return what an operator may leave on a host; None if nothing, or not for long enough."""
    tensors = saved_tensors(graph, forward)
    readers = sorted({r for t in tensors for r in graph.consumers[t]}, key=position.__getitem__)
    if not readers:
        return None
    before = readers[0]
    for _ in range(ahead):
        makers = {graph.producers[t] for t in graph.inputs[before]}
        earlier = [m for m in makers if graph.operators[m].kind in BACKWARD]
        if not earlier:
            return None
        before = max(earlier, key=position.__getitem__)
    return _Stay(forward, tensors, tuple(readers), before)


def _offloading(graph: Graph, stays: Sequence[_Stay], hosts: tuple[str, ...]) -> Graph:
    """Return the graph with the operators, tensors and modes of all stays."""
    moved = {graph.tensors[t].name for stay in stays for t in stay.tensors}
    operators = list(graph.operators)
    for stay in stays:
        operators[stay.forward] = _with_modes(graph, stay)
    for o in dict.fromkeys(o for stay in stays for o in stay.readers):
        operators[o] = _reading(graph, o, moved)
    added: list[Tensor] = []
    signalled: dict[int, list[str]] = {}
    for stay in stays:
        park, fetch, signal = stay.park(graph), stay.fetch(graph), _signal(stay, graph)
        for spec in (graph.tensors[t] for t in stay.tensors):
            added.append(Tensor(_leaving(spec.name), spec.producer, (park,), spec.bytes))
            added.append(Tensor(_parked(spec.name), park, (fetch,), spec.bytes))
            added.append(Tensor(_fetched(spec.name), fetch, spec.consumers, spec.bytes))
        maker = graph.operators[stay.held_back_by].name
        added.append(Tensor(signal, maker, (fetch,), 0))
        signalled.setdefault(stay.held_back_by, []).append(signal)
        operators += _on_hosts(graph, stay, hosts)
    for o, signals in signalled.items():
        operators[o] = _writing(operators[o], signals)
    return attrs.evolve(graph, operators=tuple(operators), tensors=(*graph.tensors, *added))


def _leaving(name: str) -> str:
    return f"{name} leaving"


def _parked(name: str) -> str:
    return f"{name} parked"


def _fetched(name: str) -> str:
    return f"{name} fetched"


def _signal(stay: _Stay, graph: Graph) -> str:
    return f"{stay.fetch(graph)} now"


def _on_hosts(graph: Graph, stay: _Stay, hosts: tuple[str, ...]) -> list[Operator]:
    """Return the operator that takes tensors in, and the one that gives them back."""
    forward, reader = graph.operators[stay.forward], graph.operators[stay.readers[0]]
    saved = [graph.tensors[t] for t in stay.tensors]
    idle = Mode(
        KEEP,
        groups=tuple((host,) for host in hosts),
        seconds={"*": 0.0},
        reads=(),
        writes={},
        engines=(),
        source="a copy takes the time of its transfers",
    )
    parked = {_parked(t.name): t.bytes for t in saved}
    fetched = {_fetched(t.name): t.bytes for t in saved}
    taking = attrs.evolve(
        idle, name=OFFLOAD, reads=tuple(_leaving(t.name) for t in saved), writes=parked
    )
    giving = attrs.evolve(idle, name=OFFLOAD, reads=(*parked, _signal(stay, graph)), writes=fetched)
    return [
        Operator(stay.park(graph), Kind.FORWARD, module=forward.module, modes=(idle, taking)),
        Operator(stay.fetch(graph), reader.kind, module=forward.module, modes=(idle, giving)),
    ]


def _with_modes(graph: Graph, stay: _Stay) -> Operator:
    """Return a forward operator that either keeps its saved tensors or lets them leave.

    Modes that do not write these tensors in full, such as shards, stay as they are.
    """
    operator = graph.operators[stay.forward]
    outputs = {graph.tensors[t].name: graph.tensors[t].bytes for t in graph.outputs[stay.forward]}
    saved = {graph.tensors[t].name: graph.tensors[t].bytes for t in stay.tensors}
    leaving = {_leaving(name): size for name, size in saved.items()}
    modes: list[Mode] = []
    for mode in operator.modes or (Mode(),):
        sizes = outputs if mode.writes is None else mode.writes
        keep, offload = _names(mode)
        if mode.devices == 1 and saved.items() <= sizes.items():
            left = {name: size for name, size in sizes.items() if name not in saved} | leaving
            modes.append(attrs.evolve(mode, name=keep, writes=sizes))
            modes.append(attrs.evolve(mode, name=offload, writes=left))
        else:
            modes.append(attrs.evolve(mode, writes=sizes))
    return attrs.evolve(operator, modes=tuple(modes))


def _reading(graph: Graph, o: int, moved: Iterable[str]) -> Operator:
    """Return a backward operator that reads what it needs from where it is."""
    operator = graph.operators[o]
    elsewhere = {name: _fetched(name) for name in moved}
    modes: list[Mode] = []
    for mode in operator.modes or (Mode(),):
        reads = mode.reads
        if reads is None:
            reads = tuple(graph.tensors[t].name for t in graph.inputs[o])
        mode = attrs.evolve(mode, reads=reads)
        if mode.devices == 1 and not elsewhere.keys().isdisjoint(reads):
            keep, offload = _names(mode)
            fetched = tuple(elsewhere.get(name, name) for name in reads)
            modes.append(attrs.evolve(mode, name=keep))
            modes.append(attrs.evolve(mode, name=offload, reads=fetched))
        else:
            modes.append(mode)
    return attrs.evolve(operator, modes=tuple(modes))


def _names(mode: Mode) -> tuple[str, str]:
    """Return the names of a mode's two variants."""
    if is_variant(mode, KEEP):
        return mode.name, mode.name.removesuffix(KEEP) + OFFLOAD
    return variant(mode.name, KEEP), variant(mode.name, OFFLOAD)


def _writing(operator: Operator, names: Sequence[str]) -> Operator:
    """Return an operator all of whose modes write these tensors without bytes, too."""
    modes = tuple(
        mode
        if mode.writes is None
        else attrs.evolve(mode, writes={**mode.writes, **dict.fromkeys(names, 0)})
        for mode in operator.modes
    )
    return attrs.evolve(operator, modes=modes)
