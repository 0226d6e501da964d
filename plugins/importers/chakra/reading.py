"""Reads Chakra traces: ``.et`` (protocol buffers, each message with its length) and JSON.

The JSON is that of Chakra's feeder (``workload_graph``). Both may be packed with gzip.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any

from parplan.errors import InputError
from parplan.files.atomic import read_bytes
from parplan.files.protobuf_wire import fields, messages, read_varint
from parplan.plugins.importers.chakra.nodes import Node, NodeType, Trace, Value
from parplan.text import plain

MAXIMUM_BYTES = 2**30
"""Of one unpacked trace."""

_FILE = re.compile(r"(?P<prefix>.*?)\.(?P<rank>\d{1,6})\.(?:et|json)(?:\.gz)?")

_TENSOR = re.compile(r"\[\d{1,19}, (\d{1,19}), \d{1,19}, (\d{1,19}), (\d{1,19}), '[^']*'\]")
"""A tensor among the inputs or results of a node, as PyTorch's observer writes it: its number, that
of its storage, offset, elements, bytes of each, device."""


class _Field(IntEnum):
    """Fields of a node."""

    ID = 1
    NAME = 2
    TYPE = 3
    CONTROL = 4
    DATA = 5
    DURATION = 7
    INPUTS = 8
    OUTPUTS = 9
    ATTRIBUTE = 10


_FIELDS = frozenset(_Field)

_NUMBERS = (7, 9, 11, 13, 27)
"""Fields of an attribute that hold a number as it is: (u)int32, (u)int64, bool."""

_TEXT, _BOOLEANS = 29, 28


def read_ranks(path: Path) -> tuple[Trace, ...]:
    """Return the traces of a run by rank: those in a folder, or that of one file alone.

    Raises
    ------
    InputError
        Naming the file: damaged, no trace, without work; a folder without the trace of a rank.
    """
    return tuple(read_trace(file) for file in _files(path))


def _files(path: Path) -> list[Path]:
    """Return the files of all ranks, rank 0 first."""
    if not path.is_dir():
        return [path]
    try:
        inside = sorted(path.iterdir())
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from None
    named = [(match, file) for file in inside if (match := _FILE.fullmatch(file.name))]
    if not named:
        raise InputError(
            "has no traces: they are named NAME.RANK.et or NAME.RANK.json", file=str(path)
        )
    prefixes = sorted({match["prefix"] for match, _ in named})
    if len(prefixes) > 1:
        raise InputError(
            f"has traces of several runs: {', '.join(prefixes)}; give each a folder of its own",
            file=str(path),
        )
    ranks = sorted((int(match["rank"]), file) for match, file in named)
    for expected, (rank, file) in enumerate(ranks):
        if rank != expected:
            raise InputError(
                f"has {file.name}, but no trace of rank {expected}"
                if rank > expected
                else f"has two traces of rank {rank}",
                file=str(path),
            )
    return [file for _, file in ranks]


def read_trace(path: Path) -> Trace:
    """Return the nodes of one file, in its order.

    Raises
    ------
    InputError
        Naming the file: missing, damaged, no Chakra trace, two nodes of one number.
    """
    content = read_bytes(path, MAXIMUM_BYTES)
    is_json = path.name.removesuffix(".gz").endswith(".json")
    try:
        trace = tuple(_json_nodes(content) if is_json else _protobuf_nodes(content))
        _check(trace)
    except InputError as error:
        raise error.located(file=str(path)) from None
    return trace


def _check(trace: Trace) -> None:
    if not trace:
        raise InputError("is a trace without nodes")
    seen: set[int] = set()
    for node in trace:
        if node.id in seen:
            raise InputError(f"has two nodes with the number {node.id}")
        seen.add(node.id)


def _protobuf_nodes(content: bytes) -> Iterator[Node]:
    parts = messages(content)
    head = next(parts, None)
    if head is None or any(field not in (1, 2) for field, _ in fields(head)):
        raise InputError("is no Chakra trace: it does not begin with its version")
    for number, message in enumerate(parts):
        try:
            yield _protobuf_node(message)
        except InputError as error:
            raise InputError(f"is damaged: node at position {number} {error.message}") from None


def _protobuf_node(message: bytes) -> Node:
    numbers: dict[_Field, list[int]] = {field: [] for field in _Field}
    texts: dict[_Field, str] = {}
    attributes: dict[str, Value] = {}
    for number, value in fields(message):
        if number not in _FIELDS:
            continue
        field = _Field(number)
        if isinstance(value, int):
            numbers[field].append(value)
        elif field in (_Field.CONTROL, _Field.DATA):
            numbers[field] += _packed(value)
        elif field is _Field.NAME:
            texts[field] = _text(value)
        elif field in (_Field.INPUTS, _Field.OUTPUTS):
            texts[field] = next((_text(v) for n, v in fields(value) if n == 1), "")
        elif field is _Field.ATTRIBUTE:
            attributes.update(_attribute(value))

    def last(field: _Field) -> int:
        return numbers[field][-1] if numbers[field] else 0

    return Node(
        id=last(_Field.ID),
        name=plain(texts.get(_Field.NAME, "")),
        type=_type(last(_Field.TYPE)),
        control=tuple(numbers[_Field.CONTROL]),
        data=tuple(numbers[_Field.DATA]),
        duration_us=last(_Field.DURATION),
        read=frozenset(_storages(texts.get(_Field.INPUTS, ""))),
        made=_storages(texts.get(_Field.OUTPUTS, "")),
        attributes=attributes,
    )


def _packed(value: bytes) -> list[int]:
    """Return the numbers of a repeated field, one behind another."""
    found, at = [], 0
    while at < len(value):
        number, at = read_varint(value, at)
        found.append(number)
    return found


def _attribute(message: bytes) -> dict[str, Value]:
    """Return the name and value of an attribute; nothing for types that no reader here asks for."""
    name = ""
    found: Value | None = None
    for number, value in fields(message):
        if number == 1:
            name = _text(value)
        elif number in _NUMBERS and isinstance(value, int):
            found = value - 2**64 if value >= 2**63 else value
        elif number == _TEXT:
            found = _text(value)
        elif number == _BOOLEANS and isinstance(value, bytes):
            found = tuple(
                bit
                for _, held in fields(value)
                for bit in (_packed(held) if isinstance(held, bytes) else [held])
            )
    return {} if found is None else {name: found}


def _text(value: int | bytes) -> str:
    if isinstance(value, int):
        raise InputError("has a number where a text belongs")
    return value.decode("utf-8", "replace")


def _type(number: int) -> NodeType:
    if number not in NodeType.__members__.values():
        raise InputError(f"has the type {number}, which Chakra does not define")
    return NodeType(number)


def _storages(values: str) -> dict[int, int]:
    """Return the storages of the tensors among inputs or results, with their bytes."""
    found: dict[int, int] = {}
    for storage, elements, size in _TENSOR.findall(values):
        found[int(storage)] = max(found.get(int(storage), 0), int(elements) * int(size))
    return found


def _json_nodes(content: bytes) -> Iterator[Node]:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no JSON, or a truncated one: {error}") from None
    if isinstance(data, dict) and "nodes" in data and "schema" in data:
        raise InputError(
            "is what PyTorch's observer wrote, which has no durations: join it with the profile "
            "by Chakra's chakra_trace_link and chakra_converter, and give the .et file"
        )
    rows = data.get("workload_graph") if isinstance(data, dict) else None
    if not isinstance(rows, list):
        raise InputError("is no Chakra trace: it has no list 'workload_graph'")
    for position, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InputError(f"node at position {position} is no mapping")
        try:
            yield _json_node(row)
        except InputError as error:
            raise InputError(f"node at position {position} {error.message}") from None


def _json_node(row: Mapping[str, Any]) -> Node:
    return Node(
        id=_number(row, "Id"),
        name=plain(str(row.get("Name", ""))),
        type=_type(_number(row, "NodeType")),
        control=_numbers(row, "ctrlDeps"),
        data=_numbers(row, "data_deps"),
        duration_us=_number(row, "runtime", 0),
        attributes={
            name: value
            for name, value in row.items()
            if isinstance(value, int | str) and name not in ("Id", "Name", "NodeType", "runtime")
        },
    )


def _number(row: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = row.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InputError(f"has {key} {value!r}, which is no number from 0")
    return value


def _numbers(row: Mapping[str, Any], key: str) -> tuple[int, ...]:
    values = row.get(key, [])
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise InputError(f"has {key} that is no list of numbers")
    return tuple(values)
