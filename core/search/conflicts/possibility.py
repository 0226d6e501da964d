"""Whether rules leave any plan: proofs against it, and schedules for it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from functools import partial

import attrs
from attrs import frozen

from parplan import clock
from parplan.checking import check_schedule
from parplan.contracts import Answer, SolveOptions, Solver, Termination
from parplan.errors import InfeasibleError, InputError
from parplan.rules import Rules
from parplan.schedule import Schedule
from parplan.search.improving.heuristics import first_candidates
from parplan.search.infeasible import refute
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Finisher
from parplan.search.placing.placement import Placer

TRY_S = 8.0
"""Most seconds for one question to a solver."""

LIST_S = 1.0
"""Seconds for list schedules that may answer a question."""

MOST_CHOICES = 800
"""Alternatives of operators in the largest upper model that is asked."""


@frozen
class Finding:
    """Whether rules leave a plan: True with a schedule, False if proven, None if not known."""

    possible: bool | None
    schedule: Schedule | None = None


UNKNOWN = Finding(None)
REFUTED = Finding(False)


@frozen
class Possibility:
    """Answers for one problem, by counting, solvers and list schedules, until an instant.

    Attributes
    ----------
    solver
        None leaves models out.
    whole
        Whether the whole problem may be modelled; otherwise only the upper model is asked, which
        can refute but not confirm.
    until
        On ``parplan.clock``; every answer after it is "not known".
    """

    solver: Solver | None
    workers: int
    whole: bool
    until: float

    def of(self, rules: Rules) -> Finding:
        """Return whether these rules leave a plan, with one if so."""
        if self.is_over:
            return UNKNOWN
        if self.counts_against(rules):
            return REFUTED
        if self.whole and self.solver is not None:
            return self._by_model(self.solver, rules)
        if self.solver is not None and self._is_refuted(self.solver, rules):
            return REFUTED
        return self._by_lists(rules)

    @property
    def proofs(self) -> tuple[Callable[[Rules], bool], ...]:
        """Ways to prove that rules leave no plan, each stronger and slower than the one before.

        Counting, the upper model, and the whole one where it may be made. Each returns whether it
        proves it.
        """
        if self.solver is None:
            return (self.counts_against,)
        both = (self.counts_against, partial(self._is_refuted, self.solver))
        whole = partial(self._is_refuted_as_a_whole, self.solver)
        return (*both, whole) if self.whole else both

    def refutes(self, rules: Rules) -> bool:
        """Return whether it is proven that these rules leave no plan."""
        return any(proof(rules) for proof in self.proofs)

    def part(self, share: float) -> Possibility:
        """Return the same for a part of the time that is left."""
        if math.isinf(self.until):
            return self
        now = clock.now()
        return attrs.evolve(self, until=now + share * max(self.until - now, 0.0))

    def counts_against(self, rules: Rules) -> bool:
        """Return whether counting alone proves that these rules leave no plan."""
        if self.is_over:
            return False
        try:
            refute(rules.problem, rules)
        except InfeasibleError:
            return True
        return False

    @property
    def is_over(self) -> bool:
        """Whether nothing more is answered."""
        return clock.now() >= self.until

    def _by_model(self, solver: Solver, rules: Rules) -> Finding:
        from parplan.model.schedule_model import ScheduleModel  # loads Pyomo: a second

        try:
            model = ScheduleModel(rules)
        except InfeasibleError:
            return REFUTED
        answer = self._solve(solver, model.pyomo)
        if answer.termination is Termination.INFEASIBLE:
            return REFUTED
        schedule = model.extract(answer.values) if answer.values else None
        if schedule is None or check_schedule(schedule, rules):
            return UNKNOWN
        return Finding(True, schedule)

    def _is_refuted_as_a_whole(self, solver: Solver, rules: Rules) -> bool:
        return not self.is_over and self._by_model(solver, rules).possible is False

    def _is_refuted(self, solver: Solver, rules: Rules) -> bool:
        from parplan.model.assignment_model import AssignmentModel  # loads Pyomo: a second

        if self.is_over:
            return False
        rows = [found for by_group in rules.allowed_by_group for found in by_group]
        if sum(len(found) for found in rows if len(found) > 1) > MOST_CHOICES:
            return False
        try:
            model = AssignmentModel(rules)
        except InfeasibleError:
            return True
        return self._solve(solver, model.pyomo).termination is Termination.INFEASIBLE

    def _solve(self, solver: Solver, model: object) -> Answer:
        left = max(min(TRY_S, self.until - clock.now()), 0.1)
        return solver.solve(model, SolveOptions(left, gap=0.99, workers=self.workers))

    def _by_lists(self, rules: Rules) -> Finding:
        """Return the first list schedule that fits; the rules of a search's start."""
        end = min(self.until, clock.now() + LIST_S)
        with contextlib.suppress(InfeasibleError, InputError):
            placer = Placer(rules.problem, rules, find_blocks(rules.problem, rules))
            for _, candidate in first_candidates(placer, end):
                schedule = Finisher(placer).finish(candidate)
                if not check_schedule(schedule, rules):
                    return Finding(True, schedule)
        return UNKNOWN
