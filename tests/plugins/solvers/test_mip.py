from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

import pyomo.environ as pyo
import pytest
from pyomo.common.fileutils import Executable

from parplan.contracts import Availability, Capability, SolveOptions, Termination
from parplan.model.blocks import RuleBlock
from parplan.model.terms import Interval, instant, lasting
from parplan.plugins.solvers import cp_sat, mip
from parplan.plugins.solvers.interfaces import Legacy, SizeLimit
from parplan.plugins.solvers.mip import Cbc, Cplex, Glpk, Gurobi, Highs, MipSolver, Scip, Xpress
from parplan.system import contained

SOLVERS = (Highs, Scip, Cbc, Glpk, Gurobi, Cplex, Xpress)


@cache
def probed(cls: type[MipSolver]) -> Availability:
    return cls().probe()


@pytest.fixture(params=SOLVERS, ids=lambda cls: cls.name)
def solver(request: pytest.FixtureRequest) -> MipSolver:
    """Each backend; one that is not installed is a reported skip."""
    found = probed(request.param)
    if not found.available:
        pytest.skip(found.reason)
    backend: MipSolver = request.param()
    return backend


def _machines(jobs: int, machines: int, seed: int = 1) -> tuple[Any, dict[str, float]]:
    """Return a job shop and a warm start that runs one operation after the other."""
    rng = random.Random(seed)
    sizes = [[rng.randint(1, 9) for _ in range(machines)] for _ in range(jobs)]
    horizon = sum(map(sum, sizes))
    model = pyo.ConcreteModel()
    model.rule = block = RuleBlock("shop")
    model.makespan = pyo.Var(domain=pyo.Integers, bounds=(0, horizon))
    model.objective = pyo.Objective(expr=model.makespan)
    used: dict[int, list[Interval]] = {}
    now, start = 0, {"makespan": float(horizon)}
    for j, row in enumerate(sizes):
        before = None
        for k, m in enumerate(rng.sample(range(machines), machines)):
            time = block.time(f"{j},{k}", 0, horizon)
            step = lasting(f"{j},{k}", time, row[k])
            start[time.name], now = float(now), now + row[k]
            if before is not None:
                block.before(before, step)
            used.setdefault(m, []).append(step)
            before = step
        assert before is not None
        block.before(before, instant("end", model.makespan))
    for m, steps in used.items():
        block.no_overlap(f"machine {m}", steps)
    return model, start


ONE = SolveOptions(time_limit_s=30, workers=1)


def test_an_optimum_comes_with_bound_values_and_version(solver: MipSolver) -> None:
    model, start = _machines(3, 3)
    expected = cp_sat.solve_here(None, model, ONE).objective
    answer = solver.solve(model, ONE)
    assert answer.termination is Termination.OPTIMAL, answer
    assert answer.objective == pytest.approx(expected)
    assert answer.bound == pytest.approx(expected)
    assert set(answer.values) == set(start)
    assert all(v == int(v) for v in answer.values.values())
    assert answer.version == probed(type(solver)).version
    assert answer.solver == solver.name
    assert model.component("mip_lowering") is None


def test_infeasibility_is_an_answer(solver: MipSolver) -> None:
    model, _ = _machines(2, 2)
    model.makespan.setub(3)
    answer = solver.solve(model, ONE)
    assert answer.termination is Termination.INFEASIBLE, answer
    assert not answer.values


def test_a_cutoff_admits_no_worse(solver: MipSolver) -> None:
    model, _ = _machines(3, 3)
    found = solver.solve(model, SolveOptions(time_limit_s=30, workers=1, cutoff=25))
    assert found.termination is Termination.INFEASIBLE


def test_a_maximum_is_a_maximum(solver: MipSolver) -> None:
    model = pyo.ConcreteModel()
    model.x = pyo.Var([0, 1, 2], domain=pyo.Integers, bounds=(0, 7))
    model.row = pyo.Constraint(expr=3 * model.x[0] + 2 * model.x[1] <= 11)
    model.objective = pyo.Objective(expr=2 * model.x[0] + model.x[1] + 0.5, sense=pyo.maximize)
    answer = solver.solve(model, ONE)
    assert answer.objective == pytest.approx(7.5)
    assert answer.bound == pytest.approx(7.5)


