"""Whatever fails or lies, a checked plan that is there is kept, and what happened is told."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import attrs
import pytest

from parplan import api
from parplan.checking import check_plan
from parplan.cli import main
from parplan.contracts import (
    Answer,
    Availability,
    Capability,
    Progress,
    Solver,
    Termination,
)
from parplan.errors import InfeasibleError, LimitError, SolverError
from parplan.graph import Mode
from parplan.hardware import Cluster
from parplan.plan_file import load_plan
from parplan.plans import Plan
from parplan.problem import Problem
from parplan.registry import Registered, Registry
from parplan.search import exact, orchestrator, team
from tests.examples import chain

SPECS = Path(__file__).parents[1] / "examples" / "specs"


# -- backends that fail or lie ---------------------------------------------------------------------


class Backend(Solver):
    """Answers whatever it was made with."""

    name = "odd"
    capabilities = frozenset({Capability.CP, Capability.BOUND})

    def __init__(self, answer: Callable[[Any], Answer]) -> None:
        self.answer = answer

    def probe(self) -> Availability:
        return Availability(True, "1")

    def solve(self, model: Any, *_: object) -> Answer:
        return self.answer(model)


def _variables(model: Any) -> dict[str, float]:
    import pyomo.environ as pyo

    return {v.name: 0.0 for v in model.component_data_objects(pyo.Var)}


def _raises(model: Any) -> Answer:
    raise RuntimeError("no licence")


def _says(termination: Termination, **more: Any) -> Callable[[Any], Answer]:
    return lambda model: Answer(termination, "odd", "1", **more)


LIES: dict[str, tuple[Callable[[Any], Answer], str]] = {
    "raises": (_raises, "raised RuntimeError: no licence"),
    "fails": (_says(Termination.FAILED, message="out of memory"), "out of memory"),
    "refuses": (_says(Termination.REFUSED, message="cannot take cumulative"), "cannot take"),
    "claims a false bound": (_says(Termination.TIME_LIMIT, bound=1e9), "refuted by a plan"),
    "claims a false optimum": (_says(Termination.OPTIMAL, objective=1e9), "refuted by a plan"),
    "claims that there is no plan": (_says(Termination.INFEASIBLE), "claims that there is no plan"),
    "gives a wrong schedule": (
        lambda model: Answer(Termination.OPTIMAL, "odd", "1", _variables(model), 1.0),
        "breaks the rules",
    ),
    "gives values of nothing": (
        _says(Termination.OPTIMAL, values={"x": float("nan")}, objective=1.0),
        "raised",
    ),
}


def _with(registry: Registry, backend: Solver, *others: str) -> Registry:
    solvers = {name: registry.solvers[name] for name in others}
    return attrs.evolve(registry, solvers=solvers | {"odd": Registered("odd", backend, "test")})


def _unsolved() -> Problem:
    """Three chains' worth of work that no quick bound proves optimal."""
    return chain(5, devices=2, microbatches=2, size=1)


def _failures(plan: Plan) -> str:
    return "\n".join(f["message"] for f in plan.provenance["failures"])


@pytest.mark.parametrize("lie", LIES)
def test_a_backend_that_fails_or_lies_is_told_and_dropped(lie: str, registry: Registry) -> None:
    answer, told = LIES[lie]
    news: list[Progress] = []
    plan = api.plan(
        _unsolved(),
        registry=_with(registry, Backend(answer)),
        solver="odd",
        report=news.append,
        time_limit_s=20.0,
    )
    assert check_plan(plan, registry) == ()
    assert plan.status == "feasible"
    assert plan.bound is None or not plan.bound.claimed
    assert told in _failures(plan)
    assert any(told in n.message for n in news)


@pytest.mark.parametrize(
    "lie", ["raises", "claims that there is no plan", "gives a wrong schedule"]
)
def test_another_backend_serves_where_one_fails(lie: str, registry: Registry) -> None:
    known = _with(registry, Backend(LIES[lie][0]), "cp-sat")
    plan = api.plan(_unsolved(), registry=known, solver="odd", time_limit_s=30.0)
    assert check_plan(plan, registry) == ()
    assert plan.status == "optimal"
    assert LIES[lie][1] in _failures(plan)


def _gangs_only() -> Problem:
    """A chain whose operators run on pairs of devices alone: no list schedule places them."""
    problem = chain(2, devices=2)
    gang = Mode("pair", devices=2, groups=(("g0", "g1"),), seconds={"*": 2.0})
    operators = tuple(attrs.evolve(o, modes=(gang,)) for o in problem.graph.operators)
    return attrs.evolve(problem, graph=attrs.evolve(problem.graph, operators=operators))


