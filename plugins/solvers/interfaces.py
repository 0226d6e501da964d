"""Pyomo's families of solver interfaces, each behind one small adapter.

An adapter sets the limits, starts warm, solves without loading and without raising, and says what
came out. It runs in the solver's own process; every import of a solver is inside a function.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from parplan.contracts import SolveOptions, Termination


@frozen
class Found:
    """What a solver left: values are on the model's variables if ``solved``."""

    termination: Termination
    solved: bool = False
    objective: float | None = None
    bound: float | None = None
    message: str = ""


@frozen
class SizeLimit:
    """The most columns and rows that a licence without payment admits (inclusive)."""

    columns: int
    rows: int
    together: int | None = None

    def admits(self, columns: int, rows: int) -> bool:
        """Return whether a model of this size is within it."""
        if self.together is not None:
            return columns + rows <= self.together
        return columns <= self.columns and rows <= self.rows

    def __str__(self) -> str:
        if self.together is not None:
            return f"{self.together} variables and rows together"
        return f"{self.columns} variables, {self.rows} rows"


@frozen
class Adapter(ABC):
    """One solver behind one of Pyomo's interfaces.

    Attributes
    ----------
    factory
        Name in Pyomo's solver factory of that family.
    limit
        What its free licence admits; None if nothing is limited.
    warm_starts, bounds
        Whether it takes a start, and gives a bound of its own.
    """

    factory: str
    limit: SizeLimit | None = None
    warm_starts: bool = True
    bounds: bool = True

    @abstractmethod
    def version(self) -> str | None:
        """Return the solver's version; None if it is not installed."""

    @abstractmethod
    def solve(self, model: Any, options: SolveOptions, *, warm: bool) -> Found:
        """Solve a linear model; a start stands on its variables if ``warm``."""


def _dotted(version: Any) -> str:
    return ".".join(map(str, version)).removesuffix(".0.0") if version else ""


# -- pyomo.contrib.appsi ---------------------------------------------------------------------------


@frozen
class Appsi(Adapter):
    """HiGHS through appsi: the interface of it that starts warm."""

    def _solver(self) -> Any:
        from pyomo.contrib.appsi import solvers

        return getattr(solvers, self.factory)()

    def version(self) -> str | None:
        """Return the solver's version; None if it is not installed."""
        solver = self._solver()
        return _dotted(solver.version()) if solver.available() > 0 else None

    def solve(self, model: Any, options: SolveOptions, *, warm: bool) -> Found:
        """Solve; options are those of HiGHS."""
        import highspy
        from pyomo.contrib.appsi.base import TerminationCondition as Condition

        solver = self._solver()
        solver.config.load_solution = False  # it would raise where there is none
        solver.config.time_limit = options.time_limit_s
        solver.config.mip_gap = options.gap
        solver.config.warmstart = warm
        solver.highs_options = {
            "threads": options.workers,
            "random_seed": options.seed,
            # Big-M rows turn a fraction of a binary into ticks: the least HiGHS can do is 1e-10.
            "mip_feasibility_tolerance": 1e-9,
            "primal_feasibility_tolerance": 1e-9,
            # Its presolve (seen in 1.11 to 1.15.1) loses optima of models as small as 15 rows,
            # and calls a worse solution optimal: see tests/differential/test_traps.py.
            "presolve": "off",
        }
        try:
            results = solver.solve(model)
        finally:
            # HiGHS keeps its threads, refuses any other number of them in the same process, and
            # cannot use or end them in a forked one.
            highspy.Highs.resetGlobalScheduler(True)
        ended = {
            Condition.optimal: Termination.OPTIMAL,
            Condition.infeasible: Termination.INFEASIBLE,
            Condition.maxTimeLimit: Termination.TIME_LIMIT,
        }.get(results.termination_condition)
        solved = results.best_feasible_objective is not None
        if solved:
            results.solution_loader.load_vars()
        return Found(
            ended or Termination.FAILED,
            solved,
            results.best_feasible_objective,
            results.best_objective_bound,
            "" if ended else f"stopped with '{results.termination_condition.name}'",
        )


# -- pyomo.contrib.solver --------------------------------------------------------------------------


