"""Asks a second solver whether a plan claimed optimal can be bettered, through the whole model.

The question is put to the full Pyomo model of the problem, with its placement rules and no bound of
the search: is there a schedule whose objective is at least one model tick better?
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from benchmarks.machine import machine
from benchmarks.runner import KEYS
from benchmarks.worker import versions
from parplan.checking import check_schedule
from parplan.contracts import Answer, SolveOptions, Solver, Termination
from parplan.declarations import Edge, TimeLag
from parplan.errors import InputError, SolverError
from parplan.model.granule import granule
from parplan.model.schedule_model import ModelOptions, ScheduleModel
from parplan.plan_files.plan_file import load_plan
from parplan.plans import Plan
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import Declared, Rules, make_rules

SUITE = "confirm"
"""The suite that rows of confirmations name."""

FIRST_IN_FIRST_OUT = "first in, first out"

SOLVERS = ("cp-sat", "highs")
"""Those asked by default, the first one whose word the claim does not rest on."""


class Ruling(StrEnum):
    """What a second solver says of a claimed optimum."""

    CONFIRMED = "confirmed"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"


@frozen
class Confirmation:
    """A ruling, with what it rests on.

    Attributes
    ----------
    solver
        Name and version of the solver asked.
    first_in_first_out
        Whether the model keeps alike microbatches in order (see ``first_in_first_out``).
    better
        Value of the better plan found, where it contradicts.
    """

    ruling: Ruling
    solver: str
    first_in_first_out: bool
    better: float | None = None


def first_in_first_out(problem: Problem, rules: Rules) -> tuple[TimeLag, ...]:
    """Return lags that keep the starts of alike microbatches in the order of their numbers.

    They lose no schedule's value where microbatches are alike, each group's come in turn, every
    task runs on one device, and all rules are declared. Take any schedule and, for each operator,
    sort its starts among the microbatches of a group, and the starts of each transfer. What waited
    for an earlier task still does: the k-th smallest of some times is at least that of others of
    which each is no later. Engines and links see the same intervals. A level that begins with one
    activity and ends with the last of several has begun as often as before at every instant, and
    ended at least as often: the number of microbatches in which all have ended is at most the
    smallest number of ends, which is what it is after sorting.
    """
    workload = problem.workload
    stride = workload.group_count
    alike = len(set(workload.scales)) <= 1 and len(set(workload.releases_s)) <= 1
    in_turn = all(workload.group(k) == k % stride for k in range(workload.microbatches))
    single = all(len(a.devices) == 1 for alternatives in problem.alternatives for a in alternatives)
    if not (alike and in_turn and single) or rules.escape_hatches:
        return ()
    repeated = (
        operator.name
        for index, operator in enumerate(problem.graph.operators)
        if len(problem.microbatches_of(index)) > stride
    )
    return tuple(
        TimeLag(name, name, before_edge=Edge.START, after_edge=Edge.START, offset=stride)
        for name in repeated
    )


def confirm(
    plan: Plan, solver: Solver, registry: Registry, time_limit_s: float, workers: int = 1
) -> Confirmation:
    """Return what a solver says when asked for a better plan than this one.

    Raises
    ------
    InputError
        If the plan's first objective has no form for solvers.
    SolverError
        If the solver fails, or its answer breaks the rules.
    """
    model, sorted_ = _model_of_better_plans(plan, registry)
    # With so wide a gap any schedule ends the search: one is enough to contradict.
    options = SolveOptions(time_limit_s, gap=1e9, workers=workers)
    answer = solver.solve(model.pyomo, options)
    name = f"{answer.solver} {answer.version}".strip()
    if answer.values:
        better = _better(plan, answer, model, registry)
        return Confirmation(Ruling.CONTRADICTED, name, sorted_, better)
    if answer.termination is Termination.INFEASIBLE:
        return Confirmation(Ruling.CONFIRMED, name, sorted_)
    if answer.termination is Termination.TIME_LIMIT:
        return Confirmation(Ruling.UNDECIDED, name, sorted_)
    raise SolverError(answer.message or f"ended as {answer.termination}", solver=answer.solver)


def _model_of_better_plans(plan: Plan, registry: Registry) -> tuple[ScheduleModel, bool]:
    """Return the model of all plans that are better, and whether microbatches keep their order."""
    rules = make_rules(plan.problem, registry)
    lags = first_in_first_out(plan.problem, rules)
    declared = (*rules.declared, *(Declared(FIRST_IN_FIRST_OUT, lag) for lag in lags))
    objective = rules.objectives[0]
    rules = attrs.evolve(rules, declared=declared, objectives=(objective,))
    makespan = objective.name == "makespan"
    horizon = plan.schedule.makespan if makespan else None
    model = ScheduleModel(rules, ModelOptions(granule(rules), horizon=horizon))
    expression = objective.expression(model)
    if expression is None:
        raise InputError(f"objective '{objective.name}' has no form that a solver could take")
    reached = objective.to_expression(model, plan.value)
    block = model.block("better")
    if objective.maximize:
        block.row(expression >= math.floor(reached + 1e-6) + 1)
    else:
        block.row(expression <= math.ceil(reached - 1e-6) - 1)
    return model, bool(lags)


def _better(plan: Plan, answer: Answer, model: ScheduleModel, registry: Registry) -> float:
    """Return the value of a solver's schedule, checked by the problem's own rules.

    Raises
    ------
    SolverError
        If it breaks a rule, or is no better than the plan.
    """
    rules = make_rules(plan.problem, registry)
    schedule = model.extract(answer.values)
    violations = check_schedule(schedule, rules)
    if violations:
        raise SolverError(f"breaks a rule: {violations[0].message}", solver=answer.solver)
    objective = rules.objectives[0]
    found = objective.value(schedule)
    if (found > plan.value) != objective.maximize or found == plan.value:
        message = f"calls {found:g} better than {plan.value:g}"
        raise SolverError(message, solver=answer.solver)
    return found


@frozen
class Question:
    """How optima are questioned.

    Attributes
    ----------
    solvers
        Names of those to ask; empty: the first of ``SOLVERS`` that a claim does not rest on.
    time_limit_s
        Of each solver and plan.
    most_tasks
        Plans of more tasks are left out.
    """

    solvers: tuple[str, ...]
    time_limit_s: float
    most_tasks: int


def confirm_rows(
    rows: Iterable[Mapping[str, Any]], registry: Registry, question: Question
) -> Iterator[dict[str, Any]]:
    """Yield a row for each optimum that rows of results claim, and each solver asked."""
    for row in rows:
        if row["status"] != "optimal" or row["plan"] is None:
            continue
        plan = load_plan(Path(row["plan"]))
        if len(plan.schedule.tasks) > question.most_tasks:
            continue
        for name in question.solvers or (_independent(plan),):
            solver: Any = registry.get("solvers", name).value
            yield _row(row, plan, solver, registry, question.time_limit_s)


def _independent(plan: Plan) -> str:
    """Return the first solver that a plan's bound does not rest on."""
    source = "" if plan.bound is None else plan.bound.source.lower()
    return next(name for name in SOLVERS if name not in source)


def _row(
    row: Mapping[str, Any], plan: Plan, solver: Solver, registry: Registry, time_limit_s: float
) -> dict[str, Any]:
    """Return the row of one confirmation, with every key of a row of results."""
    found: dict[str, Any] = dict.fromkeys(KEYS)
    begun = time.perf_counter()
    details: dict[str, Any] = {
        "suite": row["suite"],
        "bound_source": None if plan.bound is None else plan.bound.source,
        "tasks": len(plan.schedule.tasks),
    }
    try:
        said = confirm(plan, solver, registry, time_limit_s)
        found.update(status=str(said.ruling), solver=said.solver)
        details.update(first_in_first_out=said.first_in_first_out, better=said.better)
    except (InputError, SolverError) as error:
        found.update(status="failed", solver=solver.name)
        details["reason"] = str(error)
    return {
        **found,
        "suite": SUITE,
        "case": row["case"],
        "value": plan.value,
        "seconds": time.perf_counter() - begun,
        "time_limit_s": time_limit_s,
        "versions": versions(),
        "machine": machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "plan": row["plan"],
        "details": details,
    }