def test_the_time_limit_leaves_what_was_found(
    solver: MipSolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops by itself: what is killed after its grace, here a long one, is said so."""
    monkeypatch.setattr(contained, "GRACE_S", 300.0)
    # However long the machine takes to state the model, the solver has time to read a start.
    monkeypatch.setattr(mip, "LEAST_TIME_S", 1.0)
    model, start = _machines(9, 6)
    warm = start if Capability.WARM_START in solver.capabilities else None
    answer = solver.solve(model, SolveOptions(time_limit_s=1, workers=1), warm)
    assert (answer.termination, answer.message) == (Termination.TIME_LIMIT, "")
    if warm is not None:
        assert answer.objective is not None
        assert answer.objective <= start["makespan"]
    if Capability.BOUND in solver.capabilities and answer.bound is not None:
        assert answer.objective is None or answer.bound <= answer.objective


@pytest.mark.parametrize("cls", [Gurobi, Cplex, Xpress], ids=lambda cls: cls.name)
def test_a_model_above_the_licence_is_counted_and_refused(cls: type[MipSolver]) -> None:
    found = probed(cls)
    if not found.limit:
        pytest.skip(found.reason or f"{cls.name} has a full licence here")
    model = pyo.ConcreteModel()
    model.x = pyo.Var(range(5001), domain=pyo.Binary)
    model.objective = pyo.Objective(expr=sum(model.x.values()))
    answer = cls().solve(model, ONE)
    assert answer.termination is Termination.REFUSED
    assert "5001 variables" in answer.message
    assert found.limit in answer.message


@pytest.mark.parametrize("here", [1, 2])
def test_a_solve_in_this_process_leaves_the_next_its_number_of_threads(here: int) -> None:
    model, _ = _machines(3, 3)
    for workers in (here, 1, 2):
        options = SolveOptions(time_limit_s=30, workers=workers)
        answer = mip.solve_here(None, model, options, adapter=Highs.adapter, name="highs")
        assert answer.termination is Termination.OPTIMAL, answer
        assert Highs().solve(model, options).termination is Termination.OPTIMAL


def test_a_warm_start_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    model, start = _machines(3, 3)
    taken = []
    original = mip._start

    def spy(*args: Any) -> bool:
        taken.append(original(*args))
        return taken[-1]

    monkeypatch.setattr(mip, "_start", spy)
    mip.solve_here(None, model, ONE, start, adapter=Highs.adapter, name="highs")
    del start["makespan"]
    mip.solve_here(None, model, ONE, start, adapter=Highs.adapter, name="highs")
    assert taken == [True, False]


@pytest.fixture
def no_glpk() -> Iterator[None]:
    """As on a machine without glpsol."""
    executable = Executable("glpsol")
    executable.disable()
    yield
    executable.rehash()


def test_a_solver_that_is_missing_is_said_with_the_way_to_install_it(
    no_glpk: None,
) -> None:
    found = Glpk().probe()
    assert not found.available
    assert "apt-get install glpk-utils" in found.reason
    answer = Glpk().solve(_machines(2, 2)[0], ONE)
    assert answer.termination is Termination.FAILED
    assert "apt-get install glpk-utils" in answer.message


def test_a_component_that_cannot_be_lowered_is_refused_by_name() -> None:
    model, _ = _machines(2, 2)
    model.rule.free = pyo.Var(domain=pyo.Integers)
    model.rule.no_overlap("odd", [lasting("odd", model.rule.free, 1)] * 2)
    answer = Highs().solve(model, ONE)
    assert answer.termination is Termination.REFUSED
    assert "rule.free" in answer.message
    assert "rule 'shop'" in answer.message


def test_what_cbc_leaves_of_a_relaxation_at_its_limit_is_no_solution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its file then holds values, none of which may reach the model."""
    results = SimpleNamespace(
        solver=SimpleNamespace(termination_condition="intermediateNonInteger", message=None),
        problem=SimpleNamespace(lower_bound=2.0),
        solution=[{"x": 0.5}],
    )
    fake = SimpleNamespace(options={}, solve=lambda *_, **__: results)
    monkeypatch.setattr(Legacy, "_solver", lambda _: fake)
    model = pyo.ConcreteModel()
    model.x = pyo.Var(domain=pyo.Binary)
    model.objective = pyo.Objective(expr=model.x)
    found = Cbc.adapter.solve(model, SolveOptions(), warm=False)
    assert (found.termination, found.solved, found.bound) == (Termination.TIME_LIMIT, False, 2.0)
    assert model.x.value is None


def test_size_limits_count_columns_and_rows() -> None:
    assert SizeLimit(10, 20).admits(10, 20)
    assert not SizeLimit(10, 20).admits(11, 1)
    assert SizeLimit(10, 10, together=15).admits(12, 3)
    assert not SizeLimit(10, 10, together=15).admits(8, 8)
