"""Exact solving of small problems: one model, any solver backend."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import attrs
from attrs import frozen

from parplan import clock
from parplan.contracts import (
    Answer,
    Capability,
    Progress,
    Report,
    SolveOptions,
    Solver,
    Termination,
)
from parplan.errors import InfeasibleError, InputError, PluginError, SolverError
from parplan.model.clock import Rounding
from parplan.model.granule import all_times, granule, model_tick
from parplan.options import SearchOptions
from parplan.plans import Bound
from parplan.portfolio import named_solver
from parplan.problem import STEP, Problem
from parplan.registry import Registry
from parplan.rules import Rules
from parplan.search.incumbent import Incumbent

if TYPE_CHECKING:
    from parplan.model.schedule_model import ScheduleModel

MOST_INTERVALS = 3000
"""Largest model, in intervals, that is handed to a solver in one piece."""

SECOND_OPINION_S = 8.0
"""Seconds for another solver to say whether there is a plan, where one says that there is none."""

UPPER_SHARE = 0.6
"""Part of the time for finding schedules where ticks are coarse; the rest goes to the bound."""

PREFERRED = ("cp-sat", "highs")
LIST = "list"
"""The name that asks for list scheduling alone."""


@frozen
class Engine:
    """Which way a problem is solved.

    Attributes
    ----------
    solver
        Name of the backend; empty for the list scheduler alone.
    intervals
        Estimated number of intervals of the whole model.
    """

    solver: str
    exact: bool
    intervals: int
    description: str


def choose(problem: Problem, rules: Rules, registry: Registry, options: SearchOptions) -> Engine:
    """Return the engine for a problem.

    Raises
    ------
    InputError
        If the solver asked for is unknown, or cannot take the first objective.
    SolverError
        If it is known but not available here, with how to install it.
    """
    count = intervals(problem, rules)
    if rules.objectives[0].criterion() is not None:
        name = rules.objectives[0].name
        if options.solver not in ("", LIST):
            raise InputError(
                f"no solver minimises '{name}', a statistic over scenarios; leave the solver away",
                key="search.solver",
            )
        return Engine("", False, count, f"list schedules, then orders improved by {name}")
    by_loads = rules.objectives[0].loading() is not None
    alone = "partitions by loads" if by_loads else "list schedules and local search"
    if options.solver == LIST:
        return Engine("", False, count, alone)
    name = options.solver
    if name:
        found = named_solver(registry, name, key="search.solver").probe()
        if not found.available:
            raise SolverError(f"is not available: {found.reason}", solver=name)
    else:
        name = next((n for n in PREFERRED if n in registry.solvers), "")
    if name:
        _check_form(named_solver(registry, name), options)
    if by_loads and name:
        return Engine("", False, count, f"partitions by loads, then their model solved by {name}")
    small = count <= MOST_INTERVALS
    if not name or not small:
        return Engine("", False, count, alone)
    return Engine(name, True, count, f"list schedules, then one model solved by {name}")


def _check_form(solver: Solver, options: SearchOptions) -> None:
    """Raise InputError if a form of the MIP is asked for, and the solver reads no MIP's rows."""
    plain = SearchOptions()
    for key in ("mip_form", "mip_products"):
        if Capability.CP in solver.capabilities and getattr(options, key) != getattr(plain, key):
            raise InputError(
                f"'{solver.name}' has no forms of a MIP; name a MIP solver, such as highs",
                key=f"search.{key}",
            )


def solver_for(registry: Registry, options: SearchOptions) -> Solver | None:
    """Return the backend asked for, or the first one preferred; None for list schedules alone."""
    if options.solver == LIST:
        return None
    if options.solver:
        return named_solver(registry, options.solver, key="search.solver")
    return next((registry.solvers[n].value for n in PREFERRED if n in registry.solvers), None)


def intervals(problem: Problem, rules: Rules) -> int:
    """Estimate the intervals of the whole model: alternatives of tasks, and transfers."""
    graph = problem.graph
    places = [
        {d for row in rows for d in problem.alternatives[o][row].devices}
        for o, rows in enumerate(rules.allowed)
    ]
    sizes = Counter(problem.workload.group(m) for m in range(problem.workload.microbatches))
    total = 0
    for o, by_group in enumerate(rules.allowed_by_group):
        once = problem.microbatches_of(o).start == STEP
        total += sum((1 if once else sizes[g]) * len(rows) for g, rows in enumerate(by_group))
    for t, producer in enumerate(graph.producers):
        targets = (
            set().union(*(places[c] for c in graph.consumers[t])) if graph.consumers[t] else set()
        )
        if len(targets | places[producer]) > 1:
            total += len(problem.microbatches_of(producer)) * len(targets)
    return total


