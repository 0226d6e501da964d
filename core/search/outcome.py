"""How a search ends: as a plan with its provenance, or with the reason why there is none."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import parplan
from parplan import clock
from parplan.declarations import Resource
from parplan.errors import InfeasibleError
from parplan.options import SearchOptions
from parplan.plans import Plan
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rounding import rounding_report
from parplan.rules import Rules
from parplan.search import exact
from parplan.search.conflicts.capacities import least_extra
from parplan.search.conflicts.explained import explained
from parplan.search.conflicts.possibility import Possibility
from parplan.search.conflicts.requirements import only
from parplan.search.incumbent import Incumbent
from parplan.text import bytes_text

LEAST_EXPLAINING_S = 5.0
"""Seconds that may be spent on why no plan exists, even where the limit is over."""

MOST_EXPLAINING_S = 20.0
"""Seconds that are spent on it at most, even where the limit is far."""


def make_plan(
    problem: Problem,
    rules: Rules,
    options: SearchOptions,
    engine: exact.Engine,
    incumbent: Incumbent,
    baselines: Sequence[Mapping[str, Any]],
    *,
    interrupted: bool,
) -> Plan:
    """Return the plan of a search that has an incumbent.

    Parameters
    ----------
    baselines
        A row of figures of each hand-made schedule.
    """
    assert incumbent.schedule is not None  # there is no plan otherwise
    names = [rule.name for rule in problem.objectives]
    rounding = rounding_report(problem)
    return Plan(
        problem=problem,
        schedule=incumbent.schedule,
        objectives=dict(zip(names, incumbent.values, strict=True)),
        bound=incumbent.bound,
        status="optimal" if incumbent.gap == 0 else "feasible",
        solver=incumbent.found_by,
        provenance={
            "baselines": list(baselines),
            "interrupted": interrupted,
            "engine": engine.description,
            "seconds": incumbent.seconds,
            "compile_seconds": incumbent.compile_seconds,
            "options": {
                "solver": options.solver,
                "time_limit_s": options.time_limit_s,
                "gap": options.gap,
                "workers": options.workers,
                "seed": options.seed,
            },
            "failures": [{"stage": stage, "message": text} for stage, text in incumbent.failures],
            "history": [list(row) for row in incumbent.history],
            "rejected": incumbent.rejections(),
            "bounds": [
                {"source": b.source, "value": b.value, "scope": b.scope, "claimed": b.claimed}
                for b in incumbent.bounds
            ],
            "rounding": {"tick_s": rounding.tick_s, "makespan_part": rounding.makespan_part},
            "versions": _versions(),
            **incumbent.accounts,
        },
    )


def why_infeasible(
    error: InfeasibleError,
    rules: Rules,
    registry: Registry,
    options: SearchOptions,
    deadline: float,
) -> InfeasibleError:
    """Return a proof that no plan exists with the fewest requirements that clash, and repairs.

    Ctrl-C ends it, and leaves the proof as it is.
    """
    left = deadline - clock.now()
    possibility = Possibility(
        exact.solver_for(registry, options),
        options.workers,
        exact.intervals(rules.problem, only(rules, ())) <= exact.MOST_INTERVALS,
        clock.now() + min(max(left, LEAST_EXPLAINING_S), MOST_EXPLAINING_S),
    )
    try:
        return explained(error, rules, registry, possibility)
    except KeyboardInterrupt:
        return error
    except Exception as fault:  # noqa: BLE001  # the proof stands, whatever a plugin does after it
        said = f"{error} (what clashes is not known: {type(fault).__name__}: {fault})"
        return InfeasibleError(said, conflict=error.conflict)


def why_no_plan(
    rules: Rules,
    engine: exact.Engine,
    incumbent: Incumbent,
    deadline: float,
    *,
    interrupted: bool,
) -> str:
    """Say why the search has ended without any plan."""
    refused = "".join(f"; {r['message']}" for r in incumbent.rejections()[:1])
    if interrupted:
        return f"Ctrl-C came before any plan was found{refused}"
    if engine.exact or clock.now() > deadline:
        limit = deadline - incumbent.started
        return (
            f"the limit of {limit:g} s came before any plan was found{refused}; give more time "
            "with --time-limit"
        )
    problem = rules.problem
    for operator, rows in enumerate(rules.allowed):
        if all(len(problem.alternatives[operator][row].devices) > 1 for row in rows):
            name = problem.graph.operators[operator].name
            return (
                f"list schedules place operators on single devices, but '{name}' runs on groups "
                f"only; the whole model, {engine.intervals} intervals, can be solved up to "
                f"{exact.MOST_INTERVALS}: ask for a solver, e.g. --solver cp-sat"
            )
    return (
        f"list schedules found no plan that fits{refused}; where no solver proves that there is "
        f"none, one may exist: loosen memory or placement{_spare(rules)}, or ask for a solver with "
        "--solver"
    )


def _spare(rules: Rules) -> str:
    """Return with how much more memory list schedules find a plan, as text; empty if unknown."""
    positions = [
        p
        for p, declared in enumerate(rules.declared)
        if isinstance(declared.what, Resource) and declared.what.unit == "bytes"
    ]
    if not positions:
        return ""
    lists = Possibility(None, 1, False, clock.now() + LEAST_EXPLAINING_S)
    extra = least_extra(rules, positions, lists)
    if extra is None:
        return ""
    return f" (with {bytes_text(extra.enough)} more on each device a plan was found)"


def _versions() -> dict[str, str]:
    found = {"parplan": parplan.__version__, "python": platform.python_version()}
    for name in ("pyomo", "ortools", "highspy", "numba", "numpy", "networkx"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
