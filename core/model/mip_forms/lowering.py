"""What all MIP forms share: precedences, exclusions, and the work on each machine.

A form adds how intervals on one resource keep apart; it works on a Block of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from parplan.errors import SolverError
from parplan.model.blocks import Definition, RuleBlock
from parplan.model.choices import total
from parplan.model.guards import component
from parplan.model.mip_forms.products import Products
from parplan.model.terms import (
    AtMostOne,
    Before,
    Cumulative,
    Interval,
    NoOverlap,
    Term,
    Time,
    recorded,
)
from parplan.model.windows import Windows
from parplan.options import MipForm, MipProducts

NAME = "mip_lowering"

Binary = Any
"""A binary variable, or 0 or 1 where it is certain."""


class Lowering(ABC):
    """Writes the recorded terms of one model as linear rows; lives only inside ``lowered``.

    Attributes
    ----------
    block
        Where rows and variables go, beside the model's own.
    definitions
        How the variables made here follow from others.
    """

    form: ClassVar[MipForm]

    def __init__(self, model: Any, products: MipProducts) -> None:
        self.terms: list[tuple[Any, Term]] = list(recorded(model))
        self.windows = Windows(term for _, term in self.terms)
        self.makespan = model.component("makespan")
        self.definitions: list[tuple[Any, Definition]] = []
        self.block = RuleBlock("mip", self.definitions)
        model.add_component(NAME, self.block)
        self._exclusive: dict[int, set[int]] = {}
        self._products = Products(products, self.block)

    @abstractmethod
    def check_size(self) -> None:
        """Refuse what would take minutes to write, and far longer to solve.

        Raises
        ------
        SolverError
            Naming the term that is too large.
        """

    @abstractmethod
    def no_overlap(self, block: Any, term: NoOverlap) -> None:
        """Keep the present intervals of a resource apart; ``block`` is the term's own."""

    @abstractmethod
    def cumulative(self, block: Any, term: Cumulative) -> None:
        """Keep the level of a resource within its capacity."""

    def lower(self) -> None:
        """Write every term.

        Raises
        ------
        SolverError
            If a term is not known, or is none that this form can take.
        """
        for _, term in self.terms:
            if isinstance(term, AtMostOne):
                self._at_most_one(term)
        for block, term in self.terms:
            if isinstance(term, Before):
                self._before(term)
            elif isinstance(term, NoOverlap):
                self.no_overlap(block, term)
            elif isinstance(term, Cumulative):
                self.cumulative(block, term)
            elif not isinstance(term, AtMostOne):
                raise SolverError(
                    f"cannot take the term {term!r} of {component(block)}", solver="mip"
                )

    def refuse(self, block: Any, term: NoOverlap | Cumulative, why: str) -> SolverError:
        """Return the error that this form cannot take a term."""
        return SolverError(
            f"the {self.form.value} form cannot take '{term.name}' of {component(block)}: {why}; "
            f"use the form '{MipForm.DISJUNCTIVE.value}'",
            solver="mip",
        )

    # -- simple terms --------------------------------------------------------------------------

    def _at_most_one(self, term: AtMostOne) -> None:
        literals = [x for x in term.literals if x is not None]
        numbers = {id(x) for x in literals}
        for number in numbers:
            self._exclusive.setdefault(number, set()).update(numbers - {number})
        if term.exactly:
            self._products.add_choice(literals)
        elif len(literals) > 1:
            self.block.row(total(literals) <= 1)

    def _before(self, term: Before) -> None:
        """State ``end + delay <= start``, relaxed by big-M where one of the two is absent."""
        one, two = term.first.presence, term.second.presence
        if self.exclude(term.first, term.second):
            return
        self.follow(
            term.first.end, term.second.start, term.delay, self._products.absences(one, two)
        )

    def exclude(self, one: Interval, two: Interval) -> bool:
        """Return whether two intervals are never both present."""
        if one.presence is None or two.presence is None:
            return False
        return id(two.presence) in self._exclusive.get(id(one.presence), ())

    def follow(self, earlier: Time, later: Time, delay: int, slack: Sequence[Any]) -> None:
        """State ``earlier + delay <= later`` unless one of the ``slack`` terms is 1."""
        if self.windows.least_gap(earlier, later) >= delay and slack:
            return
        reach = self.windows.high(earlier) + delay - self.windows.low(later)
        if slack and reach <= 0:
            return
        self.state(earlier + delay <= later + (reach * total(slack) if slack else 0))

    def state(self, row: Any) -> None:
        """Add a row; one without variables is judged here, and made impossible if it is false."""
        if row is True or row is False:
            if not row:
                never = self.block.binary("impossible", lambda _: 0.0)
                self.block.row(never >= 1)
                self.block.row(never <= 0)
            return
        self.block.row(row)

    def add_load(self, intervals: Sequence[Interval]) -> None:
        """State ``head + sum of p x + tail <= makespan`` over what surely ends by the makespan."""
        if self.makespan is None or self.makespan not in self.windows:
            return
        tails = {id(i): self.windows.least_gap(i.end, self.makespan) for i in intervals}
        counted = [i for i in intervals if tails[id(i)] >= 0]
        if len(counted) < 2:
            return
        head = min(self.windows.low(i.start) for i in counted)
        tail = min(tails[id(i)] for i in counted)
        work = total(i.size * i.presence if i.presence is not None else i.size for i in counted)
        self.state(self.makespan >= head + tail + work)


def optional(group: Sequence[Interval]) -> bool:
    """Return whether all of some intervals may be absent."""
    return all(interval.presence is not None for interval in group)
