from __future__ import annotations

import attrs
import pytest

from parplan import api
from parplan.checking import check_schedule
from parplan.errors import InputError
from parplan.explaining.carrying import carried
from parplan.explaining.changes import Change, read_change
from parplan.explaining.what_if import AS_IT_IS, Verdict, compared, what_if
from parplan.options import SearchOptions
from parplan.plans import Bound, Plan
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.given import given_candidate
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Finisher
from parplan.search.placing.placement import Placer
from tests.examples import chain, ruled
from tests.exhaustive import shortest_schedule
from tests.plan_samples import pipeline_plan

SPEC = "examples/specs/four-operators.yaml"
OPTIONS = SearchOptions(time_limit_s=60.0, workers=1)

FASTER = [
    f"model.operators[{i}].seconds.fast={seconds / 1.1} ms"
    for i, seconds in enumerate((1, 4, 3, 2))
]


@pytest.fixture(scope="module")
def plan(registry: Registry) -> Plan:
    return api.plan(SPEC, registry=registry, time_limit_s=60.0)


@pytest.mark.parametrize(
    ("change", "override"),
    [
        ("memory=small:1 GiB", "cluster.devices[1].memory_bytes=1273741824"),
        ("bandwidth=*:10%", "cluster.links[0].bandwidth=11 GB/s"),
        ("microbatches=:1", "workload.microbatches=3"),
        ("microbatches=:-1", "workload.microbatches=1"),
    ],
)
def test_a_changed_problem_is_that_of_the_changed_spec(
    change: str, override: str, registry: Registry
) -> None:
    problem = api.prepare(SPEC, registry=registry).problem
    changed = read_change(change).apply(problem)
    fresh = api.prepare(SPEC, overrides=[override], registry=registry).problem
    assert attrs.evolve(changed, tick_s=1.0) == attrs.evolve(fresh, tick_s=1.0)


def test_an_answer_is_what_the_changed_spec_gives(plan: Plan, registry: Registry) -> None:
    answer = what_if(plan, [read_change("speed=fast:10%")], registry, OPTIONS)[-1]
    fresh = api.plan(SPEC, overrides=FASTER, registry=registry, time_limit_s=60.0)
    assert fresh.gap == 0.0
    assert answer.value == pytest.approx(fresh.value, rel=1e-6)
    assert answer.bound == pytest.approx(fresh.value, rel=1e-6)


def test_one_device_more_is_joined_like_the_one_it_copies(registry: Registry) -> None:
    """Two operators at once need two devices; full enumeration agrees on the gain."""
    problem = chain(1, microbatches=3, seconds=2.0, devices=2)
    problem = attrs.evolve(problem, workload=attrs.evolve(problem.workload, groups=(0, 1, 2)))
    best = shortest_schedule(problem)
    assert best is not None
    plan = Plan(problem, best, {"makespan": float(best.makespan)}, Bound(4.0))
    changed = read_change("devices=g1").apply(problem)
    assert [d.name for d in changed.cluster.devices] == ["g0", "g1", "g1 copy"]
    assert all(changed.cluster.route(a, b) for a in range(3) for b in range(3) if a != b)
    expected = shortest_schedule(changed)
    answer = what_if(plan, [Change("devices", ("device",), 1)], registry, OPTIONS)[-1]
    assert expected is not None
    assert (answer.value, answer.verdict) == (expected.makespan, Verdict.PROVEN)
    assert answer.sure == 2.0


def test_more_memory_lets_two_run_where_one_did(registry: Registry) -> None:
    problem = chain(2, microbatches=2, size=5)
    device = attrs.evolve(problem.cluster.devices[0], memory_bytes=5, engines={"compute": 2})
    problem = attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, devices=(device,)))
    best = shortest_schedule(problem)
    assert best is not None
    plan = Plan(problem, best, {"makespan": float(best.makespan)}, Bound(float(best.makespan)))
    change = Change("memory", ("g0",), 5)
    expected = shortest_schedule(change.apply(problem))
    answer = what_if(plan, [change], registry, OPTIONS)[0]
    assert expected is not None
    assert (best.makespan, answer.value) == (4, expected.makespan) == (4, 2)


def test_a_plan_that_is_not_proven_best_is_searched_on_first(registry: Registry) -> None:
    plan = pipeline_plan(2, 3)
    slack = Plan(plan.problem, plan.schedule, plan.objectives, Bound(1.0))
    answers = what_if(slack, [Change("speed", ("gpu*",), 0.1)], registry, OPTIONS)
    assert answers[0].change == AS_IT_IS
    assert answers[0].value is not None
    assert answers[0].value <= plan.value


@pytest.mark.parametrize(
    ("value", "bound", "verdict", "sure", "possible"),
    [
        (7.0, 6.0, Verdict.PROVEN, 1.0, 4.0),
        (9.0, 6.0, Verdict.WITHIN_GAP, 0.0, 4.0),
        (10.0, 9.0, Verdict.NOT_FOUND, 0.0, 1.0),
        (10.0, 10.0, Verdict.NOTHING, 0.0, 0.0),
    ],
)
def test_a_gain_is_sure_as_far_as_the_bounds_say(
    value: float,
    bound: float,
    verdict: Verdict,
    sure: float,
    possible: float,
    registry: Registry,
) -> None:
    plan = attrs.evolve(pipeline_plan(), objectives={"makespan": 10.0}, bound=Bound(8.0))
    other = attrs.evolve(plan, objectives={"makespan": value}, bound=Bound(bound))
    answer = compared("change", plan, other, registry)
    assert (answer.verdict, answer.sure, answer.possible) == (verdict, sure, possible)


def test_a_schedule_is_carried_into_a_changed_problem_and_tightened(registry: Registry) -> None:
    plan = pipeline_plan(3, 4)
    problem = Change("speed", ("gpu*",), 1.0).apply(plan.problem)
    rules = make_rules(problem, registry)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    found = Finisher(placer).finish(given_candidate(placer, carried(plan.schedule, problem)))
    assert check_schedule(found, rules) == ()
    assert found.makespan * problem.tick_s < plan.value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("memroy=g0", "did you mean 'memory'"),
        ("memory=", "names nothing"),
        ("memory=g7:1 GiB", "no device matches 'g7'"),
        ("memory=g0", "is not limited"),
        ("bandwidth=nic", "no such link"),
        ("devices=tpu", "no such device"),
        ("microbatches=g0:1", "names nothing, not 'g0'"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_change(text).apply(chain(2, devices=2))


def test_a_change_without_any_plan_says_why(registry: Registry) -> None:
    problem = ruled(chain(1), "placement", pin={"o0": ("g0",)})
    device = attrs.evolve(problem.cluster.devices[0], memory_bytes=2)
    problem = attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, devices=(device,)))
    best = shortest_schedule(problem)
    assert best is not None
    plan = Plan(problem, best, {"makespan": 1.0}, Bound(1.0))
    operator = problem.graph.operators[0]
    mode = attrs.evolve(operator.modes[0], workspace_bytes=2)
    graph = attrs.evolve(problem.graph, operators=(attrs.evolve(operator, modes=(mode,)),))
    plan = attrs.evolve(plan, problem=attrs.evolve(problem, graph=graph))
    answer = what_if(plan, [Change("memory", ("g0",), -1)], registry, OPTIONS)[0]
    assert answer.verdict is Verdict.NO_PLAN
    assert "memory" in answer.reason
