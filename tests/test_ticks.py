"""Seconds become whole ticks in one way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parplan.ticks import choose_tick, ticks_down, ticks_up


def test_whole_numbers_stay_whole_in_binary() -> None:
    assert 0.3 / 0.1 != 3
    assert (ticks_up(0.3, 0.1), ticks_down(0.3, 0.1)) == (3, 3)


@pytest.mark.parametrize(("seconds", "up", "down"), [(0.0, 0, 0), (1.5, 2, 1), (-1.5, -1, -2)])
def test_up_and_down(seconds: float, up: int, down: int) -> None:
    assert (ticks_up(seconds, 1.0), ticks_down(seconds, 1.0)) == (up, down)


@given(seconds=st.floats(0, 1e4), tick_s=st.sampled_from([1.0, 1e-3, 1e-6, 3e-5]))
def test_a_duration_lies_between_its_roundings(seconds: float, tick_s: float) -> None:
    up, down = ticks_up(seconds, tick_s), ticks_down(seconds, tick_s)
    assert 0 <= up - down <= 1
    slack = 2e-6 * tick_s + 1e-12 * seconds
    assert down * tick_s - slack <= seconds <= up * tick_s + slack


@pytest.mark.parametrize(
    ("durations", "expected"),
    [([2.0, 3.0], 1.0), ([0.5, 2.0], 0.1), ([0.001, 0.25], 1e-3), ([0.0, 1.0], 1.0)],
)
def test_the_coarsest_exact_tick(durations: list[float], expected: float) -> None:
    assert choose_tick(durations, 1.0, 10) == pytest.approx(expected)


def test_no_exact_tick_gives_one_that_is_fine_enough() -> None:
    tick = choose_tick([1 / 3, 2 / 7], shortest_makespan_s=2.0, path_length=50)
    assert 50 * tick <= 1e-6 * 2.0 * 1.0000001
