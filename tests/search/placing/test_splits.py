"""Splits against brute force: dynamic programming finds the least largest load."""

from __future__ import annotations

import itertools
import random
from itertools import pairwise

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.graph import Mode, ParameterGroup
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.placing.balance import balanced, make_estimator
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.earliest_finish import earliest_finish
from parplan.search.placing.placement import Placer
from parplan.search.placing.splits import (
    device_orders,
    shifted_cuts,
    split,
    split_row,
    stage_patterns,
    uniform_split,
)
from tests.differential.generators import examples
from tests.examples import chain
from tests.search.drawing import pipeline_problems
from tests.search.pipelines import even_pipeline


def placer_of(problem: Problem, registry: Registry) -> Placer:
    rules = make_rules(problem, registry)
    return Placer(problem, rules, find_blocks(problem, rules))


@st.composite
def uneven_chains(draw: st.DrawFn) -> Problem:
    """Chains with times by kind, parameters, small memories and operators tied to a device."""
    count, devices = draw(st.integers(1, 7)), draw(st.integers(1, 3))
    problem = chain(count, devices=devices)
    names = [d.name for d in problem.cluster.devices]
    operators = []
    for operator in problem.graph.operators:
        fast, slow = draw(st.integers(0, 5)), draw(st.integers(0, 5))
        tied = draw(st.sampled_from([None, None, None, None, *names]))
        mode = Mode(
            seconds={"fast": float(fast), "slow": float(slow)},
            groups=((tied,),) if tied else (),
        )
        parameters = (f"p{operator.name}",) if draw(st.booleans()) else ()
        operators.append(attrs.evolve(operator, modes=(mode,), parameters=parameters))
    groups = tuple(ParameterGroup(f"p{o.name}", draw(st.integers(1, 4))) for o in operators)
    spots = tuple(
        attrs.evolve(
            d,
            kind=draw(st.sampled_from(["fast", "slow"])),
            memory_bytes=draw(st.sampled_from([None, 5, 9])),
        )
        for d in problem.cluster.devices
    )
    return attrs.evolve(
        problem,
        graph=attrs.evolve(problem.graph, operators=tuple(operators), parameters=groups),
        cluster=attrs.evolve(problem.cluster, devices=spots),
    )


def _largest_load(placer: Placer, stages: tuple[int, ...], cuts: tuple[int, ...]) -> float:
    """Largest load times chunks of a split, infinite where it cannot be; said once more, slowly."""
    worst = 0.0
    for device, (start, end) in zip(stages, pairwise((0, *cuts, len(placer.blocks))), strict=True):
        chunks = stages.count(device)
        if any(device not in placer.devices_of[0][b] for b in range(start, end)):
            return float("inf")
        usable = placer.problem.cluster.devices[device].usable_bytes
        held = sum(placer.parameter_bytes[start:end]) * chunks
        if usable is not None and held > usable:
            return float("inf")
        worst = max(worst, chunks * sum(placer.loads[0][b][device] for b in range(start, end)))
    return worst


@settings(max_examples=examples(150))
@given(problem=uneven_chains(), data=st.data())
def test_split_is_best_by_brute_force(
    problem: Problem, data: st.DataObject, registry: Registry
) -> None:
    placer = placer_of(problem, registry)
    devices = st.integers(0, len(problem.cluster.devices) - 1)
    stages = tuple(data.draw(st.lists(devices, min_size=1, max_size=4)))
    inner = range(1, len(placer.blocks))
    best = min(
        (
            _largest_load(placer, stages, cuts)
            for cuts in itertools.combinations(inner, len(stages) - 1)
        ),
        default=float("inf"),
    )
    found = split(placer, stages)
    if found is None:
        assert best == float("inf")
        return
    row = found[0]
    runs = [(d, len(list(run))) for d, run in itertools.groupby(row)]
    assert [d for d, _ in runs] == [d for d, _ in itertools.groupby(stages)]
    if len(runs) == len(stages):  # neighbours on one device hide where they were cut
        cuts = tuple(itertools.accumulate(length for _, length in runs))[:-1]
        assert _largest_load(placer, stages, cuts) == best


def test_uniform_split_counts_blocks(registry: Registry) -> None:
    placer = placer_of(chain(7, devices=3), registry)
    assert uniform_split(placer, (0, 1, 2)) == ((0, 0, 1, 1, 1, 2, 2),)


def test_uniform_split_says_where_a_block_cannot_run(registry: Registry) -> None:
    problem = chain(2, devices=2)
    first, second = problem.graph.operators
    tied = attrs.evolve(first, modes=(Mode(seconds={"*": 1.0}, groups=(("g1",),)),))
    graph = attrs.evolve(problem.graph, operators=(tied, second))
    placer = placer_of(attrs.evolve(problem, graph=graph), registry)
    assert uniform_split(placer, (0, 1)) is None
    assert split(placer, (0, 1)) is None
    assert split(placer, (1, 0)) == ((1, 0),)


