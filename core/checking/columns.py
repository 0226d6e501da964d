"""Small numpy tools: ragged tables, look-ups by key, and the level of a sum of intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

Whole = NDArray[np.int64]
Real = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


def whole(values: Iterable[int]) -> Whole:
    """Return whole numbers as a column."""
    return np.fromiter(values, dtype=np.int64)


@frozen(eq=False)
class Ragged:
    """Rows of different length: row i is ``values[pointer[i]:pointer[i + 1]]``."""

    pointer: Whole
    values: Whole

    @classmethod
    def of(cls, rows: Sequence[Iterable[int]]) -> Ragged:
        """Return the table of the given rows."""
        lists = [list(row) for row in rows]
        lengths = whole(len(row) for row in lists)
        return cls(_pointer(lengths), whole(v for row in lists for v in row))

    @classmethod
    def grouped(cls, keys: Whole, count: int) -> Ragged:
        """Return, for each key 0 .. count - 1, the positions where ``keys`` has it, in order."""
        lengths = np.bincount(keys, minlength=count).astype(np.int64)
        return cls(_pointer(lengths), np.argsort(keys, kind="stable").astype(np.int64))

    def row(self, index: int) -> Whole:
        """Return one row."""
        return self.values[self.pointer[index] : self.pointer[index + 1]]

    def at(self, index: Whole) -> tuple[Whole, Whole]:
        """Return the rows ``index`` end to end, as (position in ``index``, value)."""
        lengths = self.pointer[index + 1] - self.pointer[index]
        which = np.repeat(np.arange(len(index)), lengths)
        within = np.arange(len(which)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return which, self.values[self.pointer[index][which] + within]


def _pointer(lengths: Whole) -> Whole:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))


@frozen(eq=False)
class Lookup:
    """Finds the first position of a key in a column."""

    keys: Whole
    _order: Whole = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_order", np.argsort(self.keys, kind="stable"))

    def find(self, wanted: Whole) -> Whole:
        """Return the first position of each wanted key, -1 where there is none."""
        if len(self.keys) == 0:
            return np.full(len(wanted), -1, dtype=np.int64)
        ordered = self.keys[self._order]
        place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
        return np.where(ordered[place] == wanted, self._order[place], -1)


@frozen(eq=False)
class Load:
    """Intervals [start, end) in ticks with an amount each, and what they are.

    ``kind`` says what the rows number: ``"task"``, ``"transfer"`` or ``"tensor"``.
    """

    start: Whole
    end: Whole
    amount: Real
    kind: str
    row: Whole


@frozen(eq=False)
class Profile:
    """A level over time: ``levels[i]`` from ``ticks[i]`` to the next tick; ``base`` before."""

    ticks: Whole
    levels: Real
    base: float

    @property
    def peak(self) -> float:
        """The highest level."""
        return float(max(self.levels.max(initial=self.base), self.base))


def profile(loads: Sequence[Load], base: float = 0.0) -> Profile:
    """Return the sum of all loads over time; O(n log n) in their number.

    All that ends and starts at one tick is netted, so a level is judged once per instant.
    """
    start = np.concatenate([x.start for x in loads]) if loads else np.zeros(0, np.int64)
    end = np.concatenate([x.end for x in loads]) if loads else np.zeros(0, np.int64)
    amount = np.concatenate([x.amount for x in loads]) if loads else np.zeros(0)
    kept = (end > start) & (amount > 0)
    times = np.concatenate((start[kept], end[kept]))
    changes = np.concatenate((amount[kept], -amount[kept]))
    ticks, inverse = np.unique(times, return_inverse=True)
    net = np.bincount(inverse, weights=changes, minlength=len(ticks))
    return Profile(ticks, base + np.cumsum(net), base)
