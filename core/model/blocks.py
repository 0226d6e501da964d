"""The Block of one rule: ordinary Pyomo components beside recorded scheduling terms."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pyomo.environ as pyo
from pyomo.core.base.block import ScalarBlock

from parplan.errors import InputError
from parplan.model.terms import (
    RULE,
    AtMostOne,
    Before,
    Cumulative,
    Interval,
    Literal,
    NoOverlap,
    record,
)

Value = Callable[[Any], float]
"""Gives the value of a variable or a linear expression."""

Definition = Callable[[Value], float]
"""Gives a variable's value from those of variables made before it."""


class RuleBlock(ScalarBlock):  # type: ignore[misc]  # Pyomo has no types
    """A Pyomo Block with functions that record terms; deactivate it, and its terms go too.

    Any Pyomo component may be added (``block.limit = pyo.Constraint(...)``), as long as it is
    linear; ``row`` and ``binary`` and ``time`` are short forms of the commonest.
    """

    def __init__(self, rule: str, definitions: list[tuple[Any, Definition]] | None = None) -> None:
        super().__init__(concrete=True)
        self.__dict__[RULE] = rule
        self.__dict__["_definitions"] = [] if definitions is None else definitions

    @property
    def rule_name(self) -> str:
        """Name of the constraint plugin, or of the part of the model, that fills this Block."""
        return str(self.__dict__[RULE])

    def no_overlap(self, name: str, intervals: Iterable[Interval]) -> None:
        """Let no two of the intervals that are present, and longer than zero, overlap."""
        record(self, NoOverlap(name, tuple(intervals)))

    def cumulative(
        self, name: str, intervals: Iterable[Interval], heights: Iterable[int], capacity: int
    ) -> None:
        """Keep the summed heights of the present intervals at or below ``capacity`` throughout."""
        term = Cumulative(name, tuple(intervals), tuple(heights), capacity)
        if len(term.intervals) != len(term.heights):
            raise InputError(
                f"rule '{self.rule_name}': cumulative '{name}' has {len(term.intervals)} intervals "
                f"and {len(term.heights)} heights"
            )
        if any(h != int(h) or h < 0 for h in (*term.heights, capacity)):
            raise InputError(
                f"rule '{self.rule_name}': cumulative '{name}' needs whole heights and capacity, "
                "none negative; scale them"
            )
        record(self, term)

    def before(self, first: Interval, second: Interval, delay: int = 0) -> None:
        """Let ``second`` start at least ``delay`` after the end of ``first``, if both are there."""
        record(self, Before(first, second, delay))

    def at_most_one(self, literals: Iterable[Literal], *, exactly: bool = False) -> None:
        """Let at most one of the binary variables be 1.

        ``exactly`` tells that one of them is, by a row of its own.
        """
        record(self, AtMostOne(tuple(literals), exactly))

    def row(self, expression: Any) -> None:
        """Add a linear constraint (a relational Pyomo expression)."""
        if self.component("rows") is None:
            self.add_component("rows", pyo.ConstraintList())
        self.component("rows").add(expression)

    def binary(self, name: str, define: Definition | None = None) -> Any:
        """Return a new binary variable.

        ``define`` gives its value from others', for warm starts; without it, it has none there.
        """
        return self._variable("literals", name, pyo.Binary, define)

    def fraction(self, name: str, define: Definition | None = None) -> Any:
        """Return a new variable between 0 and 1."""
        return self._variable("fractions", name, pyo.UnitInterval, define)

    def time(self, name: str, lower: int, upper: int, define: Definition | None = None) -> Any:
        """Return a new integer variable for an instant in model ticks."""
        variable = self._variable("times", name, pyo.Integers, define)
        variable.setlb(lower)
        variable.setub(upper)
        return variable

    def _variable(self, component: str, name: str, domain: Any, define: Definition | None) -> Any:
        if self.component(component) is None:
            self.add_component(component, pyo.Var(pyo.Any, dense=False, domain=domain))
        variables = self.component(component)
        while name in variables:  # two things of one name are still two things
            name += "'"
        variable = variables.add(name)
        if define is not None:
            self.__dict__["_definitions"].append((variable, define))
        return variable
