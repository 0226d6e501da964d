"""Columns of whole numbers as short text that a script reads quickly."""

from __future__ import annotations

import base64

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
