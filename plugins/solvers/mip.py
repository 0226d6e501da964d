"""MIP backends: any solver that Pyomo reaches, behind one class, in a process of its own."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import evolve

from parplan.contracts import (
    Answer,
    Availability,
    Capability,
    Report,
    SolveOptions,
    Solver,
    Termination,
)
from parplan.errors import ParplanError
from parplan.plugins.solvers.interfaces import Adapter, Appsi, Contrib, Found, Legacy, SizeLimit
from parplan.system.contained import Channel, run_contained, solve_contained

if TYPE_CHECKING:  # Pyomo takes a second to load: only what lowers a model does so
    from parplan.model.mip import Lowered

LEAST_TIME_S = 0.1
PROBE_S = 30.0
WHOLE = 1e-4
"""How far from whole an integer's value may be, to be taken as whole."""


class MipSolver(Solver):
    """A MIP solver; subclasses give its name, its adapter and how to install it."""

    adapter: ClassVar[Adapter]
    install: ClassVar[str]

    def probe(self) -> Availability:
        """Solve a model of two variables, in a process of its own."""
        import_module("pyomo.environ")  # once, as the processes of all probes and solves have it
        outcome = run_contained(_probe, self.adapter, time_limit_s=PROBE_S, label=self.name)
        if outcome.value is None:
            return Availability(False, reason=f"{outcome.failure}; install it by: {self.install}")
        version, limited = outcome.value
        return Availability(True, version=version, limit=str(self.adapter.limit) if limited else "")

    def solve(
        self,
        model: Any,
        options: SolveOptions,
        warm_start: Mapping[str, float] | None = None,
        report: Report | None = None,
    ) -> Answer:
        """Lower the recorded terms and solve; a model above a licence's size is refused."""
        function = partial(solve_here, adapter=self.adapter, name=self.name)
        answer = solve_contained(function, model, options, warm_start, report, solver=self.name)
        if answer.termination is Termination.FAILED and not answer.version:
            missing = f"{answer.message}; if it is not installed: {self.install}"
            return evolve(answer, message=missing)
        return answer


class Highs(MipSolver):
    """HiGHS, the default MIP solver."""

    name: ClassVar[str] = "highs"
    adapter: ClassVar[Adapter] = Appsi("Highs")
    install: ClassVar[str] = "pip install 'highspy>=1.12,<1.15'"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.MIP, Capability.BOUND, Capability.WARM_START, Capability.STOP}
    )


class Scip(MipSolver):
    """SCIP through its Python interface."""

    name: ClassVar[str] = "scip"
    adapter: ClassVar[Adapter] = Contrib(
        "scip_direct", settings={"seed": "randomization/randomseedshift"}
    )
    install: ClassVar[str] = "pip install pyscipopt"
    capabilities: ClassVar[frozenset[Capability]] = Highs.capabilities


class Cbc(MipSolver):
    """COIN-OR CBC, the command."""

    name: ClassVar[str] = "cbc"
    adapter: ClassVar[Adapter] = Legacy(
        "cbc",
        settings={
            "time_limit_s": "seconds",
            "gap": "ratioGap",
            "workers": "threads",
            "seed": "randomCbcSeed",
        },
        extra={"timeMode": "elapsed"},
        # At the limit without an integer solution, it leaves that of a relaxation.
        at_limit=frozenset({"maxTimeLimit", "intermediateNonInteger"}),
    )
    install: ClassVar[str] = "apt-get install coinor-cbc"
    capabilities: ClassVar[frozenset[Capability]] = Highs.capabilities


class Glpk(MipSolver):
    """GLPK, the command glpsol: no warm start, no bound of use, whole seconds."""

    name: ClassVar[str] = "glpk"
    adapter: ClassVar[Adapter] = Legacy(
        "glpk",
        settings={"time_limit_s": "tmlim", "gap": "mipgap"},
        whole_seconds=True,
        warm_starts=False,
        bounds=False,
        # With an incumbent, its status at the limit reads 'feasible'.
        at_limit=frozenset({"maxTimeLimit", "feasible"}),
    )
    install: ClassVar[str] = "apt-get install glpk-utils"
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.MIP, Capability.STOP})


