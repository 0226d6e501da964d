"""Whatever the list scheduler returns obeys every rule, whatever a problem and its rules say."""

from __future__ import annotations

import random

import attrs
import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from parplan.checking import check_schedule
from parplan.declarations import Apart, Forbidden, Held, Order, Resource, Running, Together
from parplan.errors import InfeasibleError
from parplan.graph import Repeat
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import Rules
from parplan.scheduling.list_scheduler import (
    NO_ARCS,
    Deadlock,
    ListScheduler,
    arcs_of,
    serial_arcs,
)
from parplan.scheduling.network import Network, build_network, check_capacities
from tests.differential.generators import declarations, examples, small_problems
from tests.differential.solving import with_declared
from tests.examples import chain
from tests.search.pipelines import even_pipeline
from tests.strategies import choose, problems

QUIET = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]


def check_list_schedules(problem: Problem, rules: Rules, chance: random.Random) -> int:
    """Schedule a random assignment by random priorities; return how many schedules came out."""
    assignment = choose(problem, chance)
    assume(assignment is not None)
    assert assignment is not None
    try:
        network = build_network(problem, rules, assignment)
        check_capacities(network, rules)
    except InfeasibleError:
        return 0
    scheduler = ListScheduler(network)
    found = 0
    for arcs in (NO_ARCS, serial_arcs(network)):
        priority = [chance.random() for _ in range(len(network))]
        patient = np.array([chance.random() < 0.3 for _ in range(len(network))])
        starts = scheduler.run(priority, arcs, patient)
        if isinstance(starts, Deadlock):
            continue
        found += 1
        schedule = network.schedule(starts)
        assert check_schedule(schedule, _without_placement(rules)) == ()
        assert scheduler.makespan(starts) == schedule.makespan
    return found


def _without_placement(rules: Rules) -> Rules:
    """The rules that a schedule of any assignment must obey."""
    kept = (d for d in rules.declared if not isinstance(d.what, Forbidden | Together | Apart))
    return attrs.evolve(rules, declared=tuple(kept))


@settings(max_examples=examples(150), suppress_health_check=QUIET)
@given(problem=problems(), seed=st.integers(0, 999))
def test_list_schedules_of_any_problem_pass_the_check(
    problem: Problem, seed: int, registry: Registry
) -> None:
    check_list_schedules(problem, with_declared(problem, registry, ()), random.Random(seed))


@settings(max_examples=examples(150), suppress_health_check=QUIET)
@given(data=st.data(), problem=small_problems(5, 3, 12), seed=st.integers(0, 999))
def test_list_schedules_under_declared_rules_pass_the_check(
    data: st.DataObject, problem: Problem, seed: int, registry: Registry
) -> None:
    rules = with_declared(problem, registry, data.draw(declarations(problem)))
    check_list_schedules(problem, rules, random.Random(seed))


def _network(rules: Rules, **chosen: int) -> Network:
    """Every operator in its first alternative, or the one of the index given."""
    index = rules.problem.graph.operator_index
    assignment = {(o, 0): 0 for o in index.values()}
    assignment |= {(index[name], 0): row for name, row in chosen.items()}
    return build_network(rules.problem, rules, assignment)


def test_a_hold_that_ends_before_it_begins_takes_no_room(registry: Registry) -> None:
    problem = chain(2, devices=2, microbatches=3)
    problem = attrs.evolve(problem, graph=attrs.evolve(problem.graph, tensors=()))
    slots = Resource("slots", 2.0, [Held("o0", "o1", amount=2.0), Running("g0"), Running("g1")])
    network = _network(with_declared(problem, registry, [slots]), o1=1)
    # o1 first, so that what o0 holds is over before it begins.
    starts = ListScheduler(network).run([1.0 if o == 0 else 0.0 for o, _ in network.tasks])
    assert not isinstance(starts, Deadlock)
    rules = with_declared(problem, registry, [slots])
    assert check_schedule(network.schedule(starts), rules) == ()


def test_a_hold_from_once_per_step_work_is_one_for_each_microbatch(registry: Registry) -> None:
    problem = chain(2, microbatches=2)
    first, second = problem.graph.operators
    graph = attrs.evolve(problem.graph, operators=(attrs.evolve(first, repeat=Repeat.STEP), second))
    problem = attrs.evolve(problem, graph=graph)
    rules = with_declared(problem, registry, [Resource("slots", 1.0, [Held("o0", "o1")])])
    assert isinstance(ListScheduler(_network(rules)).run([0.0] * 3), Deadlock)


def test_a_deadlock_names_what_is_full(registry: Registry) -> None:
    problem = chain(3, microbatches=2, size=1)
    slots = Resource("slots", 1.0, [Held("o0", "o2")])
    rules = with_declared(problem, registry, [slots, Order(("o1", "o0"))])
    stuck = ListScheduler(_network(with_declared(problem, registry, [slots]))).run(
        [0.0] * 6, arcs_of([(1, 2)])
    )
    assert isinstance(stuck, Deadlock)
    network = _network(rules)
    assert network.resource_names[stuck.resource][1] == "slots"
    assert network.tasks[stuck.activity] == (0, 1)
    assert stuck.done == 1


def test_transfers_of_a_pair_keep_the_order_of_their_producers(registry: Registry) -> None:
    problem = chain(2, devices=2, microbatches=4, size=5)
    problem = attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, fifo=True))
    rules = with_declared(problem, registry, ())
    network = _network(rules, o1=1)
    urgent = [float(-m) for _, m in network.tasks] + [float(-m) for _, m, _, _ in network.transfers]
    starts = ListScheduler(network).run(urgent)
    assert not isinstance(starts, Deadlock)
    assert check_schedule(network.schedule(starts), rules) == ()


@settings(max_examples=examples(60))
@given(
    stages=st.integers(1, 4),
    microbatches=st.integers(1, 5),
    times=st.tuples(*[st.integers(0, 3)] * 3),
)
def test_one_microbatch_after_another_fits_where_one_does(
    stages: int, microbatches: int, times: tuple[int, int, int], registry: Registry
) -> None:
    # One byte for each stage of one microbatch: a second one never fits.
    problem = even_pipeline(stages, stages, microbatches, tuple(map(float, times)), memory=1)
    rules = with_declared(problem, registry, ())
    spots = {f"{letter}{s}": s for s in range(stages) for letter in "fbw"}
    network = _network(rules, **spots)
    starts = ListScheduler(network).run([0.0] * len(network), serial_arcs(network))
    assert not isinstance(starts, Deadlock)
    assert check_schedule(network.schedule(starts), rules) == ()
