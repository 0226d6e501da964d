"""The lower level: the best times of an assignment, or a proof of what it takes at least."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
from attrs import frozen

from parplan.contracts import Answer, Report, SolveOptions, Solver, Termination
from parplan.errors import InfeasibleError, SolverError
from parplan.model.clock import Rounding
from parplan.model.granule import model_tick
from parplan.rules import Rules
from parplan.schedule import Schedule

UPPER_SHARE = 0.6
"""Part of the time for finding schedules where ticks are coarse; the rest goes to the bound."""


@frozen(eq=False)
class Timed:
    """What is known of an assignment.

    Attributes
    ----------
    schedule
        The best that was found below the makespan asked for; None if none was.
    least
        No schedule of it takes fewer ticks, as far as the solver is right; no more than asked for.
    """

    schedule: Schedule | None
    least: int


@frozen(eq=False)
class Timer:
    """Times assignments of one problem by one solver.

    Attributes
    ----------
    granule
        Tick that loses nothing (``parplan.model.granule``).
    report
        Hears the solver's news.
    """

    rules: Rules
    solver: Solver
    granule: int
    report: Report | None = None

    def time(
        self, assignment: Mapping[tuple[int, int], int], below: int, options: SolveOptions
    ) -> Timed:
        """Return the best schedule of an assignment with a makespan below ``below`` ticks.

        Operators that the assignment leaves out may run in any of their alternatives: what is
        proven then holds for all assignments that agree with it.

        Raises
        ------
        SolverError
            If the solver cannot take the model, or fails.
        """
        tick = model_tick(self.granule, self.solver.capabilities, below)
        lossless = self.granule % tick == 0
        share = 1.0 if lossless else UPPER_SHARE
        found = self._solve(assignment, below, tick, Rounding.UP, options, share)
        if lossless or found.schedule is not None:
            return found
        return self._solve(assignment, below, tick, Rounding.DOWN, options, 1 - share)

    def _solve(
        self,
        assignment: Mapping[tuple[int, int], int],
        below: int,
        tick: int,
        rounding: Rounding,
        options: SolveOptions,
        share: float,
    ) -> Timed:
        from parplan.model.schedule_model import ModelOptions, ScheduleModel  # loads Pyomo

        up, proves = rounding is Rounding.UP, rounding is Rounding.DOWN or self.granule % tick == 0
        only = attrs.evolve(self.rules, objectives=self.rules.objectives[:1])
        horizon = (below - 1) // tick * tick if up else below - 1
        try:
            model = ScheduleModel(only, ModelOptions(tick, rounding, horizon), assignment)
        except InfeasibleError:
            return Timed(None, below)
        limits = attrs.evolve(options, time_limit_s=share * options.time_limit_s)
        answer = self.solver.solve(model.pyomo, limits, report=self.report)
        if answer.termination is Termination.INTERRUPTED:
            raise KeyboardInterrupt
        if answer.termination in (Termination.REFUSED, Termination.FAILED):
            raise SolverError(answer.message or "failed", solver=answer.solver)
        least = min(_bound(answer) * tick, below) if proves else 0
        if answer.termination is Termination.INFEASIBLE:
            return Timed(None, below if proves else 0)
        if not up or not answer.values:
            return Timed(None, least)
        schedule = model.extract(answer.values)
        return Timed(schedule, least)


def _bound(answer: Answer) -> int:
    """Return the claimed bound in model ticks."""
    bound = answer.objective if answer.termination is Termination.OPTIMAL else answer.bound
    if bound is None or not math.isfinite(bound):
        return 0
    return max(math.ceil(bound - 1e-6), 0)
