"""Columns of whole numbers, and lists of names, as short data that a script reads quickly."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

BITS = 7
"""Bits of a number in each byte; the eighth says that more follow (LEB128)."""


def packed(column: Ints | list[int]) -> str:
    """Return a column as base64; ``columns.js`` reads it.

    First value and differences are folded, so that small ones of either sign are small, and
    written as bytes of seven bits, the lowest first. Values must be exact as floating point
    numbers, which is what a script counts with: below 2**53.

    >>> packed([1, 2, 3])
    'AgIC'
    """
    values = np.asarray(column, dtype=np.int64)
    delta = np.diff(values, prepend=np.int64(0))
    folded = ((delta << 1) ^ (delta >> 63)).astype(np.uint64)
    most = int(folded.max(initial=0)).bit_length()
    width = max(1, -(-most // BITS))
    shifts = np.arange(width, dtype=np.uint64) * np.uint64(BITS)
    rest = folded[:, None] >> shifts  # what is left from each byte on
    there = rest > 0
    there[:, 0] = True
    digits = (rest & np.uint64(127)).astype(np.uint8)
    digits[:, :-1] |= there[:, 1:].astype(np.uint8) << BITS
    return base64.b64encode(digits[there].tobytes()).decode()


def unpacked(text: str) -> Ints:
    """Return the column that ``packed`` made text of."""
    digits = np.frombuffer(base64.b64decode(text), dtype=np.uint8).astype(np.uint64)
    if not len(digits):
        return np.zeros(0, dtype=np.int64)
    last = np.flatnonzero(digits < 128)
    first = np.concatenate(([0], last[:-1] + 1))
    place = np.arange(len(digits)) - np.repeat(first, last - first + 1)
    shifted = (digits & np.uint64(127)) << (place.astype(np.uint64) * np.uint64(BITS))
    folded = np.add.reduceat(shifted, first)
    delta = (folded >> np.uint64(1)).astype(np.int64) ^ -(folded & np.uint64(1)).astype(np.int64)
    column: Ints = np.cumsum(delta, dtype=np.int64)
    return column


def packed_names(names: Iterable[str]) -> dict[str, Any]:
    """Return names as what each does not share with the one before; ``columns.js`` reads them.

    Names of a large model differ in little from their neighbours. ``head`` and ``tail`` count what
    is shared at both ends, in units of UTF-16, which is what a script counts in.
    """
    heads, tails, middles = [], [], []
    before = ""
    for name in map(_units, names):
        most = min(len(name), len(before))
        head = _shared(name, before, most)
        tail = _shared(name[::-1], before[::-1], most - head)
        heads.append(head)
        tails.append(tail)
        middles.append(name[head : len(name) - tail])
        before = name
    return {"head": packed(heads), "tail": packed(tails), "middle": middles}


def unpacked_names(data: dict[str, Any]) -> list[str]:
    """Return the names that ``packed_names`` packed."""
    found: list[str] = []
    before = ""
    ends = zip(unpacked(data["head"]).tolist(), unpacked(data["tail"]).tolist(), strict=True)
    for (head, tail), middle in zip(ends, data["middle"], strict=True):
        before = before[:head] + middle + before[len(before) - tail :]
        found.append(
            before.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        )
    return found


def _units(text: str) -> str:
    """Return text in which characters beyond the first 65,536 are two, as in UTF-16."""
    if text.isascii():
        return text
    units = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), dtype="<u2")
    return "".join(map(chr, units.tolist()))


def _shared(a: str, b: str, most: int) -> int:
    """Return how many characters two texts begin with alike, at most ``most``; by halving."""
    if a[:most] == b[:most]:
        return most
    alike, apart = 0, most
    while apart - alike > 1:
        middle = (alike + apart) // 2
        if a[alike:middle] == b[alike:middle]:
            alike = middle
        else:
            apart = middle
    return alike
