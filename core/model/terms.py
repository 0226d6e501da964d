"""The model's vocabulary: light records over plain Pyomo variables.

An interval is a record of (start, end, size, presence) over variables that other intervals may
share; terms speak of intervals and are recorded on the Block of the rule that states them. All
else is ordinary linear Pyomo. Both lowerings (MIP and CP-SAT) read only these and linear rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from attrs import field, frozen

Literal = Any
"""A binary Pyomo variable, or None for "always"."""

Time = Any
"""An integer Pyomo variable, a fixed int, or a variable plus an int (an end: start + size)."""


def _all(items: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(items)


@frozen(eq=False)
class Interval:
    """[start, end) of something that may be absent.

    Attributes
    ----------
    start, end
        Times in model ticks; several intervals may share a variable.
    size
        A fixed length, for which the model itself states ``end = start + size`` where present;
        None if the length is free (a hold), with ``end >= start`` where present.
    presence
        Binary variable; None if always present.
    """

    name: str
    start: Time
    end: Time
    size: int | None = None
    presence: Literal = None


def lasting(name: str, start: Time, size: int, presence: Literal = None) -> Interval:
    """Return an interval of fixed length, whose end is an expression, not a variable."""
    return Interval(name, start, start + size if size else start, size, presence)


def instant(name: str, time: Time, presence: Literal = None) -> Interval:
    """Return an interval of length zero at a time: a side of ``Before`` for any edge."""
    return Interval(name, time, time, 0, presence)


def split(time: Time) -> tuple[Any, int]:
    """Return a time as (variable or None, constant).

    Raises
    ------
    ValueError
        If it is neither an int, nor a variable, nor a variable plus a whole constant.
    """
    if type(time) is int:
        return None, time
    if not hasattr(time, "args"):
        return time, 0
    variable, constant = None, 0
    for part in time.args:
        if type(part) is int:
            constant += part
        elif variable is None:
            variable, offset = split(part)
            constant += offset
        else:
            raise ValueError(f"'{time}' is no time: it has more than one variable")
    if time.__class__.__name__ not in ("LinearExpression", "SumExpression"):
        raise ValueError(f"'{time}' is no time: a variable plus a whole number of ticks")
    return variable, constant


@frozen(eq=False)
class NoOverlap:
    """Present intervals with a positive length do not overlap."""

    name: str
    intervals: tuple[Interval, ...] = field(converter=_all)


@frozen(eq=False)
class Cumulative:
    """At every instant the heights of present intervals sum to at most ``capacity``."""

    name: str
    intervals: tuple[Interval, ...] = field(converter=_all)
    heights: tuple[int, ...] = field(converter=_all)
    capacity: int = 1


@frozen(eq=False)
class Before:
    """``first`` ends (plus ``delay``) before ``second`` starts, if both are present."""

    first: Interval
    second: Interval
    delay: int = 0


@frozen(eq=False)
class AtMostOne:
    """At most one of the binary variables is 1; lets a lowering merge alternatives.

    Attributes
    ----------
    exactly
        Whether other rows see to it that one of them is.
    """

    literals: tuple[Literal, ...] = field(converter=_all)
    exactly: bool = False


Term = NoOverlap | Cumulative | Before | AtMostOne

RULE = "_parplan_rule"
"""Attribute of a Block: name of the constraint plugin whose code fills it."""

TERMS = "_parplan_terms"


def record(block: Any, *terms: Term) -> None:
    """Record terms on a Pyomo Block; a deactivated Block takes its terms with it."""
    block.__dict__.setdefault(TERMS, []).extend(terms)


def recorded(model: Any) -> Iterator[tuple[Any, Term]]:
    """Yield (Block, term) for every term on the model and its active Blocks."""
    for block in model.block_data_objects(active=True):
        for term in block.__dict__.get(TERMS, ()):
            yield block, term
