"""The model's vocabulary: light records over plain Pyomo variables.

An interval is a record of (start, end, size, presence) over variables that other intervals may
share; terms speak of intervals and are recorded on the Block of the rule that states them. All
else is ordinary linear Pyomo. Both lowerings (MIP and CP-SAT) read only these and linear rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import field, frozen

Literal = Any
"""A binary Pyomo variable, or None for "always"."""

Time = Any
"""An integer Pyomo variable, a fixed int, or a linear expression (an end: start + size)."""


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


@frozen(eq=False)
class NoOverlap:
    """Present intervals with a positive length do not overlap."""

    name: str
    intervals: tuple[Interval, ...] = field(converter=tuple)


@frozen(eq=False)
class Cumulative:
    """At every instant the heights of present intervals sum to at most ``capacity``."""

    name: str
    intervals: tuple[Interval, ...] = field(converter=tuple)
    heights: tuple[int, ...] = field(converter=tuple)
    capacity: int = 1


@frozen(eq=False)
class Before:
    """``first`` ends (plus ``delay``) before ``second`` starts, if both are present."""

    first: Interval
    second: Interval
    delay: int = 0


@frozen(eq=False)
class AtMostOne:
    """At most one of the binary variables is 1; lets a lowering merge alternatives."""

    literals: tuple[Literal, ...] = field(converter=tuple)


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
