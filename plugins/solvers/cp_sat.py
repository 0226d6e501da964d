"""Google's CP-SAT (OR-tools), written directly from the recorded terms."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from attrs import define, evolve

from parplan.contracts import (
    Answer,
    Availability,
    Capability,
    Progress,
    Report,
    SolveOptions,
    Solver,
    Termination,
)
from parplan.errors import ParplanError
from parplan.model.cp_sat_writer import CpSatModel, write_cp_sat
from parplan.system.contained import Channel, run_contained, solve_contained

NAME = "cp-sat"
INSTALL = "pip install 'ortools>=9.12,<9.16'"
LEAST_TIME_S = 0.01
NEWS_S = 0.1
NO_BOUND = 1e18
"""CP-SAT shows a bound this large where it has none."""


class CpSat(Solver):
    """CP-SAT in a process of its own."""

    name: ClassVar[str] = NAME
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.CP, Capability.MIP, Capability.BOUND, Capability.WARM_START, Capability.STOP}
    )

    def probe(self) -> Availability:
        """Solve a tiny model, in a process of its own."""
        outcome = run_contained(_probe, time_limit_s=30.0, label=NAME)
        if outcome.value is None:
            return Availability(False, reason=f"{outcome.failure}; install it by: {INSTALL}")
        return Availability(True, version=outcome.value)

    def solve(
        self,
        model: Any,
        options: SolveOptions,
        warm_start: Mapping[str, float] | None = None,
        report: Report | None = None,
    ) -> Answer:
        """Write and solve a model; ``values`` are whole numbers."""
        return solve_contained(solve_here, model, options, warm_start, report, solver=NAME)


def _probe(channel: Channel) -> str:
    import ortools
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    number = model.new_int_var(0, 9, "number")
    model.maximize(number)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    if solver.solve(model) != cp_model.OPTIMAL or solver.value(number) != 9:
        raise RuntimeError(f"version {ortools.__version__} does not solve max x <= 9")
    return str(ortools.__version__)


def solve_here(
    channel: Channel | None,
    model: Any,
    options: SolveOptions,
    warm_start: Mapping[str, float] | None = None,
) -> Answer:
    """Return CP-SAT's answer, found in this process; news goes to the channel, if there is one."""
    import ortools

    begun = time.monotonic()
    version = str(ortools.__version__)
    try:
        written = write_cp_sat(model)
    except ParplanError as error:
        return Answer(Termination.REFUSED, NAME, version, message=str(error))
    if options.cutoff is not None:
        written.add_cutoff(options.cutoff)
    if warm_start:
        written.add_hints(warm_start)
    return _solve(channel, written, options, version, begun)


def _solve(
    channel: Channel | None,
    written: CpSatModel,
    options: SolveOptions,
    version: str,
    begun: float,
) -> Answer:
    from ortools.sat.python import cp_model

    solver = cp_model.CpSolver()
    parameters = solver.parameters
    left = options.time_limit_s - (time.monotonic() - begun)
    parameters.max_time_in_seconds = max(left, LEAST_TIME_S)
    parameters.relative_gap_limit = options.gap
    parameters.num_workers = options.workers
    parameters.random_seed = options.seed
    news = None
    if channel is not None:
        news = _News(channel, written, version, begun)
        solver.best_bound_callback = news.on_bound
    status = solver.solve(written.model, None if news is None else _callback(news))
    answer = Answer(Termination.TIME_LIMIT, NAME, version, seconds=time.monotonic() - begun)
    if status == cp_model.MODEL_INVALID:
        return evolve(answer, termination=Termination.REFUSED, message=written.model.validate())
    if status == cp_model.INFEASIBLE:
        return evolve(answer, termination=Termination.INFEASIBLE)
    answer = evolve(answer, bound=_bound(written, solver.best_objective_bound))
    if status == cp_model.UNKNOWN:
        return answer
    return evolve(
        answer,
        termination=Termination.OPTIMAL if status == cp_model.OPTIMAL else answer.termination,
        values=_values(written, solver.value),
        objective=written.unscaled(solver.objective_value),
    )


def _bound(written: CpSatModel, bound: float) -> float | None:
    """Return a bound in units of the Pyomo model; None while CP-SAT has none."""
    if written.objective is None or abs(bound) >= NO_BOUND:
        return None
    return written.unscaled(bound)


def _values(written: CpSatModel, value: Callable[[Any], int]) -> dict[str, float]:
    found = {name: float(value(column)) for name, column in written.columns.items()}
    return {**found, **written.unused}


@define(eq=False)
class _News:
    """Tells the caller of incumbents, each one, and of bounds, not too often."""

    channel: Channel
    written: CpSatModel
    version: str
    begun: float
    objective: float | None = None
    bound: float | None = None
    told: float = 0.0

    def on_bound(self, bound: float) -> None:
        """Take a new bound."""
        self.bound = _bound(self.written, bound)
        if time.monotonic() - self.told >= NEWS_S:
            self.tell()

    def on_solution(self, values: Mapping[str, float], objective: float, bound: float) -> None:
        """Take a new incumbent."""
        self.objective, self.bound = self.written.unscaled(objective), _bound(self.written, bound)
        self.channel.incumbent(
            Answer(
                Termination.TIME_LIMIT,
                NAME,
                self.version,
                values,
                objective=self.objective,
                bound=self.bound,
            )
        )
        self.tell(values)

    def tell(self, values: Mapping[str, float] | None = None) -> None:
        """Report the incumbent and the bound as they stand."""
        self.told = time.monotonic()
        seconds = self.told - self.begun
        news = Progress(NAME, seconds, self.objective, self.bound, values=values or {})
        self.channel.progress(news)


def _callback(news: _News) -> Any:
    """Return CP-SAT's callback object for solutions."""
    from ortools.sat.python import cp_model

    class Callback(cp_model.CpSolverSolutionCallback):  # type: ignore[misc]  # no types
        def on_solution_callback(self) -> None:
            values = _values(news.written, self.value)
            news.on_solution(values, self.objective_value, self.best_objective_bound)

    return Callback()
