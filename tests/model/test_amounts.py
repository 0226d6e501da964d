from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parplan.model.amounts import whole_amounts


def test_tenths_are_tenths_although_floats_are_not() -> None:
    assert whole_amounts([0.1] * 10, 1.0, relaxed=False) == ([1] * 10, 10)


def test_bytes_are_counted_in_their_common_divisor() -> None:
    heights, capacity = whole_amounts([4096, 8192], 10_000, relaxed=False)
    assert (heights, capacity) == ([1, 2], 2)


@given(
    st.lists(st.floats(0.001, 1e6), min_size=1, max_size=6),
    st.floats(0.001, 1e7),
    st.booleans(),
)
def test_rounding_never_admits_too_much_and_for_bounds_never_too_little(
    amounts: list[float], capacity: float, relaxed: bool
) -> None:
    heights, whole = whole_amounts(amounts, capacity, relaxed=relaxed)
    fits = sum(heights) <= whole
    if relaxed:
        assert fits or sum(amounts) > capacity * (1 - 1e-9)
    else:
        assert not fits or sum(amounts) <= capacity * (1 + 1e-9)
