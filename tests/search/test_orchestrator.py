"""Every engine gives a checked plan of the same problems, and no bound beats another's plan."""

from __future__ import annotations

import math

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.jobshop import job_shop
from parplan.checking import check_plan
from parplan.errors import InfeasibleError, LimitError
from parplan.options import SearchOptions
from parplan.plans import Plan
from parplan.problem import Problem, Rule
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.orchestrator import describe, search
from parplan.workload import Workload, WorkloadKind
from tests.differential.generators import examples, small_problems
from tests.examples import block, chain, ruled
from tests.search.drawing import pipeline_problems
from tests.search.pipelines import even_pipeline
from tests.strategies import problems

QUIET = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]
ENGINES = ("list", "cp-sat", "highs")


def planned(problem: Problem, registry: Registry, solver: str = "", limit: float = 20.0) -> Plan:
    """Return a plan, checked again."""
    options = SearchOptions(solver=solver, time_limit_s=limit, workers=1)
    plan = search(problem, make_rules(problem, registry), registry, options)
    assert check_plan(plan, registry) == ()
    assert plan.provenance["failures"] == []
    assert plan.provenance["rejected"] == []
    return plan


@pytest.mark.slow
@settings(max_examples=examples(12), suppress_health_check=QUIET)
@given(problem=st.one_of(pipeline_problems(3), small_problems(4, 2, 6), problems(4, 3, 2)))
def test_engines_agree(problem: Problem, registry: Registry) -> None:
    plans: list[Plan] = []
    refuted = []
    for solver in ENGINES:
        try:
            plans.append(planned(problem, registry, solver, 0.3 if solver == "list" else 5.0))
        except InfeasibleError:
            refuted.append(solver)
        except LimitError:
            continue
    assert not (plans and refuted)
    for plan in plans:
        for other in plans:
            assert other.bound is None or other.bound.value <= plan.value * (1 + 1e-9)
    proven = {round(plan.value, 9) for plan in plans if plan.status == "optimal"}
    assert len(proven) <= 1


@pytest.mark.parametrize("solver", ENGINES)
@pytest.mark.parametrize("count", [1, 4])
def test_one_device_and_no_tensors(solver: str, count: int, registry: Registry) -> None:
    problem = chain(count)
    problem = attrs.evolve(problem, graph=attrs.evolve(problem.graph, tensors=()))
    plan = planned(problem, registry, solver)
    assert (plan.value, plan.status) == (float(count), "optimal")


@pytest.mark.parametrize("solver", ENGINES)
def test_two_directions_pinned_the_other_way_round(solver: str, registry: Registry) -> None:
    """Two stages whose devices change places for every other microbatch: neither ever waits."""
    problem = attrs.evolve(even_pipeline(2, 2, 2), workload=Workload(microbatches=2, groups=(0, 1)))
    there, back = ({"stages.0": (a,), "stages.1": (b,)} for a, b in (("g0", "g1"), ("g1", "g0")))
    problem = ruled(problem, "placement", groups=[{"pin": there}, {"pin": back}])
    plan = planned(problem, registry, solver)
    assert (plan.value, plan.status) == (6.0, "optimal")


def test_inference_of_one_batch(registry: Registry) -> None:
    problem = chain(6, devices=3, size=2)
    problem = attrs.evolve(problem, workload=Workload(WorkloadKind.INFERENCE))
    for solver in ("list", "cp-sat"):
        assert planned(problem, registry, solver).value == 6.0


def test_requests_wait_for_their_release(registry: Registry) -> None:
    workload = Workload(WorkloadKind.REQUESTS, 3, releases_s=(0.0, 7.0, 7.0))
    problem = attrs.evolve(chain(3, devices=2, size=0), workload=workload)
    for solver in ("list", "cp-sat"):
        plan = planned(problem, registry, solver, 2.0)
        tasks = plan.schedule.tasks
        late = tasks.start[tasks.microbatch > 0]
        assert late.min() >= 7
        # Two requests of three steps on two devices, each on one.
        assert plan.value >= 10.0