def test_gangs_alone_are_solved_exactly(registry: Registry) -> None:
    plan = api.plan(_gangs_only(), registry=registry, time_limit_s=30.0)
    assert (plan.value, plan.status) == (4.0, "optimal")
    assert check_plan(plan, registry) == ()


def test_gangs_alone_under_list_schedules_say_what_serves(registry: Registry) -> None:
    with pytest.raises(LimitError, match="'o0' runs on groups only.*--solver cp-sat"):
        api.plan(_gangs_only(), registry=registry, solver="list", time_limit_s=30.0)


def test_a_claim_that_no_plan_exists_is_asked_of_a_second_backend(registry: Registry) -> None:
    known = _with(registry, Backend(LIES["claims that there is no plan"][0]), "cp-sat")
    plan = api.plan(_gangs_only(), registry=known, solver="odd", time_limit_s=30.0)
    assert (plan.value, plan.solver.split()[0]) == (4.0, "cp-sat")
    assert "claimed no plan exists, refuted by cp-sat" in _failures(plan)


@pytest.mark.parametrize("lie", ["raises", "fails", "refuses", "gives a wrong schedule"])
def test_solver_error_where_nothing_else_serves(lie: str, registry: Registry) -> None:
    answer, told = LIES[lie]
    with pytest.raises(SolverError, match=told) as caught:
        api.plan(_gangs_only(), registry=_with(registry, Backend(answer)), solver="odd")
    assert (caught.value.solver, caught.value.exit_code) == ("odd", 5)


def test_a_solver_that_is_not_there_is_named_with_the_way_to_get_it(registry: Registry) -> None:
    class Missing(Backend):
        def probe(self) -> Availability:
            return Availability(False, reason="no module 'odd'; pip install odd")

    with pytest.raises(SolverError, match="not available: no module 'odd'; pip install odd"):
        api.plan(_unsolved(), registry=_with(registry, Missing(_raises)), solver="odd")


def test_the_default_falls_through_to_what_works(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Backend(_raises)
    known = attrs.evolve(
        registry,
        solvers={**registry.solvers, "cp-sat": Registered("cp-sat", broken, "test")},
    )
    plan = api.plan(_gangs_only(), registry=known, time_limit_s=30.0)
    assert (plan.value, plan.status) == (4.0, "optimal")
    assert plan.solver.startswith("highs")


# -- stages that fail ------------------------------------------------------------------------------


def _fail(*_: object, **__: object) -> Any:
    raise ZeroDivisionError("a fault")


@pytest.mark.parametrize(
    ("stage", "where", "name", "solver"),
    [
        ("bounds", orchestrator, "first_bounds", "list"),
        ("cp-sat", exact, "ScheduleModel", "cp-sat"),
        ("local search", orchestrator, "improved_by_team", "list"),
    ],
)
def test_a_fault_of_a_later_stage_keeps_the_plan(
    stage: str,
    where: object,
    name: str,
    solver: str,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    news: list[Progress] = []
    monkeypatch.setattr(where, name, _fail)
    plan = api.plan(
        _unsolved(),
        registry=registry,
        solver=solver,
        report=news.append,
        time_limit_s=2.0,
        workers=1,
    )
    assert check_plan(plan, registry) == ()
    assert {"stage": stage, "message": "ended by ZeroDivisionError: a fault"} in plan.provenance[
        "failures"
    ]
    assert any("ended by ZeroDivisionError" in n.message for n in news)


def test_a_fault_before_any_plan_is_not_hidden(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orchestrator, "first_candidates", _fail)
    with pytest.raises(ZeroDivisionError):
        api.plan(_unsolved(), registry=registry, solver="list")


def _die(*_: object) -> Any:
    os._exit(3)


def test_workers_that_die_are_done_without(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, improve = os.getpid(), team.improve

    def fragile(*arguments: Any) -> Any:
        return improve(*arguments) if os.getpid() == parent else _die()

    fragile.__module__, fragile.__qualname__ = team.__name__, "improve"
    monkeypatch.setattr(team, "improve", fragile)
    plan = api.plan(_unsolved(), registry=registry, solver="list", time_limit_s=3.0, workers=2)
    assert check_plan(plan, registry) == ()
    assert BrokenProcessPool.__name__ in _failures(plan)
    assert "goes on without them" in _failures(plan)