def solve(
    rules: Rules,
    registry: Registry,
    options: SearchOptions,
    engine: Engine,
    incumbent: Incumbent,
    deadline: float,
) -> None:
    """Solve the whole problem by the engine's solver, starting from the incumbent.

    Objectives come one after another, each under what the ones before it reached. Where a backend
    fails or lies, the next one serves; what went wrong stands in ``incumbent.failures``.

    Raises
    ------
    InfeasibleError
        If a solver proves that there is no schedule, and no other one finds any.
    SolverError
        If no solver served and there is no incumbent.
    PluginError
        If a constraint's code allows in the model what its ``violations`` refuses.
    """
    claim: Solver | None = None
    reason: BaseException | None = None
    failed: SolverError | None = None
    for solver in _backends(engine, registry):
        until = deadline if claim is None else min(deadline, clock.now() + SECOND_OPINION_S)
        try:
            _solve_by(solver, rules, options, incumbent, until)
        except _NoPlanError as error:
            reason = reason or error.__cause__
            if claim is not None:
                break  # two say so
            claim = solver
        except SolverError as error:
            failed = failed or error
            incumbent.fail(solver.name, str(error))
        else:
            break
    if claim is not None:
        if incumbent.schedule is None:
            if isinstance(reason, InfeasibleError):
                raise reason  # it names the operators
            raise InfeasibleError(f"{claim.name} proves that no plan exists")
        incumbent.fail(claim.name, f"claimed no plan exists, refuted by {incumbent.found_by}")
    elif failed is not None and incumbent.schedule is None:
        raise failed


def _backends(engine: Engine, registry: Registry) -> list[Solver]:
    """Return the engine's solver and those that serve where it fails, or that are asked as well."""
    names = dict.fromkeys([engine.solver, *(n for n in PREFERRED if n in registry.solvers)])
    return [named_solver(registry, name) for name in names]


class _NoPlanError(Exception):
    """A solver says that there is no plan, and no incumbent refutes it."""


def _solve_by(
    solver: Solver, rules: Rules, options: SearchOptions, incumbent: Incumbent, deadline: float
) -> None:
    """Solve by one backend, one objective after another."""
    for level in range(len(rules.objectives)):
        if level == 0 and incumbent.gap <= options.gap:
            continue  # already proven; later objectives are not
        left = deadline - clock.now()
        if left <= 0:
            return
        stage = _Stage(rules, solver, level, incumbent)
        answer = stage.run(attrs.evolve(options, time_limit_s=left))
        if answer.termination is not Termination.OPTIMAL or not stage.lossless:
            return