@pytest.mark.parametrize("solver", ["list", "cp-sat"])
@pytest.mark.slow
def test_job_shop_of_fifteen_by_fifteen(solver: str, registry: Registry) -> None:
    jobs = [
        [((7 * j + k * (1 if j % 2 else 14)) % 15, 1 + (j * 37 + k * 53 + j * k * 11) % 89)
         for k in range(15)]
        for j in range(15)
    ]  # fmt: skip
    plan = planned(job_shop("arithmetic", jobs), registry, solver, 4.0)
    work = max(sum(t for job in jobs for m, t in job if m == machine) for machine in range(15))
    assert plan.bound is not None
    assert work <= plan.bound.value <= plan.value


def test_even_pipeline_beats_the_hand_made_schedules(registry: Registry) -> None:
    problem = even_pipeline(4, 2, 4)
    plan = planned(problem, registry, "list", 3.0)
    made = [
        row["makespan_s"]
        for row in plan.provenance["baselines"]
        if row["makespan_s"] and not row["variant"]
    ]
    assert {row["name"] for row in plan.provenance["baselines"]} >= {"gpipe", "1f1b", "zb-h1"}
    assert plan.value <= min(made)


@pytest.mark.parametrize("solver", ["list", "cp-sat"])
def test_throughput(solver: str, registry: Registry) -> None:
    problem = attrs.evolve(
        chain(2, devices=2, microbatches=3, size=0), objectives=(Rule("throughput"),)
    )
    plan = planned(problem, registry, solver, 5.0)
    assert math.isfinite(plan.value)
    assert plan.bound is None or plan.bound.value >= plan.value * (1 - 1e-9)


@pytest.mark.parametrize(
    ("objectives", "first", "second"),
    [
        # The shortest step needs both devices, so something must travel: one byte of each of two.
        (("makespan", "traffic"), 3.0, None),
        (("traffic", "makespan"), 0.0, 4.0),
    ],
)
def test_objectives_come_in_their_order(
    objectives: tuple[str, str], first: float, second: float | None, registry: Registry
) -> None:
    problem = chain(2, devices=2, microbatches=2, size=0)
    tensors = tuple(attrs.evolve(t, bytes=1) for t in problem.graph.tensors)
    free = tuple(attrs.evolve(k, bandwidth=math.inf) for k in problem.cluster.links)
    problem = attrs.evolve(
        problem,
        graph=attrs.evolve(problem.graph, tensors=tensors),
        cluster=attrs.evolve(problem.cluster, links=free),
        objectives=tuple(Rule(name) for name in objectives),
    )
    plan = planned(problem, registry, "cp-sat")
    values = list(plan.objectives.values())
    assert values[0] == first
    if second is not None:
        assert values[1] == second
    alone = planned(attrs.evolve(problem, objectives=problem.objectives[:1]), registry, "cp-sat")
    assert alone.value == values[0]


def test_a_gap_asked_for_ends_the_search(registry: Registry) -> None:
    problem = block(3, devices=2, microbatches=3)
    options = SearchOptions(solver="list", time_limit_s=6.0, gap=0.9, workers=1)
    plan = search(problem, make_rules(problem, registry), registry, options)
    assert plan.provenance["seconds"] < 4
    assert plan.gap is not None
    assert plan.gap <= 0.9


@pytest.mark.parametrize("solver", ["", *ENGINES])
def test_describe_says_what_would_be_done(solver: str, registry: Registry) -> None:
    problem = chain(3, devices=2, microbatches=2)
    rules = make_rules(problem, registry)
    told = describe(problem, rules, registry, SearchOptions(solver=solver))
    assert (told["operators"], told["tasks"], told["devices"]) == (3, 6, 2)
    assert (solver or "cp-sat").replace("list", "list schedules") in told["engine"]
    assert all(bound["value"] <= 6.0 for bound in told["bounds"])
