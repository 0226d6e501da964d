"""Second solvers on claimed optima: true ones are confirmed, false ones contradicted by a plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from benchmarks.__main__ import main
from benchmarks.confirming import Ruling, confirm, first_in_first_out
from benchmarks.runner import KEYS
from parplan.contracts import Answer, Availability, Solver, Termination
from parplan.errors import SolverError
from parplan.plan_files.plan_file import save_plan
from parplan.plans import Bound, Plan
from parplan.problem import Problem, Rule
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.workload import in_turn
from tests.differential.generators import declarations, examples, small_problems
from tests.differential.solving import by_cp_sat, optimum, with_declared
from tests.plugins.strategies.published import simulate
from tests.search.pipelines import even_pipeline

QUIET = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]


def claimed(name: str, microbatches: int, registry: Registry, objective: str = "makespan") -> Plan:
    """Return a hand-made schedule of two devices as a plan that claims to be optimal."""
    schedule = simulate(registry.strategies[name].value(), 2, microbatches, registry)
    problem = attrs.evolve(schedule.problem, objectives=(Rule(objective),))
    schedule = attrs.evolve(schedule, problem=problem)
    value = make_rules(problem, registry).objectives[0].value(schedule)
    bound = Bound(value, source="exact machines")
    return Plan(problem, schedule, {objective: value}, bound, "optimal", name)


@pytest.mark.parametrize("solver", ["cp-sat", "highs"])
def test_a_true_optimum_is_confirmed(solver: str, registry: Registry) -> None:
    plan = claimed("zb-h1", 2, registry)
    found = confirm(plan, registry.solvers[solver].value, registry, 60.0)
    assert found.ruling is Ruling.CONFIRMED
    assert found.solver.startswith(solver)
    assert found.first_in_first_out


@pytest.mark.parametrize("objective", ["makespan", "stage-span", "throughput"])
@pytest.mark.parametrize("solver", ["cp-sat", "highs"])
def test_a_false_claim_is_contradicted_by_a_better_plan(
    solver: str, objective: str, registry: Registry
) -> None:
    plan = claimed("gpipe", 2, registry, objective)
    found = confirm(plan, registry.solvers[solver].value, registry, 60.0)
    assert found.ruling is Ruling.CONTRADICTED
    assert found.better is not None
    assert (found.better > plan.value) == (objective == "throughput")
    assert found.better != plan.value


def test_a_plan_of_alike_microbatches_can_keep_them_in_order(registry: Registry) -> None:
    def lags(problem: Problem) -> set[tuple[str, int]]:
        found = first_in_first_out(problem, make_rules(problem, registry))
        return {(lag.before, lag.offset) for lag in found}

    problem = even_pipeline(1, 1, 4)
    assert lags(problem) == {("f0", 1), ("b0", 1), ("w0", 1)}
    workload = problem.workload
    turns = attrs.evolve(workload, groups=in_turn(2, 4))
    assert lags(attrs.evolve(problem, workload=turns)) == {("f0", 2), ("b0", 2), ("w0", 2)}
    for unlike in (
        {"groups": (0, 1, 1, 0)},
        {"scales": (1, 1, 2, 1)},
        {"releases_s": (0, 0, 0, 1)},
    ):
        assert lags(attrs.evolve(problem, workload=attrs.evolve(workload, **unlike))) == set()


@pytest.mark.slow
@settings(max_examples=examples(60), suppress_health_check=QUIET)
@given(data=st.data(), problem=small_problems(max_operators=4, max_devices=2, max_tasks=8))
def test_order_among_alike_microbatches_costs_nothing(
    data: st.DataObject, problem: Problem, registry: Registry
) -> None:
    workload = attrs.evolve(problem.workload, microbatches=2, groups=(), scales=(), releases_s=())
    problem = attrs.evolve(problem, workload=workload)
    extra = data.draw(declarations(problem)) if data.draw(st.booleans()) else ()
    rules = with_declared(problem, registry, extra)
    lags = first_in_first_out(problem, rules)
    assume(lags)
    in_order = with_declared(problem, registry, (*extra, *lags))
    assert optimum(in_order, by_cp_sat) == optimum(rules, by_cp_sat)


class Silent(Solver):
    """A solver that ends without a word, for the reason it is made with."""

    name = "silent"
    capabilities = frozenset()

    def __init__(self, termination: Termination) -> None:
        self.termination = termination

    def probe(self) -> Availability:
        """It is always there."""
        return Availability(available=True)

    def solve(self, *_: Any) -> Answer:
        """Return no values."""
        return Answer(self.termination, self.name, message="no licence")


def test_silence_is_not_taken_for_a_proof(registry: Registry) -> None:
    plan = claimed("zb-h1", 2, registry)
    found = confirm(plan, Silent(Termination.TIME_LIMIT), registry, 1.0)
    assert found.ruling is Ruling.UNDECIDED
    with pytest.raises(SolverError, match="no licence"):
        confirm(plan, Silent(Termination.REFUSED), registry, 1.0)


def rows_of(plans: dict[str, Plan], folder: Path) -> Path:
    """Save plans, and write the rows of results that they stand behind."""
    rows = []
    for case, plan in plans.items():
        path = folder / f"{case}.json"
        save_plan(plan, path)
        figures = {"suite": "s", "case": f"a/{case}", "status": plan.status, "plan": str(path)}
        rows.append(json.dumps({**dict.fromkeys(KEYS), **figures}))
    file = folder / "rows.jsonl"
    file.write_text("\n".join(rows))
    return file


def test_claims_of_result_files_get_rows(registry: Registry, tmp_path: Path) -> None:
    plan = claimed("zb-h1", 2, registry)
    by_solver = attrs.evolve(plan, bound=Bound(plan.value, source="exact machines, CP-SAT"))
    plans = {
        "own": plan,
        "solver": by_solver,
        "open": attrs.evolve(plan, status="feasible"),
        "large": claimed("1f1b", 4, registry),
    }
    file, out = rows_of(plans, tmp_path), tmp_path / "confirmed.jsonl"
    arguments = ["confirm", str(file), "--most-tasks", "12", "--json", str(out)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(r["suite"], r["case"], r["status"], r["solver"].split()[0]) for r in rows] == [
        ("confirm", "a/own", "confirmed", "cp-sat"),
        ("confirm", "a/solver", "confirmed", "highs"),
    ]
    assert all(tuple(sorted(row)) == tuple(sorted(KEYS)) for row in rows)
    assert rows[0]["details"]["bound_source"] == "exact machines"


def test_a_contradicted_claim_makes_the_command_fail(registry: Registry, tmp_path: Path) -> None:
    file = rows_of({"false": claimed("gpipe", 2, registry)}, tmp_path)
    result = CliRunner().invoke(main, ["confirm", str(file), "--solver", "cp-sat"])
    assert result.exit_code == 1
    row = json.loads(result.stdout.splitlines()[-1])
    assert row["status"] == "contradicted"
    assert row["details"]["better"] < row["value"]
