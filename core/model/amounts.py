"""Whole amounts: the one place where demands and capacities become integers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

LARGEST_SCALE = 10**6


def whole_amounts(
    heights: Sequence[float], capacity: float, *, relaxed: bool
) -> tuple[list[int], int]:
    """Return heights and capacity as integers in a common unit.

    Exact wherever the heights have a common unit of at least 1e-6 (as decimals, so 0.1 is a
    tenth): they are counted in their greatest common divisor and the capacity is rounded down,
    which changes nothing, since sums of heights are multiples of it. Otherwise the capacity becomes
    about a million units, rounded down, and heights are rounded up (down where ``relaxed``, for
    bounds: a sum of floors is at most the floor of the sum).
    """
    parts = [_fraction(h) for h in heights]
    scale = math.lcm(*(p.denominator for p in parts)) if parts else 1
    if scale <= LARGEST_SCALE:
        counts = [int(p * scale) for p in parts]
        unit = math.gcd(*counts) or 1
        return [c // unit for c in counts], math.floor(_fraction(capacity) * scale / unit)
    step = _fraction(capacity) / LARGEST_SCALE or Fraction(1, LARGEST_SCALE)
    towards = math.floor if relaxed else math.ceil
    return [towards(p / step) for p in parts], math.floor(_fraction(capacity) / step)


def _fraction(value: float) -> Fraction:
    return Fraction(value) if value == int(value) else Fraction(repr(value))
