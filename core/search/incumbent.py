"""The best checked schedule so far, the best bound, and the news about both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from parplan import clock
from parplan.checking import check_schedule
from parplan.contracts import Objective, Progress, Report, Violation
from parplan.errors import ParplanError, PluginError
from parplan.plans import Bound
from parplan.rules import Rules
from parplan.schedule import Schedule

EQUAL = 1e-9
"""Objective values this close, relatively, are equal."""


class Incumbent:
    """Keeps the best schedule that passed the check; everything else is told, and dropped.

    Attributes
    ----------
    schedule, values, found_by
        The best, the value of each objective, and what found it; None before there is one.
    history
        (seconds, value, found by) of each improvement.
    rejected
        (found by, first violation) of each schedule that the check refused.
    failures
        (stage, message) of everything that went wrong without ending the search.
    accounts
        What a stage has to say of itself in the plan's provenance, by its key there.
    """

    def __init__(self, rules: Rules, report: Report | None = None) -> None:
        self.rules = rules
        self.schedule: Schedule | None = None
        self.values: tuple[float, ...] = ()
        self.found_by = ""
        self.history: list[tuple[float, float, str]] = []
        self.rejected: list[tuple[str, Violation]] = []
        self.failures: list[tuple[str, str]] = []
        self.accounts: dict[str, Any] = {}
        self.bounds: list[Bound] = []
        self.started = clock.now()
        self._compiled_before = clock.CLOCK.stopped_s
        self._report = report

    @property
    def seconds(self) -> float:
        """Seconds since the search began, without those of compiling."""
        return clock.now() - self.started

    @property
    def compile_seconds(self) -> float:
        """Seconds in which this process compiled kernels since the search began."""
        return clock.CLOCK.stopped_s - self._compiled_before

    def offer(self, schedule: Schedule, found_by: str) -> bool:
        """Take a schedule if it is better and passes the check; return whether it was taken."""
        values = tuple(objective_value(o, schedule) for o in self.rules.objectives)
        if self.schedule is not None and not self._is_better(values):
            return False
        violations = check_schedule(schedule, self.rules)
        if violations:
            self.rejected.append((found_by, violations[0]))
            self.tell("check", f"a schedule of {found_by} was dropped: {violations[0].message}")
            return False
        self.schedule, self.values, self.found_by = schedule, values, found_by
        self.history.append((self.seconds, values[0], found_by))
        self._drop_refuted()
        self.tell(found_by)
        return True

    def fail(self, stage: str, message: str) -> None:
        """Take note of what went wrong in a stage, and tell it."""
        self.failures.append((stage, message))
        self.tell(stage, message)

    def note(self, news: Progress) -> None:
        """Take note of what a solver says has gone wrong in it, each thing once."""
        if news.message and (news.stage, news.message) not in self.failures:
            self.fail(news.stage, news.message)

    def _is_better(self, values: Sequence[float]) -> bool:
        for objective, new, old in zip(self.rules.objectives, values, self.values, strict=True):
            gain = new - old if objective.maximize else old - new
            if abs(gain) > EQUAL * max(abs(new), abs(old)):
                return gain > 0
        return False

    def add_bounds(self, bounds: Sequence[Bound]) -> None:
        """Take note of bounds on the first objective.

        A bound beyond the incumbent, now or later, cannot be true: it is told and dropped.
        """
        self.bounds.extend(bounds)
        self._drop_refuted()
        self.tell("bound")

    def _drop_refuted(self) -> None:
        """Drop bounds of the problem that the incumbent refutes."""
        refuted = [b for b in self.bounds if b.scope == "problem" and self._contradicts(b)]
        for bound in refuted:
            self.bounds.remove(bound)
            message = f"its bound of {bound.value:g} is refuted by a plan of {self.values[0]:g}"
            self.fail(bound.source, message)

    def _contradicts(self, bound: Bound) -> bool:
        if self.schedule is None:
            return False
        over = bound.value - self.values[0]
        if self.rules.objectives[0].maximize:
            over = -over
        return over > 1e-6 * max(abs(self.values[0]), 1e-300)

    @property
    def bound(self) -> Bound | None:
        """The best bound of the whole problem."""
        known = [b for b in self.bounds if b.scope == "problem"]
        pick = min if self.rules.objectives[0].maximize else max
        return pick(known, key=lambda b: b.value, default=None)

    @property
    def gap(self) -> float:
        """Relative gap of incumbent and bound; infinite while one of the two is missing."""
        bound = self.bound
        if self.schedule is None or bound is None:
            return float("inf")
        value = self.values[0]
        if abs(value - bound.value) <= EQUAL * max(abs(value), abs(bound.value)):
            return 0.0
        return abs(value - bound.value) / max(abs(value), 1e-300)

    def tell(self, stage: str, message: str = "") -> None:
        """Report progress."""
        if self._report is not None:
            bound = self.bound
            self._report(
                Progress(
                    stage,
                    self.seconds,
                    self.values[0] if self.values else None,
                    None if bound is None else bound.value,
                    message,
                )
            )

    def hear(self, stage: str, value: float | None, bound: float | None) -> None:
        """Report a solver's own news, which nothing has checked yet, in the objective's unit."""
        if self._report is not None:
            own = self.bound
            if bound is not None and own is not None:
                pick = min if self.rules.objectives[0].maximize else max
                bound = pick(bound, own.value)
            elif own is not None:
                bound = own.value
            if value is None and self.values:
                value = self.values[0]
            self._report(Progress(stage, self.seconds, value, bound))

    def rejections(self) -> list[dict[str, Any]]:
        """Return what the check refused, for the plan's provenance."""
        return [{"found_by": by, "rule": v.rule, "message": v.message} for by, v in self.rejected]


def objective_value(objective: Objective, schedule: Schedule) -> float:
    """Return an objective's value; whatever the plugin raises names it."""
    try:
        return float(objective.value(schedule))
    except ParplanError:
        raise
    except Exception as error:
        raise PluginError(
            f"raised {type(error).__name__}: {error}", plugin=objective.name, hook="value"
        ) from error