class Gurobi(MipSolver):
    """Gurobi through its Python interface."""

    name: ClassVar[str] = "gurobi"
    adapter: ClassVar[Adapter] = Contrib(
        "gurobi_direct", SizeLimit(2000, 2000), settings={"seed": "Seed"}
    )
    install: ClassVar[str] = "pip install gurobipy scipy (2000 variables without a licence)"
    capabilities: ClassVar[frozenset[Capability]] = Highs.capabilities


class Cplex(MipSolver):
    """IBM CPLEX through its Python interface."""

    name: ClassVar[str] = "cplex"
    adapter: ClassVar[Adapter] = Legacy(
        "cplex_direct",
        SizeLimit(1000, 1000),
        settings={
            "time_limit_s": "timelimit",
            "gap": "mip_tolerances_mipgap",
            "workers": "threads",
            "seed": "randomseed",
        },
    )
    install: ClassVar[str] = "pip install cplex (1000 variables without a licence)"
    capabilities: ClassVar[frozenset[Capability]] = Highs.capabilities


class Xpress(MipSolver):
    """FICO Xpress through its Python interface."""

    name: ClassVar[str] = "xpress"
    adapter: ClassVar[Adapter] = Legacy(
        "xpress_direct",
        SizeLimit(5000, 5000, together=5000),
        settings={
            "time_limit_s": "timelimit",
            "gap": "miprelstop",
            "workers": "threads",
            "seed": "randomseed",
        },
        # Its status at the limit reads 'other'.
        at_limit=frozenset({"maxTimeLimit", "other"}),
    )
    install: ClassVar[str] = "pip install xpress (5000 variables and rows without a licence)"
    capabilities: ClassVar[frozenset[Capability]] = Highs.capabilities


# -- in the solver's process -----------------------------------------------------------------------


def solve_here(
    channel: Channel | None,
    model: Any,
    options: SolveOptions,
    warm_start: Mapping[str, float] | None = None,
    *,
    adapter: Adapter,
    name: str,
) -> Answer:
    """Return a MIP solver's answer, found in this process."""
    from parplan.model.mip import lowered

    begun = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside Pyomo's interfaces are not ours
        version = adapter.version()
        if version is None:
            return Answer(Termination.FAILED, name, message=f"{name} is not installed")
        blank = Answer(Termination.REFUSED, name, version)
        try:
            with lowered(model, options.form, options.products) as low:
                return _solve_lowered(model, low, options, warm_start, adapter, blank, begun)
        except ParplanError as error:
            return evolve(blank, message=str(error))


def _solve_lowered(
    model: Any,
    low: Lowered,
    options: SolveOptions,
    warm_start: Mapping[str, float] | None,
    adapter: Adapter,
    blank: Answer,
    begun: float,
) -> Answer:
    import pyomo.environ as pyo

    objective = next(model.component_data_objects(pyo.Objective, active=True), None)
    if options.cutoff is not None and objective is not None:
        within = objective.expr <= options.cutoff
        low.block.row(
            within if objective.sense == pyo.minimize else objective.expr >= options.cutoff
        )
    refusal = _too_large(model, adapter)
    if refusal:
        return evolve(blank, message=refusal)
    warm = adapter.warm_starts and _start(model, low, warm_start)
    left = options.time_limit_s - (time.monotonic() - begun)
    found = adapter.solve(model, evolve(options, time_limit_s=max(left, LEAST_TIME_S)), warm=warm)
    return _answer(model, found, blank, begun)


