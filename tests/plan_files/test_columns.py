"""Columns of integers survive their short forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from parplan.errors import InputError
from parplan.plan_files.columns import ROW_LIMIT, decode_column, encode_column

INT64 = st.integers(-(2**63), 2**63 - 1)
RUNS = st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 9))).map(
    lambda runs: [value for value, count in runs for _ in range(count)]
)


@given(st.one_of(st.lists(INT64), RUNS))
@example([])
@example([-(2**63), 2**63 - 1])
@example(list(range(100)))
@example([0, 1, 2, 3] * 20)
def test_decoding_undoes_encoding(values: list[int]) -> None:
    column = np.array(values, dtype=np.int64)
    again = decode_column(encode_column(column), len(values), "column")
    assert again.tolist() == values


def test_repetition_is_stored_once() -> None:
    assert encode_column(np.full(10**5, 7)) == {"runs": [7, 10**5]}
    assert encode_column(np.arange(10**5) * 3) == {"delta_runs": [0, 1, 3, 10**5 - 1]}


@pytest.mark.parametrize(
    ("data", "length", "message"),
    [
        ([1, 2], 3, "has 2 rows; it needs 3"),
        ("12", 2, "no column"),
        ({"unknown": [1]}, 1, "no column"),
        ({"runs": [1, 2], "delta": []}, 2, "no column"),
        ([1, 2.0], 2, "no integer"),
        ([1, True], 2, "no integer"),
        ([1, None], 2, "no integer"),
        ([2**63], 1, "beyond 64 bits"),
        ({"runs": [1]}, 1, "without a count"),
        ({"runs": [1, 0]}, 0, "without a count"),
        ({"runs": [1, -1, 2, 3]}, 2, "without a count"),
        ({"runs": [1, 2**62, 1, 2**62, 1, 2**62, 1, 2**62]}, 0, "it needs 0"),
        ({"runs": [1, ROW_LIMIT * 100]}, 5, "it needs 5"),
    ],
)
def test_hostile_columns_are_refused(data: Any, length: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode_column(data, length, "tasks.start")