@settings(max_examples=examples(60))
@given(problem=st.one_of(uneven_chains(), pipeline_problems(4)), seed=st.integers(0, 99))
def test_balancing_never_worsens_its_estimate(
    problem: Problem, seed: int, registry: Registry
) -> None:
    placer = placer_of(problem, registry)
    if not all(placer.devices_of[0]):
        return
    estimator = make_estimator(placer)
    for order in device_orders(placer)[:2]:
        for _, stages in itertools.islice(stage_patterns(placer, order), 4):
            start = split_row(placer, stages)
            if start is None:
                continue
            for placement in ((start,), (start, start[::-1])):
                before = estimator.estimate(*(np.array(row) for row in placement))
                after = balanced(estimator, placement, 60, seed)
                judged = estimator.estimate(*(np.array(row) for row in after))
                assert judged <= before
                if judged < np.inf:
                    places = [(b, d) for row in after for b, d in enumerate(row)]
                    assert all(d in placer.devices_of[0][b] for b, d in places)


@settings(max_examples=examples(60))
@given(row=st.lists(st.integers(0, 3), min_size=1, max_size=9), seed=st.integers(0, 999))
def test_shifting_cuts_keeps_the_stages(row: list[int], seed: int) -> None:
    before = np.array(row)
    after = shifted_cuts(before, random.Random(seed))
    if after is None:
        assert len(set(row)) == 1
        return
    stages = [[d for d, _ in itertools.groupby(r)] for r in (before.tolist(), after.tolist())]
    assert stages[0] == stages[1]


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_patterns_name_each_device_and_no_stage_list_twice(
    devices: int, registry: Registry
) -> None:
    placer = placer_of(even_pipeline(8, devices, 2), registry)
    (order,) = device_orders(placer)
    patterns = [stages for _, stages in stage_patterns(placer, order)]
    assert order in patterns
    assert len(patterns) == len(set(patterns))
    assert all(set(stages) == set(range(devices)) for stages in patterns)


def test_slow_devices_are_left_out_where_blocks_are_few(registry: Registry) -> None:
    problem = chain(2, devices=3)
    spots = tuple(
        attrs.evolve(d, kind=kind)
        for d, kind in zip(problem.cluster.devices, ("slow", "fast", "fast"), strict=True)
    )
    mode = Mode(seconds={"fast": 1.0, "slow": 3.0})
    operators = tuple(attrs.evolve(o, modes=(mode,)) for o in problem.graph.operators)
    problem = attrs.evolve(
        problem,
        cluster=attrs.evolve(problem.cluster, devices=spots),
        graph=attrs.evolve(problem.graph, operators=operators),
    )
    assert device_orders(placer_of(problem, registry)) == [(1, 2)]


@settings(max_examples=examples(60))
@given(problem=st.one_of(uneven_chains(), pipeline_problems(4)))
def test_blocks_are_a_partition_in_topological_order(problem: Problem, registry: Registry) -> None:
    blocks = find_blocks(problem, make_rules(problem, registry))
    members = [o for group in blocks.members for o in group]
    assert sorted(members) == list(range(len(problem.graph.operators)))
    assert all(blocks.block_of[o] == b for b, group in enumerate(blocks.members) for o in group)
    place = {o: i for i, o in enumerate(problem.graph.topological_order)}
    firsts = [min(place[o] for o in group) for group in blocks.members]
    assert firsts == sorted(firsts)
    assert all(
        [place[o] for o in group] == sorted(place[o] for o in group) for group in blocks.members
    )


@settings(max_examples=examples(80))
@given(problem=st.one_of(uneven_chains(), pipeline_problems(4)))
def test_earliest_finish_obeys_devices_and_room_for_parameters(
    problem: Problem, registry: Registry
) -> None:
    placer = placer_of(problem, registry)
    found = earliest_finish(placer)
    if found is None:
        return
    assert all(d in placer.devices_of[0][b] for b, d in enumerate(found))
    for d, device in enumerate(problem.cluster.devices):
        held = sum(size for b, size in enumerate(placer.parameter_bytes) if found[b] == d)
        assert device.usable_bytes is None or held <= device.usable_bytes


def test_earliest_finish_spreads_what_is_independent_and_keeps_chains(registry: Registry) -> None:
    line = placer_of(chain(3, devices=2, size=5), registry)
    assert earliest_finish(line) == (0, 0, 0)
    problem = chain(2, devices=2)
    loose = attrs.evolve(problem, graph=attrs.evolve(problem.graph, tensors=()))
    assert earliest_finish(placer_of(loose, registry)) == (0, 1)
