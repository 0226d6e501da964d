"""The GPUs that ``nvidia-smi`` names, as a list (``-L``) or as CSV (``--query-gpu``)."""

from __future__ import annotations

import csv
import io
import re

from attrs import frozen

from parplan.errors import InputError

QUERY = "index,name,memory.total,pcie.link.gen.max,pcie.link.width.max"
"""What to ask ``nvidia-smi --query-gpu`` for; the first two are needed."""

_LISTED = re.compile(r"GPU (\d+): (.+?)(?: \(UUID: [^)]*\))?")
_MEBIBYTE = 2**20


@frozen
class Gpu:
    """One GPU of a node.

    Attributes
    ----------
    name
        As the driver reports it, e.g. ``NVIDIA H100 80GB HBM3``.
    memory_bytes, pcie_generation, pcie_lanes
        None where it was not asked for.
    """

    index: int
    name: str
    memory_bytes: int | None = None
    pcie_generation: int | None = None
    pcie_lanes: int | None = None


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """Return the GPUs of either form, by index.

    Raises
    ------
    InputError
        If the text is of neither form, or names a GPU twice.
    """
    listed = [_LISTED.fullmatch(line.strip()) for line in text.splitlines()]
    found = [Gpu(int(match[1]), match[2]) for match in listed if match]
    if not found:
        found = _from_csv(text)
    numbers = [gpu.index for gpu in found]
    if len(set(numbers)) < len(numbers):
        raise InputError("names a GPU twice: give the output of one node")
    return tuple(sorted(found, key=lambda gpu: gpu.index))


def _from_csv(text: str) -> list[Gpu]:
    rows = [row for row in csv.reader(io.StringIO(text), skipinitialspace=True) if row]
    head = [cell.partition(" [")[0].strip() for cell in rows[0]] if rows else []
    if not {"index", "name"} <= set(head):
        raise InputError(
            "names no GPU: give the output of 'nvidia-smi -L', or of 'nvidia-smi "
            f"--query-gpu={QUERY} --format=csv'"
        )
    found = []
    for number, row in enumerate(rows[1:], start=2):
        cells = dict(zip(head, (cell.strip() for cell in row), strict=False))
        index = _whole(cells.get("index", ""))
        if index is None or not cells.get("name"):
            raise InputError("has no index and name", line=number)
        memory = _whole(cells.get("memory.total", ""))
        found.append(
            Gpu(
                index,
                cells["name"],
                None if memory is None else memory * _MEBIBYTE,
                _whole(cells.get("pcie.link.gen.max", "")),
                _whole(cells.get("pcie.link.width.max", "")),
            )
        )
    return found


def _whole(text: str) -> int | None:
    """Return the number that a cell begins with; None of ``[N/A]`` and the like."""
    match = re.match(r"\d+", text)
    return int(match[0]) if match else None