def _answer(model: Any, found: Found, blank: Answer, begun: float) -> Answer:
    import pyomo.environ as pyo

    from parplan.model.mip import NAME as LOWERING

    values: dict[str, float] = {}
    if found.solved:
        for variable in model.component_data_objects(pyo.Var, active=True):
            if variable.value is not None:
                whole = round(variable.value)
                near = variable.is_integer() and abs(variable.value - whole) <= WHOLE
                values[variable.name] = float(whole) if near else float(variable.value)
            else:  # in no row and no objective
                values[variable.name] = float(variable.lb or 0)
        values = {name: v for name, v in values.items() if not name.startswith(f"{LOWERING}.")}
    return evolve(
        blank,
        termination=found.termination,
        values=values,
        objective=found.objective,
        bound=found.objective if _proven(found) else found.bound,
        seconds=time.monotonic() - begun,
        message=found.message,
    )


def _proven(found: Found) -> bool:
    """Return whether optimality is the only bound there is."""
    return found.bound is None and found.termination is Termination.OPTIMAL


def _too_large(model: Any, adapter: Adapter) -> str:
    """Return why a licence does not admit a model; empty if it does."""
    import pyomo.environ as pyo

    if adapter.limit is None:
        return ""
    columns = sum(1 for _ in model.component_data_objects(pyo.Var, active=True))
    rows = sum(1 for _ in model.component_data_objects(pyo.Constraint, active=True))
    if adapter.limit.admits(columns, rows) or not _limited(adapter):
        return ""
    return (
        f"the model has {columns} variables and {rows} rows, and the licence found admits "
        f"{adapter.limit}; use a full licence or another solver"
    )


def _limited(adapter: Adapter) -> bool:
    """Return whether the licence is a limited one, by solving a model just above its size."""
    import pyomo.environ as pyo

    if adapter.limit is None:
        return False
    model = pyo.ConcreteModel()
    model.x = pyo.Var(range((adapter.limit.together or adapter.limit.columns) + 1), bounds=(0, 1))
    model.rows = pyo.Constraint([0], rule=lambda m, _: sum(m.x.values()) >= 1)
    model.objective = pyo.Objective(expr=sum(model.x.values()))
    try:
        found = adapter.solve(model, SolveOptions(time_limit_s=PROBE_S, workers=1), warm=False)
    except Exception:  # noqa: BLE001  # each licence says no in a way of its own
        return True
    return found.termination is not Termination.OPTIMAL


def _start(model: Any, low: Lowered, warm_start: Mapping[str, float] | None) -> bool:
    """Put a start on the variables; return whether it is complete."""
    import pyomo.environ as pyo

    from parplan.model.extraction import reader

    if not warm_start:
        return False
    values = dict(warm_start)
    value = reader(values)
    try:
        for variable, define in low.definitions:
            values[variable.name] = define(value)
    except KeyError:
        return False
    complete = True
    for variable in model.component_data_objects(pyo.Var, active=True):
        given = values.get(variable.name)
        complete = complete and given is not None
        if given is not None:
            variable.set_value(given, skip_validation=True)
    return complete


def _probe(channel: Channel, adapter: Adapter) -> tuple[str, bool]:
    """Return the version and whether the licence is limited; raise if it cannot solve."""
    import pyomo.environ as pyo

    warnings.simplefilter("ignore")
    version = adapter.version()
    if version is None:
        raise RuntimeError("it is not installed")
    model = pyo.ConcreteModel()
    model.x = pyo.Var(domain=pyo.Integers, bounds=(0, 9))
    model.y = pyo.Var(domain=pyo.Binary)
    model.row = pyo.Constraint(expr=2 * model.x + 3 * model.y >= 8)
    model.objective = pyo.Objective(expr=model.x + model.y)
    found = adapter.solve(model, SolveOptions(time_limit_s=PROBE_S, workers=1), warm=False)
    # 2 x >= 8 takes x = 4; with y = 1, x = 3: four either way.
    if found.termination is not Termination.OPTIMAL or round(found.objective or 0) != 4:
        raise RuntimeError(
            f"version {version} does not solve two variables: {found.termination.value} "
            f"{found.message}".strip()
        )
    return version, _limited(adapter)
