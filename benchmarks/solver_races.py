"""Solvers alone and in a race: small problems, proven by each and by the portfolio of all."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from random import Random

from attrs import frozen

from benchmarks.cases import Case, Context, Outcome
from benchmarks.small_problems import Scale, draw_problem
from parplan.api import load_registry, plan
from parplan.problem import Problem

SOLVERS = ("cp-sat", "highs", "scip", "cbc")
"""Those that race; one that is not installed has no time of its own."""

SMALL = Scale((7, 9), (2, 3))
"""Problems that all of the solvers prove in seconds."""

SEEDS = (14, 20, 31, 42, 46, 52)
"""Of problems whose optimum is above the bounds that cost no solver."""

LIMIT_S = 20.0


@frozen
class Alone:
    """How one solver did: seconds to the end, and whether it proved its plan."""

    seconds: float
    proven: bool


def cases(_: Path | None = None) -> tuple[Case, ...]:
    """Return the cases of the family, which need no data."""
    return tuple(
        Case(
            f"solvers/small-{seed}",
            partial(race_case, seed),
            time_limit_s=LIMIT_S,
        )
        for seed in SEEDS
    )


def small_problem(seed: int) -> Problem:
    """Return one of the problems."""
    return draw_problem(Random(f"race/{seed}"), SMALL)


def race_case(seed: int, context: Context) -> Outcome:
    """Plan by each solver alone and by the portfolio, each with the same limit.

    The reference is the best of them alone, in seconds; the value is that of the portfolio's plan.
    """
    registry = load_registry()
    problem = small_problem(seed)
    alone: dict[str, Alone] = {}
    for name in SOLVERS:
        if name in registry.solvers and registry.solvers[name].value.probe().available:
            begun = time.perf_counter()
            found = plan(problem, registry=registry, solver=name, time_limit_s=context.time_limit_s)
            alone[name] = Alone(time.perf_counter() - begun, found.status == "optimal")
    begun = time.perf_counter()
    raced = plan(
        problem, registry=registry, solver=",".join(alone), time_limit_s=context.time_limit_s
    )
    seconds = time.perf_counter() - begun
    proven = [each.seconds for each in alone.values() if each.proven]
    best = min(proven, default=None)
    return Outcome(
        plan=raced,
        registry=registry,
        details={
            "seconds_alone": {name: each.seconds for name, each in alone.items()},
            "proven_alone": [name for name, each in alone.items() if each.proven],
            "seconds_portfolio": seconds,
            "portfolio_over_best": None if best is None else seconds / best,
            "won_by": raced.solver,
        },
    )
