"""Whole ticks: the one place where seconds become integers and back."""

from __future__ import annotations

import math
from collections.abc import Iterable

# A duration this close to a whole number of ticks, relative to one tick, counts as whole: 0.3 s
# is three ticks of 0.1 s although 0.3 / 0.1 is not 3 in binary floating point.
WHOLE = 1e-6

# Rounding moves the makespan by at most this part of it.
ROUNDING = 1e-6


def ticks_up(seconds: float, tick_s: float) -> int:
    """Return a duration in ticks, rounded up."""
    return math.ceil(seconds / tick_s - WHOLE)


def ticks_down(seconds: float, tick_s: float) -> int:
    """Return a duration in ticks, rounded down (for bounds)."""
    return math.floor(seconds / tick_s + WHOLE)


def choose_tick(durations: Iterable[float], shortest_makespan_s: float, path_length: int) -> float:
    """Return the tick in seconds: a power of ten.

    The coarsest tick from 1 s to 1 ns in which every duration is whole; if there is none, one so
    fine that ``path_length`` roundings add up to at most 1e-6 of ``shortest_makespan_s``.

    Parameters
    ----------
    durations
        Every duration and latency that occurs, in seconds.
    shortest_makespan_s
        A lower bound of the makespan.
    path_length
        The most activities that can follow one another on a path.
    """
    distinct = [d for d in set(durations) if d > 0]
    for exponent in range(10):
        tick = 10.0**-exponent
        if all(_is_whole(d, tick) for d in distinct):
            return tick
    scale = shortest_makespan_s if shortest_makespan_s > 0 else max(distinct)
    return float(10.0 ** math.floor(math.log10(scale * ROUNDING / max(path_length, 1))))


def _is_whole(seconds: float, tick_s: float) -> bool:
    count = seconds / tick_s
    # Above 2**40 ticks a float can no longer tell whole from not: do not call it exact.
    return count < 2**40 and abs(count - round(count)) <= WHOLE and round(count) > 0
