"""Loads kept up to date move by move are those counted by hand, and so is contiguity."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.partitioning.annealing import load_of
from parplan.search.partitioning.instance import Instance, make_instance
from parplan.search.partitioning.kernel import busiest, is_contiguous, make_state, move
from parplan.search.placing.blocks import Blocks, find_blocks
from parplan.search.placing.placement import Placer
from tests.search.partitioning.tiny import Homes, is_row, seconds_per_sample, tiny_problem


def made(problem: Problem, registry: Registry) -> tuple[Blocks, Instance]:
    rules = make_rules(problem, registry)
    blocks = find_blocks(problem, rules)
    loading = rules.objectives[0].loading()
    assert loading is not None
    instance = make_instance(Placer(problem, rules, blocks), loading)
    assert instance is not None
    return blocks, instance


def homes_of(problem: Problem, blocks: Blocks, device_of: np.ndarray) -> Homes:
    return {
        operator.name: problem.cluster.devices[device_of[blocks.block_of[o]]].name
        for o, operator in enumerate(problem.graph.operators)
    }


@given(seed=st.integers(0, 10**6), once=st.booleans())
def test_moves_keep_loads_and_contiguity(registry: Registry, seed: int, once: bool) -> None:
    problem = tiny_problem(seed, leaves_once=once, contiguous=True)
    blocks, instance = made(problem, registry)
    items, devices = instance.allowed.shape
    dice = random.Random(seed)
    state = make_state(instance, np.zeros(items, dtype=np.int64))
    for _ in range(8):
        move(instance, state, dice.randrange(items), dice.randrange(devices))
        homes = homes_of(problem, blocks, state.device_of)
        seconds = seconds_per_sample(problem, homes)
        assert state.load[busiest(state)] * problem.tick_s == pytest.approx(seconds)
        assert is_contiguous(state) == is_row(problem, homes)
        expected = seconds / problem.tick_s if is_row(problem, homes) else np.inf
        assert load_of(instance, state.device_of) == pytest.approx(expected)


def test_memory_and_missing_routes_make_a_partition_impossible(registry: Registry) -> None:
    _, instance = made(tiny_problem(1), registry)
    everything = np.zeros(len(instance.bytes), dtype=np.int64)
    assert np.isfinite(load_of(instance, everything))
    tight = instance._replace(room=np.full_like(instance.room, instance.bytes.sum() - 1))
    assert load_of(tight, everything) == np.inf
    apart = everything.copy()
    apart[int(instance.makers[0])] = 1
    assert np.isfinite(load_of(instance, apart))
    assert load_of(instance._replace(rate=np.full_like(instance.rate, np.inf)), apart) == np.inf
