"""Chakra's trace files: messages of protocol buffers, each with its length before it.

Numbers of fields and attributes: ``schema/protobuf/et_def.proto`` (Chakra 21585d8); the attributes
of messages are those that its feeder reads (``src/feeder/et_feeder_node.cpp``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from enum import IntEnum

from parplan.errors import InputError
from parplan.files.protobuf_wire import bytes_field, delimited, fields, messages, number_field
from parplan.plugins.exporters.chakra.nodes import Message, Node, NodeType, Trace
from parplan.text import plain

VERSION = "0.0.4"


class _Field(IntEnum):
    """Fields of a node."""

    ID = 1
    NAME = 2
    TYPE = 3
    CONTROL = 4
    DATA = 5
    START = 6
    DURATION = 7
    ATTRIBUTE = 10


_INT32, _INT64, _BOOL = 7, 9, 27
_MESSAGE_ATTRIBUTES = {
    "comm_src": _INT32, "comm_dst": _INT32, "comm_tag": _INT32, "comm_size": _INT64,
}  # fmt: skip


def trace_bytes(trace: Trace) -> bytes:
    """Return the file of a trace."""
    head = delimited(bytes_field(1, VERSION.encode()))
    return head + b"".join(delimited(_node(node)) for node in trace)


def _node(node: Node) -> bytes:
    found = [
        number_field(_Field.ID, node.id),
        bytes_field(_Field.NAME, plain(node.name).encode(errors="replace")),
        number_field(_Field.TYPE, node.type),
        *(number_field(_Field.CONTROL, other) for other in node.after),
        *(number_field(_Field.DATA, other) for other in node.reads),
        number_field(_Field.START, node.start_us),
        number_field(_Field.DURATION, node.duration_us),
        _attribute("is_cpu_op", _BOOL, 0),
    ]
    if node.message is not None:
        sent = node.message
        values = (sent.source, sent.target, sent.tag, sent.bytes)
        for (name, kind), value in zip(_MESSAGE_ATTRIBUTES.items(), values, strict=True):
            found.append(_attribute(name, kind, value))
    return b"".join(found)


def _attribute(name: str, kind: int, value: int) -> bytes:
    return bytes_field(_Field.ATTRIBUTE, bytes_field(1, name.encode()) + number_field(kind, value))


def read_trace(data: bytes) -> Trace:
    """Return the nodes in a file that `trace_bytes` wrote.

    Raises
    ------
    InputError
        If the file is damaged, or has what a plan's trace does not.
    """
    found = list(messages(data))
    if not found or [field for field, _ in fields(found[0])] != [1]:
        raise InputError("has no version: is it a Chakra trace?")
    return tuple(_read_node(message) for message in found[1:])


def _read_node(message: bytes) -> Node:
    numbers: dict[int, list[int]] = {field: [] for field in _Field}
    attributes: dict[str, int] = {}
    name = ""
    for field, value in fields(message):
        if field == _Field.NAME and isinstance(value, bytes):
            name = value.decode()
        elif field == _Field.ATTRIBUTE and isinstance(value, bytes):
            (_, key), (_, held) = fields(value)
            if isinstance(key, bytes) and isinstance(held, int):
                attributes[key.decode()] = held
        elif field in numbers and isinstance(value, int):
            numbers[field].append(value)
        else:
            raise InputError(f"a node has the field {field}, which a plan's trace does not")
    return Node(
        numbers[_Field.ID][0],
        name,
        NodeType(numbers[_Field.TYPE][0]),
        tuple(numbers[_Field.CONTROL]),
        tuple(numbers[_Field.DATA]),
        numbers[_Field.START][0],
        numbers[_Field.DURATION][0],
        _message(attributes),
    )


def _message(attributes: Mapping[str, int]) -> Message | None:
    values = [attributes[name] for name in _MESSAGE_ATTRIBUTES if name in attributes]
    return Message(*values) if values else None


def check_traces(traces: Sequence[Trace]) -> None:
    """Raise InputError if a replay of traces, one for each rank, would fail or never end."""
    nodes = {node.id: node for trace in traces for node in trace}
    if len(nodes) != sum(map(len, traces)):
        raise InputError("two nodes have one number")
    sends: dict[Message, int] = {}
    receives: dict[Message, int] = {}
    for rank, trace in enumerate(traces):
        own = {node.id for node in trace}
        for node in trace:
            if not own.issuperset((*node.after, *node.reads)):
                raise InputError(f"'{node.name}' waits for a node of another trace")
            if node.message is None:
                continue
            sent, is_send = node.message, node.type is NodeType.SEND
            if rank != (sent.source if is_send else sent.target):
                raise InputError(f"'{node.name}' is in the trace of another rank")
            known = sends if is_send else receives
            if sent in known:
                raise InputError(f"'{node.name}' cannot be told from another message")
            known[sent] = node.id
    if sends.keys() != receives.keys():
        raise InputError("a message is sent and not received, or received and not sent")
    waits = {node.id: {*node.after, *node.reads} for node in nodes.values()}
    for sent, receive in receives.items():
        waits[receive].add(sends[sent])
    _check_progress(waits)


def _check_progress(waits: Mapping[int, set[int]]) -> None:
    followers: dict[int, list[int]] = {node: [] for node in waits}
    left = {node: len(before) for node, before in waits.items()}
    for node, before in waits.items():
        for one in before:
            followers[one].append(node)
    ready = deque(node for node, count in left.items() if count == 0)
    done = 0
    while ready:
        done += 1
        for node in followers[ready.popleft()]:
            left[node] -= 1
            if left[node] == 0:
                ready.append(node)
    if done < len(waits):
        raise InputError("nodes wait for one another in a circle")
