"""Starting placements: groups in both directions, most promising first, each possible."""

from __future__ import annotations

import itertools

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.problem import Problem, Rule
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.placing.balance import make_estimator
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.placement import Placer
from parplan.search.placing.starts import directions, starting_placements
from tests.differential.generators import examples
from tests.search.drawing import pipeline_problems
from tests.search.pipelines import even_pipeline


def placer_of(problem: Problem, registry: Registry) -> Placer:
    rules = make_rules(problem, registry)
    return Placer(problem, rules, find_blocks(problem, rules))


@pytest.mark.parametrize("devices", [2, 4, 8])
def test_two_groups_start_mirrored(devices: int, registry: Registry) -> None:
    """No device is late at both ends, as in DualPipe; then every other direction."""
    problem = even_pipeline(devices, devices, 4, groups=(0, 1, 0, 1))
    starts = itertools.islice(starting_placements(placer_of(problem, registry)), 6)
    names, placements = zip(*starts, strict=True)
    there = tuple(range(devices))
    assert (names[0], placements[0]) == ("one way, mirrored", (there, there[::-1]))
    assert (there, there) in placements[:3]
    assert len(set(placements)) == len(placements)


def test_one_group_has_no_directions(registry: Registry) -> None:
    starts = starting_placements(placer_of(even_pipeline(4, 2, 4), registry))
    placements = dict(itertools.islice(starts, 6))
    assert placements["one way"] == ((0, 0, 1, 1),)
    assert not any("mirrored" in name or "rotated" in name for name in placements)


def test_groups_that_are_not_alike_keep_to_their_devices(registry: Registry) -> None:
    problem = even_pipeline(2, 2, 2, groups=(0, 1))
    pins = [{"pin": {"stages.0": ["g0"]}}, {"pin": {"stages.1": ["g0"]}}]
    problem = attrs.evolve(
        problem, constraints=(*problem.constraints, Rule("placement", {"groups": pins}))
    )
    placer = placer_of(problem, registry)
    assert not placer.alike
    found = [placement for _, placement in starting_placements(placer)]
    assert found
    assert all(one[0] == 0 and two[1] == 0 for one, two in found)


def test_an_estimate_of_groups_is_of_devices_that_share(registry: Registry) -> None:
    """A device's load is that of all groups, and it begins with whichever reaches it first."""
    placer = placer_of(even_pipeline(2, 2, 10, groups=(0, 1) * 5), registry)
    estimator = make_estimator(placer)
    there, back = np.array([0, 1]), np.array([1, 0])
    # On one way one device waits for the other's first forward.
    assert round(estimator.estimate(there, there)) == round(estimator.estimate(there)) == 31
    assert round(estimator.estimate(there, back)) == 30


@settings(max_examples=examples(8))
@given(problem=pipeline_problems(4), groups=st.integers(1, 3))
def test_every_start_is_possible(problem: Problem, groups: int, registry: Registry) -> None:
    count = problem.workload.microbatches
    numbers = tuple(k % min(groups, count) for k in range(count))
    workload = attrs.evolve(problem.workload, groups=numbers if max(numbers) else ())
    placer = placer_of(attrs.evolve(problem, workload=workload), registry)
    for _, placement in itertools.islice(starting_placements(placer), 4):
        assert len(placement) == len(placer.groups)
        for group, row in enumerate(placement):
            assert all(d in placer.devices_of[group][b] for b, d in enumerate(row))


@given(count=st.integers(1, 6), groups=st.integers(1, 4))
def test_directions_are_orders_of_the_same_devices(count: int, groups: int) -> None:
    for _, orders in directions(range(count), groups):
        assert len(orders) == groups
        assert tuple(orders[0]) == tuple(range(count))
        assert all(sorted(order) == list(range(count)) for order in orders)
