"""Columns of integers as short JSON: plain, as differences, or as runs of either."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from parplan.errors import InputError

ROW_LIMIT = 2**26
"""So many rows may a column have: a few bytes of runs must not fill the memory."""

Ints = NDArray[np.int64]


def encode_column(column: Ints) -> list[int] | dict[str, list[int]]:
    """Return the shortest of four forms of a column.

    ``[..]`` plain; ``{"delta": [..]}`` the first value, then differences; ``{"runs": [..]}``
    value and count in turn; ``{"delta_runs": [..]}`` the same of the differences.
    """
    delta = np.diff(column, prepend=np.int64(0))
    forms = {
        "plain": column,
        "delta": delta,
        "runs": _runs(column),
        "delta_runs": _runs(delta),
    }
    name = min(forms, key=lambda form: _width(forms[form]))
    values: list[int] = forms[name].tolist()
    return values if name == "plain" else {name: values}


def decode_column(data: Any, length: int, key: str) -> Ints:
    """Return a column of ``length`` rows; see ``encode_column``.

    Raises
    ------
    InputError
        If the data is none of the forms, has another length, or a value that is no 64-bit integer.
    """
    form, values = "plain", data
    if isinstance(data, dict) and len(data) == 1:
        ((form, values),) = data.items()
    if form not in ("plain", "delta", "runs", "delta_runs") or not isinstance(values, list):
        raise InputError("is no column of integers", key=key)
    if any(type(value) is not int for value in values):
        raise InputError("holds something that is no integer", key=key)
    try:
        column = np.array(values, dtype=np.int64)
    except OverflowError:
        raise InputError("holds an integer beyond 64 bits", key=key) from None
    if form.endswith("runs"):
        column = _expanded(column, length, key)
    if len(column) != length:
        raise InputError(f"has {len(column)} rows; it needs {length}", key=key)
    return np.cumsum(column, dtype=np.int64) if form.startswith("delta") else column


def _runs(column: Ints) -> Ints:
    """Return value and count of each run, in turn."""
    if not len(column):
        return column
    starts = np.append(0, np.flatnonzero(column[1:] != column[:-1]) + 1)
    counts = np.diff(starts, append=len(column))
    return np.stack([column[starts], counts], axis=1).reshape(-1)


def _expanded(runs: Ints, length: int, key: str) -> Ints:
    values, counts = runs[0::2], runs[1::2]
    if len(values) != len(counts) or (len(counts) and int(counts.min()) < 1):
        raise InputError("has runs without a count above zero", key=key)
    # Summed as Python integers, which cannot wrap around.
    if sum(counts.tolist()) != length:
        raise InputError(f"has runs of {sum(counts.tolist())} rows; it needs {length}", key=key)
    return np.repeat(values, counts)


def _width(values: Ints) -> int:
    """Return about how many characters the values take in JSON."""
    if not len(values):
        return 0
    digits = np.log10(np.maximum(np.abs(values.astype(np.float64)), 1.0)).astype(np.int64)
    return int(digits.sum()) + 2 * len(values) + int((values < 0).sum())