@frozen
class Contrib(Adapter):
    """Solvers of Pyomo's newer interface.

    Attributes
    ----------
    settings
        The solver's own names for ``seed`` and other options that the interface lacks.
    """

    settings: Mapping[str, str] = field(factory=dict)

    def _solver(self) -> Any:
        from pyomo.contrib.solver.common.factory import SolverFactory

        return SolverFactory(self.factory)

    def version(self) -> str | None:
        """Return the solver's version; None if it is not installed."""
        solver = self._solver()
        return _dotted(solver.version()) if solver.available() else None

    def solve(self, model: Any, options: SolveOptions, *, warm: bool) -> Found:
        """Solve with the options that all solvers of this interface share."""
        from pyomo.contrib.solver.common.results import TerminationCondition as Condition

        solver = self._solver()
        given = {self.settings[k]: getattr(options, k) for k in self.settings}
        results = solver.solve(
            model,
            time_limit=options.time_limit_s,
            rel_gap=options.gap,
            threads=options.workers,
            load_solutions=False,
            raise_exception_on_nonoptimal_result=False,
            warmstart_discrete_vars=warm,
            solver_options=given,
        )
        ended = {
            Condition.convergenceCriteriaSatisfied: Termination.OPTIMAL,
            Condition.provenInfeasible: Termination.INFEASIBLE,
            Condition.maxTimeLimit: Termination.TIME_LIMIT,
        }.get(results.termination_condition)
        solved = results.incumbent_objective is not None
        if solved:
            results.solution_loader.load_vars()
        return Found(
            ended or Termination.FAILED,
            solved,
            results.incumbent_objective,
            results.objective_bound,
            "" if ended else f"stopped with '{results.termination_condition.name}'",
        )


# -- pyomo's first solver factory ------------------------------------------------------------------


WITHOUT_SOLUTION = frozenset({"infeasible", "unbounded", "intermediateNonInteger"})
"""Termination conditions beside which values may stand that are none of a solution."""


@frozen
class Legacy(Adapter):
    """Solvers of Pyomo's first interface, by the names of their own options.

    Attributes
    ----------
    settings
        Their names for ``time_limit_s``, ``gap``, ``workers`` and ``seed``, as far as they exist.
    whole_seconds
        Whether the time limit must be a whole number (rounded up).
    extra
        Options with their values.
    at_limit
        Termination conditions, as Pyomo shows them, that mean the time limit for this solver.
    """

    settings: Mapping[str, str] = field(factory=dict)
    whole_seconds: bool = False
    extra: Mapping[str, Any] = field(factory=dict)
    at_limit: frozenset[str] = frozenset({"maxTimeLimit"})

    def _solver(self) -> Any:
        from pyomo.environ import SolverFactory

        return SolverFactory(self.factory)

    def version(self) -> str | None:
        """Return the solver's version; None if it is not installed."""
        solver = self._solver()
        if not solver.available(exception_flag=False):
            return None
        return _dotted(solver.version())

    def solve(self, model: Any, options: SolveOptions, *, warm: bool) -> Found:
        """Solve, and load what there is."""
        from pyomo.opt import SolverStatus

        solver = self._solver()
        for what, name in self.settings.items():
            value = getattr(options, what)
            solver.options[name] = (
                -int(-value // 1) if what == "time_limit_s" and (self.whole_seconds) else value
            )
        solver.options.update(self.extra)
        start = {"warmstart": True} if warm and self.warm_starts else {}
        results = solver.solve(model, load_solutions=False, **start)
        condition = str(results.solver.termination_condition)
        solved = len(results.solution) > 0 and condition not in WITHOUT_SOLUTION
        if solved:
            model.solutions.load_from(results)
        return self._found(model, results, condition, solved, SolverStatus.aborted)

    def _found(self, model: Any, results: Any, condition: str, solved: bool, aborted: Any) -> Found:
        import pyomo.environ as pyo

        ended = {
            "optimal": Termination.OPTIMAL,
            "globallyOptimal": Termination.OPTIMAL,
            "infeasible": Termination.INFEASIBLE,
            "noFeasible": Termination.INFEASIBLE,
        }.get(condition)
        if ended is None and condition in self.at_limit:
            ended = Termination.TIME_LIMIT
        objective = next(model.component_data_objects(pyo.Objective, active=True), None)
        bound = None
        if objective is not None and self.bounds:
            side = "lower" if objective.sense == pyo.minimize else "upper"
            bound = _number(getattr(results.problem, f"{side}_bound"))
        return Found(
            ended or Termination.FAILED,
            solved,
            pyo.value(objective) if solved and objective is not None else None,
            bound,
            "" if ended else f"stopped with '{condition}' {results.solver.message or ''}".strip(),
        )


def _number(value: Any) -> float | None:
    """Return a finite number, None for what stands where there is no bound."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < 1e19 else None
