"""The bi-level loop: an upper model assigns, the lower level times it, proofs come back as cuts.

The upper model is a relaxation (load, memory, critical path), so its bound holds for the problem.
What an assignment really takes at least is known only once it is there. It is proven by bounds, or
by a solver that looks for times below the incumbent's; the part of the assignment that the proof
rests on becomes a cut (``cuts``), and the upper model is solved again, until it has nothing below
the incumbent to offer. Then the incumbent is optimal: every other assignment is cut off by a proof
that it is no better.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING

from attrs import field, frozen

from parplan import clock
from parplan.contracts import Answer, SolveOptions, Solver, Termination
from parplan.errors import InfeasibleError, SolverError
from parplan.model.clock import Clock, Rounding
from parplan.model.granule import granule, model_tick
from parplan.options import SearchOptions
from parplan.plans import Bound
from parplan.rules import Rules
from parplan.search.assigning.cuts import Assignment, narrowed
from parplan.search.assigning.surroundings import find_surroundings
from parplan.search.assigning.timing import Timer
from parplan.search.bounds import bounds_for_assignment
from parplan.search.improving.improvement import best_candidate, rule_portfolio
from parplan.search.incumbent import Incumbent
from parplan.search.placing.evaluation import Finisher, prepare_assignment
from parplan.search.placing.placement import Placer

if TYPE_CHECKING:
    from parplan.model.assignment_model import AssignmentModel

MOST_BINARIES = 4_000
"""Largest upper model, in alternatives of operators to choose from."""

ROUND_S = 5.0
"""Most seconds for one solve of the upper model."""

TIMING_S = 1.0
"""Seconds for timing an assignment by a solver; twice as many each time it is offered again."""

MOST_TIMED = 400
"""Largest problem, in tasks, whose assignments are timed by a solver."""

TRIES = 24
"""How often a proof by bounds is repeated with fewer operators."""

SOLVER_TRIES = 8
"""The same of a proof by a solver, which must answer as soon as for all of them."""


def can_assign(rules: Rules) -> bool:
    """Return whether there is a choice, and the upper model of a size that a solver can take."""
    open_rows = [rows for by_group in rules.allowed_by_group for rows in by_group]
    choices = sum(len(rows) for rows in open_rows if len(rows) > 1)
    return 0 < choices <= MOST_BINARIES


def search_assignments(
    placer: Placer, solver: Solver, options: SearchOptions, incumbent: Incumbent, until: float
) -> None:
    """Search assignments from one incumbent to the next, best bound first.

    Bounds and schedules go to the incumbent, which must have a schedule; the first objective must
    be the makespan. The loop ends when the gap is closed, the upper model offers nothing more, or
    at ``until`` (on ``parplan.clock``).

    Raises
    ------
    SolverError
        If the solver fails or cannot take the upper model.
    """
    loop = _Loop(placer, solver, options, incumbent, until)
    while incumbent.gap > options.gap and clock.now() < until:
        if not loop.step():
            return


@frozen(eq=False)
class _Loop:
    """What stays the same from one assignment to the next, and the upper model with its cuts."""

    placer: Placer
    solver: Solver
    options: SearchOptions
    incumbent: Incumbent
    until: float
    offered: Counter[tuple[int, ...]] = field(factory=Counter)

    @property
    def rules(self) -> Rules:
        return self.placer.rules

    @property
    def best(self) -> int:
        """Makespan of the incumbent in ticks."""
        assert self.incumbent.schedule is not None
        return self.incumbent.schedule.makespan

    @property
    def known(self) -> int:
        """Ticks that no plan undercuts."""
        bound, tick_s = self.incumbent.bound, self.placer.problem.tick_s
        return 0 if bound is None else min(round(bound.value / tick_s), self.best)

    @cached_property
    def model(self) -> AssignmentModel:
        from parplan.model.assignment_model import AssignmentModel  # loads Pyomo: takes a second

        tick = model_tick(self.timer.granule, self.solver.capabilities, self.best)
        surroundings = find_surroundings(self.rules, self.known)
        clock = Clock(tick, Rounding.DOWN)
        return AssignmentModel(self.rules, self.best, surroundings, clock, break_symmetry=True)

    @cached_property
    def timer(self) -> Timer:
        return Timer(self.rules, self.solver, granule(self.rules), self.incumbent.note)

    def limits(self, seconds: float) -> SolveOptions:
        left = max(self.until - clock.now(), 0.05)
        return SolveOptions(
            min(seconds, left), self.options.gap, self.options.workers, self.options.seed
        )

    def step(self) -> bool:
        """Offer, time and cut off one assignment; return whether more may come."""
        self.model.limit(self.best - 1)
        answer = self.solver.solve(
            self.model.pyomo, self.limits(ROUND_S), report=self.incumbent.note
        )
        if answer.termination is Termination.INTERRUPTED:
            raise KeyboardInterrupt
        if answer.termination in (Termination.REFUSED, Termination.FAILED):
            raise SolverError(answer.message or "failed", solver=answer.solver)
        self._take_bound(answer)
        if not answer.values or self.incumbent.gap <= self.options.gap:
            return False
        assignment = self.model.extract(answer.values)
        key = tuple(assignment[k] for k in sorted(assignment))
        self.offered[key] += 1
        return self._judge(assignment, self.offered[key])

    def _take_bound(self, answer: Answer) -> None:
        """Take what no assignment that is left undercuts; those cut off are no better than best."""
        bound = answer.objective if answer.termination is Termination.OPTIMAL else answer.bound
        if answer.termination is Termination.INFEASIBLE:
            ticks = self.best
        elif bound is None or not math.isfinite(bound):
            return
        else:
            ticks = min(math.ceil(bound - 1e-6) * self.model.clock.factor, self.best)
        self._raise_bound(ticks, f"{answer.solver} {answer.version}".strip())

    def _raise_bound(self, ticks: int, solver: str) -> None:
        """Take note of what no plan undercuts, if it is news."""
        if ticks > self.known or self.incumbent.bound is None:
            value = ticks * self.placer.problem.tick_s
            source = f"assignment by {solver}"
            self.incumbent.add_bounds([Bound(value, "problem", source, claimed=True)])

    # -- one assignment ------------------------------------------------------------------------

    def _judge(self, assignment: Assignment, times: int) -> bool:
        """Time an assignment, and cut off what its proof rests on; False if nothing is gained."""
        proven = self._proven(assignment)
        if proven < self.best and times == 1:
            self._schedule(assignment)
        if proven >= self.best:
            return self._exclude(self._narrowed(assignment, self.best))
        anyway = self.known
        if proven > anyway and times == 1:
            self.model.require(self._narrowed(assignment, proven), proven, anyway)
        if self.placer.problem.task_count > MOST_TIMED:
            return times == 1 and proven > anyway
        seconds = TIMING_S * 2 ** (times - 1)
        begun = clock.now()
        timed = self.timer.time(assignment, self.best, self.limits(seconds))
        took = clock.now() - begun
        if timed.schedule is not None:
            self.incumbent.offer(timed.schedule, f"assignment by {self.solver.name}")
        if timed.least >= self.best:
            return self._exclude(self._narrowed_by_solver(assignment, took))
        if timed.least > proven:
            self.model.require(assignment, timed.least, anyway)
        return True

    def _exclude(self, part: Assignment) -> bool:
        """Cut off a part of an assignment that is no better than best; False if that is all."""
        if not part:
            self._raise_bound(self.best, self.solver.name)
            return False
        self.model.exclude(part)
        return True

    def _schedule(self, assignment: Assignment) -> None:
        """Offer the best list schedule of an assignment."""
        try:
            prepared = prepare_assignment(self.placer, assignment)
        except InfeasibleError:
            return
        candidate = best_candidate(prepared, rule_portfolio())
        if candidate is not None:
            schedule = Finisher(self.placer).finish(candidate)
            self.incumbent.offer(schedule, f"assignment by {self.solver.name}")

    def _proven(self, assignment: Assignment) -> int:
        """Return what bounds say of all plans that agree with an assignment, in ticks.

        An assignment that cannot be at all takes as long as the incumbent: it is no better.
        """
        problem = self.placer.problem
        try:
            bounds = bounds_for_assignment(problem, self.rules, assignment)
        except InfeasibleError:
            return self.best
        return max((round(b.value / problem.tick_s) for b in bounds), default=0)

    def _narrowed(self, assignment: Assignment, least: int) -> Assignment:
        """Return the part of an assignment for which bounds prove ``least`` ticks."""
        order = self._by_path(assignment)
        return narrowed(assignment, order, lambda part: self._proven(part) >= least, TRIES)

    def _narrowed_by_solver(self, assignment: Assignment, seconds: float) -> Assignment:
        """Return a part of an assignment for which the solver finds nothing below the incumbent."""
        limits = self.limits(2 * seconds)

        def proves(part: Assignment) -> bool:
            if clock.now() > self.until:
                return False
            timed = self.timer.time(part, self.best, limits)
            if timed.schedule is not None:
                self.incumbent.offer(timed.schedule, f"assignment by {self.solver.name}")
            return timed.least >= self.best

        return narrowed(assignment, self._by_path(assignment), proves, SOLVER_TRIES)

    def _by_path(self, assignment: Assignment) -> list[tuple[int, int]]:
        """Return the keys, those on the shortest paths first: proofs seldom rest on them."""
        surroundings, problem = self.model.surroundings, self.placer.problem
        assert surroundings is not None  # the loop's model has them

        def length(key: tuple[int, int]) -> int:
            operator, group = key
            runs = problem.microbatches_of(operator)
            microbatch = next(m for m in runs if problem.workload.group(m) == group)
            row = assignment[key]
            alternative = problem.alternatives[operator][row]
            around = surroundings.around(operator, microbatch, row)
            return sum(around) + problem.ticks(operator, alternative, microbatch)

        return sorted(assignment, key=length)
