"""Annealing and cuts of lines against all partitions of tiny graphs."""

from __future__ import annotations

from itertools import product

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan import clock
from parplan.graph import ParameterGroup
from parplan.problem import Rule
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.partitioning.annealing import annealed, load_of
from parplan.search.partitioning.candidates import candidates_of_lines
from parplan.search.partitioning.line_splits import split_line
from parplan.search.partitioning.partitions import partitions
from parplan.search.partitioning.starts import even_split, lines, starting_partitions
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.placement import Placer
from tests.examples import chain
from tests.search.partitioning.test_kernel import made
from tests.search.partitioning.tiny import least_seconds, tiny_problem


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), once=st.booleans(), contiguous=st.booleans())
def test_annealing_finds_the_best_partition(
    registry: Registry, seed: int, once: bool, contiguous: bool
) -> None:
    problem = tiny_problem(seed, leaves_once=once, contiguous=contiguous)
    _, instance = made(problem, registry)
    least = least_seconds(problem, contiguous=contiguous) / problem.tick_s
    best = np.inf
    for start in starting_partitions(instance, clock.now() + 60.0, seed):
        for turn in range(3):
            # A run makes 2,000 moves at least, however slow the machine is.
            found = annealed(instance, start, 1e-9, turn, target=least)
            assert found.load == load_of(instance, found.device_of) >= least * (1 - 1e-9)
            best = min(best, found.load)
    assert best == pytest.approx(least)


@given(seed=st.integers(0, 10**6))
def test_a_line_is_cut_as_well_as_can_be(registry: Registry, seed: int) -> None:
    problem = tiny_problem(seed, leaves_once=True, operators=6)
    _, instance = made(problem, registry)
    line = next(lines(instance, seed))
    split = split_line(instance, line)
    assert split is not None
    devices = instance.allowed.shape[1]
    every = []
    for row in product(range(devices), repeat=len(line)):
        ends = [i for i in range(len(row)) if i == 0 or row[i] != row[i - 1]]
        if len({row[i] for i in ends}) == len(ends):  # no device has a second run
            device_of = np.zeros(len(instance.bytes), dtype=np.int64)
            for unit, device in zip(line, row, strict=True):
                device_of[unit] = device
            every.append(load_of(instance, device_of))
    assert load_of(instance, split) == pytest.approx(min(every))


def test_lines_follow_the_flow_of_data(registry: Registry) -> None:
    _, instance = made(tiny_problem(7, operators=8), registry)
    for _, line in zip(range(6), lines(instance, 1), strict=False):
        assert sorted(item for unit in line for item in unit) == list(range(len(instance.bytes)))
        place = {item: at for at, unit in enumerate(line) for item in unit}
        for tail, head, flow in zip(
            instance.arc_tail.tolist(),
            instance.arc_head.tolist(),
            instance.arc_flow.tolist(),
            strict=True,
        ):
            if not instance.goes_back[flow]:
                assert place[tail] <= place[head]


def test_an_even_split_uses_fast_devices_and_only_where_items_may_be(registry: Registry) -> None:
    _, instance = made(tiny_problem(3, operators=8), registry)
    units = next(lines(instance, 0))
    fast = instance.allowed.shape[1] - 1
    assert set(even_split(instance, units).tolist()) <= set(range(fast))
    barred = instance.allowed.copy()
    barred[0] = False
    barred[0, fast] = True
    assert even_split(instance._replace(allowed=barred), units)[0] == fast


def test_partitions_get_better_and_end_at_the_target(registry: Registry) -> None:
    problem = tiny_problem(11, operators=8)
    _, instance = made(problem, registry)
    start = np.zeros(len(instance.bytes), dtype=np.int64)
    target = least_seconds(problem) / problem.tick_s
    until = clock.now() + 60.0
    found = list(partitions(instance, [start], None, 1, until, 0, target=target))
    loads = [load_of(instance, device_of) for device_of in found]
    assert loads == sorted(set(loads), reverse=True)
    assert loads[-1] == pytest.approx(target)
    assert clock.now() < until


def test_a_load_of_nothing_needs_no_search(registry: Registry) -> None:
    problem = chain(3, devices=2, seconds=0.0, size=0)
    _, instance = made(attrs.evolve(problem, objectives=(Rule("steady-state"),)), registry)
    start = np.zeros(len(instance.bytes), dtype=np.int64)
    assert annealed(instance, start, 1.0, 0).load == 0.0


def test_stretches_cut_where_tensors_are_small_and_memory_lets_them(registry: Registry) -> None:
    sizes = (9, 1, 9, 2, 9)
    problem = chain(6, devices=3)
    operators = tuple(
        attrs.evolve(o, parameters=(f"w{i}",)) for i, o in enumerate(problem.graph.operators)
    )
    tensors = tuple(
        attrs.evolve(t, bytes=size) for t, size in zip(problem.graph.tensors, sizes, strict=True)
    )
    parameters = tuple(ParameterGroup(f"w{i}", weight_bytes=10) for i in range(6))
    devices = tuple(attrs.evolve(d, memory_bytes=20) for d in problem.cluster.devices)
    problem = attrs.evolve(
        problem,
        graph=attrs.evolve(
            problem.graph, operators=operators, tensors=tensors, parameters=parameters
        ),
        cluster=attrs.evolve(problem.cluster, devices=devices),
    )
    rule = Rule("memory", {"weights_only": True})
    problem = attrs.evolve(problem, constraints=(Rule("devices"), Rule("links"), rule))
    rules = make_rules(problem, registry)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    (candidate,) = candidates_of_lines(placer, clock.now() + 60.0, 0)
    # Two operators fit on a device; between devices go 1 and 2 bytes, in as many seconds.
    assert candidate.makespan == 6 + 1 + 2
    row = candidate.prepared.placement[0]
    assert [row[i] == row[i + 1] for i in range(5)] == [True, False, True, False, True]
