"""The table that ``nvidia-smi topo -m`` prints: how the GPUs of a node are joined."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import frozen

from parplan.errors import InputError

PCIE_JOINS = ("PIX", "PXB", "PHB", "NODE", "SYS")
"""Ways over PCIe, the nearest first: one bridge, several, a host bridge, a socket, two sockets."""

_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_COLUMN = re.compile(r"GPU\d+|NIC\d+|[a-z]+\d+_(?:bond_)?\d+")
_NVLINK = re.compile(r"NV([1-9]\d*)")


@frozen
class Topology:
    """How the GPUs of one node are joined.

    Attributes
    ----------
    gpus
        Numbers of the GPUs.
    nics
        Names of the network cards.
    joins
        For each ordered pair of GPUs, ``NV`` with a number of NVLinks, or one of `PCIE_JOINS`.
    """

    gpus: tuple[int, ...]
    nics: tuple[str, ...]
    joins: Mapping[tuple[int, int], str]


def nvlinks(join: str) -> int:
    """Return how many NVLinks a join has; 0 of one over PCIe."""
    match = _NVLINK.fullmatch(join)
    return int(match[1]) if match else 0


def parse_topology(text: str) -> Topology:
    """Return what a table says of GPUs and network cards.

    Raises
    ------
    InputError
        With the line: no table, a row that is missing or too short, a join that is not known.
    """
    lines = [_ESCAPE.sub("", line) for line in text.splitlines()]
    start = next((i for i, line in enumerate(lines) if line.split()[:1] == ["GPU0"]), None)
    if start is None:
        raise InputError("has no table of GPUs: is it the output of 'nvidia-smi topo -m'?")
    columns = []
    for word in lines[start].split():
        if not _COLUMN.fullmatch(word):
            break  # affinities follow
        columns.append(word)
    rows: dict[str, dict[str, str]] = {}
    for number, line in enumerate(lines[start + 1 :], start=start + 2):
        label, *cells = line.split() or [""]
        if label in columns:
            if len(cells) < len(columns):
                raise InputError(f"row '{label}' has fewer than {len(columns)} cells", line=number)
            rows[label] = dict(zip(columns, cells, strict=False))
            for column, cell in rows[label].items():
                if cell != "X" and cell not in PCIE_JOINS and not nvlinks(cell):
                    raise InputError(f"'{cell}' of {label} and {column} is no join", line=number)
    names = [column for column in columns if column.startswith("GPU")]
    missing = next((name for name in columns if name not in rows), None)
    if missing is not None:
        raise InputError(f"has no row '{missing}'")
    joins = {(int(a[3:]), int(b[3:])): rows[a][b] for a in names for b in names if a != b}
    odd = next(((a, b) for a, b in joins if joins[a, b] != joins[b, a]), None)
    if odd is not None:
        raise InputError(f"GPU{odd[0]} and GPU{odd[1]} are joined otherwise in the two directions")
    return Topology(
        tuple(int(name[3:]) for name in names),
        tuple(column for column in columns if column not in names),
        joins,
    )
