"""Time lags between operators that exchange no data, and barriers between groups of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from attrs import frozen

from parplan.contracts import Constraint
from parplan.declarations import Declaration, Edge, TimeLag
from parplan.errors import InputError
from parplan.graph import Operator
from parplan.patterns import matching_operators
from parplan.problem import Problem


@frozen
class Lag:
    """One operator at least ``seconds`` after another, for each microbatch.

    ``before`` and ``after`` are names or patterns; every operator of the one is tied to every one
    of the other. Negative seconds let ``after`` come that much earlier.

    Attributes
    ----------
    before_edge, after_edge
        From ``start`` or ``end`` of the one to ``start`` or ``end`` of the other.
    offset
        Ties microbatch k of ``before`` to microbatch k + offset of ``after``.
    """

    before: str
    after: str
    seconds: float = 0.0
    before_edge: Edge = Edge.END
    after_edge: Edge = Edge.START
    offset: int = 0


@frozen
class Barrier:
    """All microbatches of ``before`` end before any microbatch of ``after`` starts."""

    before: str
    after: str


@frozen
class Precedence(Constraint):
    """What comes after what, beyond what the tensors say.

    Attributes
    ----------
    lags
        Least times between two operators.
    barriers
        Flushes. A barrier over m microbatches costs 2m - 1 lags for each pair of operators.
    """

    name: ClassVar[str] = "precedence"

    lags: tuple[Lag, ...] = ()
    barriers: tuple[Barrier, ...] = ()

    def declare(self, problem: Problem) -> Iterable[Declaration]:
        """Yield a time lag per pair of operators; for barriers one per offset too."""
        operators = problem.graph.operators
        for position, lag in enumerate(self.lags):
            key = f"constraints.{self.name}.lags[{position}]"
            for before, after in _pairs(lag.before, lag.after, operators, key):
                yield TimeLag(
                    before, after, lag.seconds, lag.before_edge, lag.after_edge, lag.offset
                )
        reach = problem.workload.microbatches - 1
        for position, barrier in enumerate(self.barriers):
            key = f"constraints.{self.name}.barriers[{position}]"
            for before, after in _pairs(barrier.before, barrier.after, operators, key):
                for offset in range(-reach, reach + 1):
                    yield TimeLag(before, after, offset=offset)


def _pairs(
    before: str, after: str, operators: tuple[Operator, ...], key: str
) -> Iterable[tuple[str, str]]:
    first = matching_operators(before, operators, key=f"{key}.before")
    last = matching_operators(after, operators, key=f"{key}.after")
    both = set(first) & set(last)
    if both:
        raise InputError(
            f"'{before}' and '{after}' both mean operator '{min(both)}', which cannot wait for "
            "itself; make the patterns narrower",
            key=key,
        )
    return ((a, b) for a in first for b in last)
