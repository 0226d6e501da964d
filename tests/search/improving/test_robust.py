"""Search by scenarios: what it judges is what a replay gives, and it never makes plans worse."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import parplan
from parplan import clock
from parplan.errors import InputError
from parplan.problem import Problem, Rule
from parplan.registry import Registry
from parplan.rules import Rules, make_rules
from parplan.search.improving.improvement import rule_portfolio
from parplan.search.improving.robust import (
    FINENESS,
    ScenarioOrders,
    improved_by_scenarios,
    nearly_shortest,
)
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Candidate, Finisher, prepare, schedule_by_rule
from parplan.search.placing.placement import Placer
from parplan.search.sequences.longest_path import earliest_starts, makespan_of
from parplan.simulation.criterion import ScenarioCriterion
from parplan.simulation.noise import Noise
from parplan.simulation.scenarios import Scenarios
from tests.search.pipelines import even_pipeline

NOISE = {"forward": 0.2, "backward": 0.1, "weight": 0.3}


def pipeline(devices: int = 3, microbatches: int = 6) -> Problem:
    times = (2.0, 2.0, 1.0)
    problem = even_pipeline(devices, devices, microbatches, times, memory=devices)
    options = {"noise": NOISE, "samples": 20}
    return attrs.evolve(problem, objectives=(Rule("robust-makespan", options), Rule("makespan")))


def candidates(placer: Placer) -> list[Candidate]:
    devices = len(placer.problem.cluster.devices)
    prepared = prepare(placer, (tuple(range(devices)),))
    found = (schedule_by_rule(prepared, rule) for rule in rule_portfolio())
    return [candidate for candidate in found if candidate is not None]


def placer_of(problem: Problem, registry: Registry) -> Placer:
    rules = make_rules(problem, registry)
    return Placer(problem, rules, find_blocks(problem, rules))


def criterion_of(rules: Rules) -> ScenarioCriterion:
    found = rules.objectives[0].criterion()
    assert found is not None
    return found


@given(st.floats(0, 1), st.integers(1, 30))
def test_weights_give_the_quantile_of_numpy(part: float, count: int) -> None:
    scenarios = Scenarios(pipeline(), Noise(), count, 0)
    lengths = np.random.default_rng(count).random(count)
    criterion = ScenarioCriterion(scenarios, part)
    assert criterion.weights.sum() == pytest.approx(1.0)
    assert criterion.statistic(lengths) == pytest.approx(np.quantile(lengths, part))
    assert ScenarioCriterion(scenarios).statistic(lengths) == pytest.approx(lengths.mean())


def test_an_order_is_judged_as_longest_paths_and_replays_say(registry: Registry) -> None:
    placer = placer_of(pipeline(), registry)
    criterion = criterion_of(placer.rules)
    for candidate in nearly_shortest(candidates(placer)):
        orders = ScenarioOrders.of(placer, candidate, criterion)
        assert orders is not None
        order = orders.view.order(candidate.starts)
        plain = []
        for durations, delays in zip(orders.durations, orders.delays, strict=True):
            machines = orders.view.machines._replace(durations=durations, arc_delay=delays)
            starts = earliest_starts(machines, order)
            assert starts is not None
            plain.append(makespan_of(machines, starts) / FINENESS)
        judged = orders.judge(order)
        assert judged == pytest.approx(criterion.statistic(np.array(plain)), rel=1e-12)
        schedule = Finisher(placer).expand(candidate)
        assert judged == pytest.approx(criterion.value(schedule, placer.rules), rel=1e-3)


def test_changed_orders_are_better_by_the_objective(registry: Registry) -> None:
    placer = placer_of(pipeline(), registry)
    objective, criterion = placer.rules.objectives[0], criterion_of(placer.rules)
    start = max(nearly_shortest(candidates(placer)), key=lambda c: c.makespan)
    until = clock.now() + 3.0
    found = list(improved_by_scenarios(placer, [start], criterion, until, seed=0))
    assert len(found) == 1
    before, after = (objective.value(Finisher(placer).finish(c)) for c in (start, found[0]))
    assert after < before


def test_near_ones_are_each_compared_once(registry: Registry) -> None:
    found = candidates(placer_of(pipeline(), registry))
    near = nearly_shortest([*found, *found])
    assert len({c.starts.tobytes() for c in near}) == len(near)
    assert near[0].makespan == min(c.makespan for c in found)
    assert all(c.makespan <= 1.04 * near[0].makespan for c in near)


def test_a_plan_by_scenarios_is_no_worse_in_them_than_the_nominal_one(registry: Registry) -> None:
    problem = pipeline()
    robust = parplan.plan(problem, time_limit_s=6, workers=1, registry=registry)
    exact = attrs.evolve(problem, objectives=(Rule("makespan"),))
    nominal = parplan.plan(exact, time_limit_s=3, workers=1, solver="list", registry=registry)
    assert parplan.check(robust, registry=registry) == ()
    assert robust.bound is None
    assert robust.value == make_rules(problem, registry).objectives[0].value(robust.schedule)
    assert robust.value <= make_rules(problem, registry).objectives[0].value(nominal.schedule)
    assert all(bound["scope"] == "planned times" for bound in robust.provenance["bounds"])


def test_a_solver_that_cannot_take_it_is_refused(registry: Registry) -> None:
    with pytest.raises(InputError, match="no solver minimises 'robust-makespan'"):
        parplan.plan(pipeline(), solver="cp-sat", time_limit_s=1, registry=registry)
