from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parplan.errors import InputError
from parplan.model.clock import Clock, Rounding

ticks = st.integers(0, 1000)
factors = st.integers(1, 9)


@given(ticks, ticks, factors)
def test_rounded_down_what_did_not_overlap_does_not(start: int, length: int, factor: int) -> None:
    clock = Clock(factor, Rounding.DOWN)
    assert start // factor + clock.ticks(length) <= (start + length) // factor


@given(ticks, ticks, ticks, factors)
def test_rounded_down_a_hold_lies_within_the_true_one(
    start: int, offset: int, length: int, factor: int
) -> None:
    first, size = Clock(factor, Rounding.DOWN).hold(offset, length)
    if size:
        assert start // factor + first >= (start + offset) // factor
        assert start // factor + first + size <= (start + offset + length) // factor


@given(ticks, ticks, ticks, factors)
def test_rounded_up_a_hold_covers_the_true_one(
    start: int, offset: int, length: int, factor: int
) -> None:
    first, size = Clock(factor, Rounding.UP).hold(offset, length)
    if length:
        assert (start + first) * factor <= start * factor + offset
        assert (start + first + size) * factor >= start * factor + offset + length


@given(ticks, ticks, st.integers(-50, 50), factors)
def test_rounded_down_a_lag_between_ends_still_holds(
    before_end: int, length: int, lag: int, factor: int
) -> None:
    clock = Clock(factor, Rounding.DOWN)
    after_end = max(before_end + lag, length)
    after = (after_end - length) // factor + clock.ticks(length)
    assert after >= before_end // factor + clock.lag(lag, to_end=True)


def test_a_tick_of_one_changes_nothing() -> None:
    for rounding in Rounding:
        clock = Clock(1, rounding)
        assert (clock.ticks(7), clock.hold(2, 3), clock.lag(4, to_end=True)) == (7, (2, 3), 4)
        assert not clock.relaxed


def test_a_tick_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        Clock(0)
