"""Orders of forward and backward passes fit whatever room there is, and lose little by it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.checking import check_schedule
from parplan.pipelines.pipeline import Order, Pass, PassKind, mirrored
from parplan.plugins.manager import load_registry
from parplan.plugins.strategies.dualpipe import DualPipe
from parplan.rules import make_rules
from parplan.search.hand_made.turns import memory_shares, schedule_by_turns, within_room
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import (
    Finisher,
    pass_tasks,
    prepare,
    recipe_orders,
    schedule_by_orders,
)
from parplan.search.placing.placement import Placer
from tests.search.pipelines import even_pipeline

REGISTRY = load_registry(installed=False)


def _order(letters: str) -> list[Pass]:
    """Return passes of one stage, each kind's microbatches in turn."""
    return [
        Pass(PassKind[letter], 0, letters[:i].count(letter)) for i, letter in enumerate(letters)
    ]


def _letters(order: Order) -> str:
    return "".join(one.kind.name for one in order if isinstance(one, Pass))


@pytest.mark.parametrize(
    ("given_", "room", "expected"),
    [
        ("FFFBWFBWBWBW", 3, "FFFBFBBB"),
        ("FFFBWFBWBWBW", 2, "FFBFBFBB"),
        ("FFFBWFBWBWBW", 1, "FBFBFBFB"),
        ("FFBWFFBWBWBW", 2, "FFBFBFBB"),  # the fourth is late only until there is room again
    ],
)
def test_forwards_wait_until_they_fit(given_: str, room: int, expected: str) -> None:
    shares = {(0, k): 1 / room for k in range(4)}
    assert _letters(within_room(_order(given_), shares)) == expected


@settings(max_examples=100, deadline=None)
@given(
    shares=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    ahead=st.integers(1, 12),
    room=st.integers(4, 12),
)
def test_what_is_held_never_exceeds_the_room(shares: list[int], ahead: int, room: int) -> None:
    count = len(shares)
    letters = "F" * min(ahead, count)
    letters += "BF" * (count - len(letters)) + "B" * min(ahead, count)
    found = within_room(_order(letters), {(0, k): x / room for k, x in enumerate(shares)})
    held, most = 0, 0
    for one in found:
        held += shares[one.microbatch] * (1 if one.kind is PassKind.F else -1)
        most = max(most, held)
    assert most <= room
    assert sorted(found, key=str) == sorted(_order(letters), key=str)
    for kind in (PassKind.F, PassKind.B):
        assert [one.microbatch for one in found if one.kind is kind] == list(range(count))


def _makespan(microbatches: int, memory: int) -> int:
    """Return what DualPipe's turns take on eight devices, with transfers that take a while."""
    groups = tuple(k % 2 for k in range(microbatches))
    problem = even_pipeline(
        8, 8, microbatches, (30.0, 29.0, 20.0), memory=memory, delay=1.0, groups=groups
    )
    rules = make_rules(problem, REGISTRY)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    there = tuple(range(8))
    prepared = prepare(placer, (there, there[::-1]))
    half = microbatches // 2
    shape = mirrored(8, [0] * half + [1] * half)
    numbering = [*range(0, microbatches, 2), *range(1, microbatches, 2)]
    orders = recipe_orders(prepared, DualPipe(), shape, numbering)
    assert (schedule_by_orders(prepared, orders, fused=False) is None) == (memory < 9)
    found = schedule_by_turns(prepared, orders)
    assert found is not None
    schedule = Finisher(placer).finish(found)
    assert check_schedule(schedule, rules) == ()
    return schedule.makespan


@pytest.mark.parametrize("memory", [8, 9])
def test_turns_fit_where_the_recipe_does_not_and_repeat(memory: int) -> None:
    """Further microbatches take what their work takes: nothing waits where a schedule repeats."""
    first = _makespan(24, memory)
    assert _makespan(64, memory) == first + 40 * (30 + 29 + 20)
    # The devices in the middle start after three stages, and cannot end before their work.
    assert first < 1.05 * (3 * (30 + 1) + 24 * (30 + 29 + 20))


def test_shares_are_of_what_is_held_beyond_the_end() -> None:
    problem = even_pipeline(2, 2, 6, memory=4)
    rules = make_rules(problem, REGISTRY)
    prepared = prepare(Placer(problem, rules, find_blocks(problem, rules)), ((0, 1),))
    shares = memory_shares(prepared.scheduler.tables)
    for (_, kind), rows in pass_tasks(prepared).items():
        expected = 0.25 if kind is PassKind.F else 0.0
        assert shares[[task for of in rows for task in of]] == pytest.approx(expected)
