"""From the traces of all ranks to events: messages have both ends, collectives all their ranks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from attrs import frozen

from parplan.errors import InputError
from parplan.plugins.importers.chakra.nodes import Collective, Node, NodeType, Trace

WORK = (
    NodeType.MEMORY_LOAD, NodeType.MEMORY_STORE, NodeType.COMPUTE,
    NodeType.SEND, NodeType.RECEIVE, NodeType.COLLECTIVE,
)  # fmt: skip
"""Types that take the time of a device."""

Place: TypeAlias = tuple[int, int]
"""A node: its rank, and its number there."""


@frozen
class Event:
    """What happens once: on one rank, or a collective on several.

    Attributes
    ----------
    parts
        Its node on each rank.
    is_work
        Whether it takes the time of a device; what does not only hands on who waits for whom.
    """

    parts: Mapping[int, Node]
    is_work: bool

    @property
    def node(self) -> Node:
        """Its node on the first of its ranks."""
        return next(iter(self.parts.values()))

    @property
    def is_joint(self) -> bool:
        """Whether it is a collective of several ranks."""
        return len(self.parts) > 1


@frozen
class Message:
    """A message between ranks: the positions of its two ends among the events, and its bytes."""

    send: int
    receive: int
    bytes: int


@frozen
class Run:
    """A run of all ranks.

    Attributes
    ----------
    position
        Where the event of a node stands.
    """

    events: tuple[Event, ...]
    messages: tuple[Message, ...]
    position: Mapping[Place, int]


def gather(traces: Sequence[Trace]) -> Run:
    """Return the events of a run.

    Work of the host counts only in a trace that has none of a device. Messages to and from ranks
    without a trace are left out; messages that do not name both ends are work of their rank.

    Raises
    ------
    InputError
        If a message has only one of its ends, or a collective not all of its ranks.
    """
    joint = {place: group for group in _collectives(traces) for place in group}
    events: list[Event] = []
    position: dict[Place, int] = {}
    for rank, trace in enumerate(traces):
        device = any(node.type in WORK and not node.is_host for node in trace)
        for node in trace:
            if (rank, node.id) in position:
                continue
            group = joint.get((rank, node.id), {(rank, node.id): node})
            position.update(dict.fromkeys(group, len(events)))
            busy = node.type in WORK and not (device and node.is_host) and _ends(node) is None
            events.append(Event({at: part for (at, _), part in group.items()}, busy))
    return Run(tuple(events), tuple(_messages(traces, position)), position)


def _ends(node: Node) -> tuple[int, int] | None:
    """Return the ranks of a message that names them both."""
    ends = node.attributes.get("comm_src"), node.attributes.get("comm_dst")
    is_message = node.type in (NodeType.SEND, NodeType.RECEIVE)
    if is_message and isinstance(ends[0], int) and isinstance(ends[1], int):
        return ends[0], ends[1]
    return None


def _messages(traces: Sequence[Trace], position: Mapping[Place, int]) -> Iterator[Message]:
    """Yield the messages between ranks; those of one tag are received in the order of sending."""
    found: dict[tuple[int, int, int], dict[NodeType, list[Place]]] = defaultdict(
        lambda: {NodeType.SEND: [], NodeType.RECEIVE: []}
    )
    nodes = {(rank, node.id): node for rank, trace in enumerate(traces) for node in trace}
    for (rank, number), node in nodes.items():
        ends = _ends(node)
        if ends is None or not all(0 <= end < len(traces) for end in ends):
            continue
        if rank != ends[0 if node.type is NodeType.SEND else 1]:
            raise InputError(f"{node} of rank {rank} is of a message from {ends[0]} to {ends[1]}")
        found[*ends, node.amount("comm_tag")][node.type].append((rank, number))
    for (source, target, tag), both in found.items():
        sends, receives = both[NodeType.SEND], both[NodeType.RECEIVE]
        if len(sends) != len(receives):
            raise InputError(
                f"rank {source} sends {len(sends)} messages of tag {tag} to rank {target}, which "
                f"receives {len(receives)}"
            )
        for one, other in zip(sends, receives, strict=True):
            size = max(nodes[one].amount("comm_size"), nodes[other].amount("comm_size"))
            yield Message(position[one], position[other], size)


def _collectives(traces: Sequence[Trace]) -> Iterator[dict[Place, Node]]:
    """Yield the nodes of each collective: the first of a group on each of its ranks, and so on."""
    groups: dict[tuple[object, ...], dict[int, list[Node]]] = defaultdict(dict)
    for rank, trace in enumerate(traces):
        device = any(node.type is NodeType.COLLECTIVE and not node.is_host for node in trace)
        for node in trace:
            if node.type is NodeType.COLLECTIVE and not (device and node.is_host):
                group = node.attributes.get("pg_name", ""), collective(node)
                groups[group].setdefault(rank, []).append(node)
    for (name, _), ranks in groups.items():
        counts = {rank: len(nodes) for rank, nodes in ranks.items()}
        if len(set(counts.values())) > 1:
            fewest, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
            one = ranks[most][0]
            raise InputError(
                f"{one} of rank {most} is a collective that rank {most} takes part in "
                f"{counts[most]} times and rank {fewest} {counts[fewest]} times"
                + (f" (group '{name}')" if name else "; it does not name its group (pg_name)")
            )
        for nodes in zip(*ranks.values(), strict=True):
            yield {(rank, node.id): node for rank, node in zip(ranks, nodes, strict=True)}


def collective(node: Node) -> Collective | None:
    """Return what ranks do together in a node; None where it does not tell.

    Raises
    ------
    InputError
        If it is a type that Chakra does not define, or among some dimensions of a topology that
        the trace does not have.
    """
    dimensions = node.attributes.get("involved_dim", ())
    if isinstance(dimensions, tuple) and len(set(dimensions)) > 1:
        raise InputError(
            f"{node} is among the ranks of some dimensions of a topology ({list(dimensions)}), "
            "which a trace does not number; name its group by the attribute pg_name"
        )
    kind = node.attributes.get("comm_type")
    if kind is None:
        return None
    if not isinstance(kind, int) or kind not in Collective.__members__.values():
        raise InputError(f"{node} has comm_type {kind!r}, which Chakra does not define")
    return Collective(kind)