class _Stage:
    """One objective of the lexicographic order: build, solve, judge."""

    def __init__(
        self,
        rules: Rules,
        solver: Solver,
        level: int,
        incumbent: Incumbent,
    ) -> None:
        self.rules = rules
        self.solver = solver
        self.level = level
        self.incumbent = incumbent
        self.objective = rules.objectives[level]

    def run(self, options: SearchOptions) -> Answer:
        """Return the solver's answer, after the incumbent and the bounds have heard of it."""
        begun = clock.now()
        share = 1.0 if self.lossless else UPPER_SHARE
        try:
            model = self._build(Rounding.UP)
        except InfeasibleError as error:  # windows and choices alone leave nothing
            if self.incumbent.schedule is None:
                raise _NoPlanError from error
            message = f"its model refuses the plan that is there: {error}"
            raise SolverError(message, solver=self.solver.name) from error
        start = None
        if self.incumbent.schedule is not None:
            start = model.warm_start(self.incumbent.schedule)
        answer = self._solve(model, options, options.time_limit_s * share, start)
        self._judge(answer, model)
        left = options.time_limit_s - (clock.now() - begun)
        if not self.lossless and self.level == 0 and left > 0:
            self._bound_from_below(options, left)
        return answer

    def _solve(
        self,
        model: ScheduleModel,
        options: SearchOptions,
        seconds: float,
        start: Mapping[str, float] | None = None,
    ) -> Answer:
        limits = SolveOptions(
            seconds,
            options.gap,
            options.workers,
            options.seed,
            form=options.mip_form,
            products=options.mip_products,
        )
        with self._guarded():
            return self.solver.solve(model.pyomo, limits, start, self._report(model))

    def _bound_from_below(self, options: SearchOptions, seconds: float) -> None:
        """Bound the problem by a model whose coarse times are rounded down."""
        model = self._build(Rounding.DOWN)
        answer = self._solve(model, options, seconds)
        optimal = answer.termination is Termination.OPTIMAL
        self._add_bound(answer, self._value(model, answer.objective if optimal else answer.bound))

    def _add_bound(self, answer: Answer, bound: float | None) -> None:
        if bound is not None and self.level == 0 and math.isfinite(bound):
            name = f"{answer.solver} {answer.version}".strip()
            self.incumbent.add_bounds([Bound(bound, "problem", name, claimed=True)])

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Whatever a backend raises, or its values lead to, is its failure."""
        try:
            yield
        except (PluginError, SolverError):
            raise
        except Exception as error:
            message = f"raised {type(error).__name__}: {error}"
            raise SolverError(message, solver=self.solver.name) from error

    def _build(self, rounding: Rounding) -> ScheduleModel:
        from parplan.model.schedule_model import (  # loads Pyomo: a second
            ModelOptions,
            ScheduleModel,
        )

        horizon = None
        schedule = self.incumbent.schedule
        if schedule is not None and self.rules.objectives[0].name == "makespan":
            horizon = schedule.makespan
            if not self.lossless and rounding is Rounding.UP:
                # Coarse times are longer: leave room for the incumbent itself.
                horizon += self.factor * (len(schedule.tasks) + len(schedule.transfers))
        only = attrs.evolve(self.rules, objectives=(self.objective,))
        model = ScheduleModel(only, ModelOptions(self.factor, rounding, horizon))
        if rounding is Rounding.UP:
            self._state_bound(model)
        for before, value in zip(self.rules.objectives, self.incumbent.values, strict=False):
            if before is self.objective:
                break
            expression = before.expression(model)
            if expression is not None:
                limit = before.to_expression(model, value)
                limit = math.floor(limit + 1e-6) if not before.maximize else math.ceil(limit - 1e-6)
                sense = expression >= limit if before.maximize else expression <= limit
                model.block("objectives").row(sense)
        return model

    def _state_bound(self, model: ScheduleModel) -> None:
        """Let the model know what is proven of the makespan already."""
        bound = self.incumbent.bound
        if self.rules.objectives[0].name == "makespan" and bound is not None:
            ticks = math.floor(bound.value / self.rules.problem.tick_s + 1e-6)
            model.makespan.setlb(min(ticks // self.factor, model.horizon))

    @cached_property
    def _granule(self) -> int:
        return granule(self.rules)

    @property
    def lossless(self) -> bool:
        """Whether every time is a whole number of model ticks."""
        return self._granule % self.factor == 0

    @cached_property
    def factor(self) -> int:
        """Model tick in ticks: the granule, or coarser where a MIP could not tell ticks apart."""
        horizon = max(all_times(self.rules)) * self.rules.problem.task_count
        if self.incumbent.schedule is not None:
            horizon = self.incumbent.schedule.makespan
        return model_tick(self._granule, self.solver.capabilities, horizon)

    def _value(self, model: ScheduleModel, number: float | None) -> float | None:
        """Return what a number of the model's objective means; None if it is another objective."""
        if number is None or model.objective is None:
            return None
        return self.objective.from_expression(model, number)

    def _report(self, model: ScheduleModel) -> Report:
        def tell(news: Progress) -> None:
            self.incumbent.note(news)
            # News of a later objective would mix units with the first.
            if self.level == 0:
                self.incumbent.hear(
                    self.solver.name,
                    self._value(model, news.incumbent),
                    self._value(model, news.bound),
                )

        return tell

    def _judge(self, answer: Answer, model: ScheduleModel) -> None:
        name = f"{answer.solver} {answer.version}".strip()
        if answer.termination is Termination.INTERRUPTED:
            self._take(answer, model, name)
            raise KeyboardInterrupt
        if answer.termination is Termination.INFEASIBLE:
            if self.incumbent.schedule is None:
                raise _NoPlanError
            raise SolverError(
                "claims that there is no plan, which the incumbent refutes", solver=answer.solver
            )
        if not self._take(answer, model, name):
            raise SolverError("gave a schedule that breaks the rules", solver=answer.solver)
        optimal = answer.termination is Termination.OPTIMAL
        if self.lossless:
            bound = self._value(model, answer.objective if optimal else answer.bound)
            self._add_bound(answer, bound)
        if answer.termination in (Termination.REFUSED, Termination.FAILED):
            raise SolverError(answer.message or "failed", solver=answer.solver)

    def _take(self, answer: Answer, model: ScheduleModel, name: str) -> bool:
        """Offer the answer's schedule; return whether nothing speaks against the answer."""
        if not answer.values:
            return True
        with self._guarded():
            schedule = model.extract(answer.values)
        refused = len(self.incumbent.rejected)
        if self.incumbent.offer(schedule, name):
            return True
        hatches = {c.name for c in self.rules.escape_hatches}
        for _, violation in self.incumbent.rejected[refused:]:
            if violation.rule in hatches:
                raise PluginError(
                    "its code in the model allows what its violations refuses: "
                    f"{violation.message}; make the two agree",
                    plugin=violation.rule,
                    hook="violations",
                )
        return len(self.incumbent.rejected) == refused
