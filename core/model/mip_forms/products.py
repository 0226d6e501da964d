"""Products of two choices in a MIP: that one literal and another are both 1.

Where two tasks are assigned freely, what their devices have in common is a product of two binaries.
It is never written as one; four ways to do without it:

- separate: no variable; a row that holds for both is relaxed once for each of the two;
- standard: ``y <= a``, ``y <= b``, ``y >= a + b - 1`` (Fortet 1960, McCormick 1976);
- compact: where a is one of a choice A (exactly one is 1) and b of B, the products of all pairs
  with ``sum of y[a, b] over A = b`` and ``sum of y[a, b] over B = a`` (Mallach 2018): these imply
  the rows of the standard form, and are fewer;
- rlt: both, the first level of the reformulation-linearisation technique (Sherali and Adams 1986).

The union of several alternatives is a choice with the alternatives that it leaves out. What belongs
to no choice has the standard rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from parplan.model.blocks import RuleBlock, Value
from parplan.model.choices import total
from parplan.model.terms import Literal
from parplan.options import MipProducts


class Products:
    """The products of one model, each made when first asked for."""

    def __init__(self, kind: MipProducts, block: RuleBlock) -> None:
        self.kind, self.block = kind, block
        self._choice_of: dict[int, tuple[Literal, ...]] = {}
        self._made: dict[tuple[int, int], Any] = {}

    def add_choice(self, literals: Sequence[Literal]) -> None:
        """Take note that exactly one of some literals is 1."""
        choice = tuple(literals)
        for literal in choice:
            self._choice_of.setdefault(id(literal), choice)

    def absences(self, one: Literal, two: Literal) -> list[Any]:
        """Return terms of which one at least is 1 unless both are present, and else all are 0."""
        if one is None or two is None or one is two or self.kind is MipProducts.SEPARATE:
            return absences(*({id(x): x for x in (one, two)}.values()))
        return [1 - self._product(one, two)]

    def _product(self, one: Literal, two: Literal) -> Any:
        if (id(one), id(two)) not in self._made:
            ones, twos = (self._choice_of.get(id(x)) for x in (one, two))
            if self.kind is MipProducts.STANDARD or ones is None or twos is None or ones is twos:
                self._bind(one, two)
            else:
                self._multiply(ones, twos)
        return self._made[id(one), id(two)]

    def _make(self, one: Literal, two: Literal) -> Any:
        """Return a product; it is bound by nothing yet if it is new."""
        pair = (id(one), id(two))
        if pair not in self._made:
            made = self.block.fraction(f"{one.name} and {two.name}", partial(_both, one, two))
            self._made[pair] = self._made[pair[::-1]] = made
        return self._made[pair]

    def _bind(self, one: Literal, two: Literal) -> None:
        """Make a product by the standard rows."""
        product = self._make(one, two)
        self._add_standard_rows(one, two, product)

    def _add_standard_rows(self, one: Literal, two: Literal, product: Any) -> None:
        self.block.row(product <= one)
        self.block.row(product <= two)
        self.block.row(product >= one + two - 1)

    def _multiply(self, ones: Sequence[Literal], twos: Sequence[Literal]) -> None:
        """Make the products of two choices by multiplying each with the literals of the other."""
        table = [[self._make(one, two) for two in twos] for one in ones]
        for one, row in zip(ones, table, strict=True):
            self.block.row(total(row) == one)
        for two, column in zip(twos, zip(*table, strict=True), strict=True):
            self.block.row(total(column) == two)
        if self.kind is MipProducts.RLT:
            for one, row in zip(ones, table, strict=True):
                for two, product in zip(twos, row, strict=True):
                    self._add_standard_rows(one, two, product)


def _both(one: Literal, two: Literal, value: Value) -> float:
    return value(one) * value(two)


def absences(*presences: Literal) -> list[Any]:
    """Return for each presence the term that is 1 if it is absent."""
    return [1 - x for x in presences if x is not None]
