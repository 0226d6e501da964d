"""No more is saved than has to be, and where nothing fits without, the least that does is found."""

from __future__ import annotations

import random

import pytest

from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.improving.heuristics import best_in_any_way
from parplan.search.improving.improvement import rule_portfolio
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.economy import economies, least_savings, near_ways
from parplan.search.placing.placement import Placement, Placer
from parplan.search.placing.ways import Ways
from tests.examples import recomputing
from tests.search.pipelines import even_pipeline

LAYERS, DEVICES = 8, 2
PLACEMENT: Placement = (tuple(layer * DEVICES // LAYERS for layer in range(LAYERS)),)


def layered(memory: int | None, registry: Registry) -> Placer:
    """Layers that keep one byte of each of eight microbatches, or compute it again."""
    problem: Problem = recomputing(even_pipeline(LAYERS, DEVICES, 8, memory=memory))
    rules = make_rules(problem, registry)
    return Placer(problem, rules, find_blocks(problem, rules))


def saved_on(ways: Ways) -> list[int]:
    """How many layers of each device are computed again."""
    own = [[bool(way) for way in ways[d * 4 : d * 4 + 4]] for d in range(DEVICES)]
    return [sum(row) for row in own] if ways else [0, 0]


def test_nothing_is_saved_where_memory_is_ample(registry: Registry) -> None:
    found = [saved_on(ways) for ways in economies(layered(None, registry), PLACEMENT)]
    assert found == [[0, 0], [4, 3]]  # the last layer feeds no forward pass that would keep it


def test_economies_save_more_and_more(registry: Registry) -> None:
    found = [sum(saved_on(w)) for w in economies(layered(12, registry), PLACEMENT)]
    assert found[0] == 0
    assert found == sorted(set(found))
    assert len(found) > 2


@pytest.mark.parametrize("needed", [(0, 0), (1, 0), (0, 3), (3, 2), (4, 3)])
def test_the_least_savings_are_found_on_each_device(
    needed: tuple[int, int], registry: Registry
) -> None:
    attempts: list[Ways] = []

    def attempt(ways: Ways) -> Ways | None:
        attempts.append(ways)
        fits = all(has >= least for has, least in zip(saved_on(ways), needed, strict=True))
        return ways if fits else None

    found = least_savings(layered(None, registry), PLACEMENT, attempt)
    assert found is not None
    assert saved_on(found) == list(needed)
    assert len(attempts) < 12


def test_savings_that_do_not_suffice_are_no_answer(registry: Registry) -> None:
    assert least_savings(layered(None, registry), PLACEMENT, lambda _: None) is None


def test_a_step_changes_one_device(registry: Registry) -> None:
    placer, random_ = layered(12, registry), random.Random(0)
    ways: Ways = ()
    seen = set()
    for _ in range(200):
        found = near_ways(placer, PLACEMENT, ways, random_)
        if found is not None:
            before = ways or (0,) * len(found)
            hosts = {n // 4 for n, way in enumerate(found) if way != before[n]}
            assert len(hosts) <= 1
            ways = found
            seen.add(tuple(saved_on(ways)))
    assert {(0, 0), (4, 3)} <= seen


def test_few_layers_are_computed_again_where_memory_lacks_a_little(registry: Registry) -> None:
    placer = layered(7, registry)
    found = best_in_any_way(placer, PLACEMENT, rule_portfolio())
    assert found is not None
    *_, all_saved = economies(placer, PLACEMENT)
    assert 0 < sum(saved_on(found.prepared.ways)) < sum(saved_on(all_saved))


def mirrored(memory: int, registry: Registry) -> tuple[Placer, Placement]:
    """Four layers on four devices, there and back, with eight microbatches each way."""
    turns = tuple(k % 2 for k in range(16))
    problem = recomputing(even_pipeline(4, 4, 16, memory=memory, groups=turns))
    rules = make_rules(problem, registry)
    return Placer(problem, rules, find_blocks(problem, rules)), ((0, 1, 2, 3), (3, 2, 1, 0))


@pytest.mark.parametrize(
    ("memory", "expected"), [(6, [(), (1, 1, 1)]), (5, [(), (1, 0, 0), (1, 1, 1)])]
)
def test_both_ways_of_a_mirrored_placement_count(
    memory: int, expected: list[Ways], registry: Registry
) -> None:
    """Unhindered, layer l has (4 - l) / 2 under way each way, at least one: at most twice that is
    4 of layer 0 and 2 of layer 3 on an outer device, 3 of layer 1 and 2 of layer 2 on an inner one.

    One way by itself would keep 8 of layer 0 on the first device, and 2 of layer 3 on the last.
    """
    assert list(economies(*mirrored(memory, registry))) == expected
