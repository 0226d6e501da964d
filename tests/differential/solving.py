"""Solves small problems in this process, and checks what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import evolve

from parplan.checking import check_schedule
from parplan.contracts import Answer, SolveOptions, Termination
from parplan.declarations import Declaration
from parplan.errors import InfeasibleError
from parplan.model.schedule_model import ModelOptions, ScheduleModel
from parplan.plugins.solvers import cp_sat, mip
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import Declared, Rules, make_rules

Solve = Callable[[ScheduleModel, SolveOptions], Answer]


def by_cp_sat(model: ScheduleModel, options: SolveOptions) -> Answer:
    """Solve with CP-SAT."""
    return cp_sat.solve_here(None, model.pyomo, options)


def by_highs(model: ScheduleModel, options: SolveOptions) -> Answer:
    """Solve with HiGHS."""
    return mip.solve_here(
        None, model.pyomo, options, adapter=mip.Highs.adapter, name=mip.Highs.name
    )


class UnprovenError(Exception):
    """The time limit ended a solve before the optimum was proven."""


def with_declared(problem: Problem, registry: Registry, extra: Iterable[Declaration]) -> Rules:
    """Return the rules of a problem and some declarations more, as a plugin would make them."""
    rules = make_rules(problem, registry)
    return evolve(rules, declared=(*rules.declared, *(Declared("drawn", e) for e in extra)))


def optimum(
    rules: Rules, solve: Solve, time_limit_s: float = 60.0, options: ModelOptions | None = None
) -> int | None:
    """Return the proven least makespan in ticks; None if there is no schedule.

    The schedule is checked, and its makespan is the model's.
    """
    try:
        model = ScheduleModel(rules, options)
    except InfeasibleError:
        return None
    answer = solve(model, SolveOptions(time_limit_s=time_limit_s, workers=1))
    if answer.termination is Termination.INFEASIBLE:
        return None
    if answer.termination is Termination.TIME_LIMIT:
        raise UnprovenError
    assert answer.termination is Termination.OPTIMAL, answer
    schedule = model.extract(answer.values)
    assert check_schedule(schedule, rules) == ()
    assert answer.objective is not None
    assert schedule.makespan == round(answer.objective)
    return schedule.makespan
