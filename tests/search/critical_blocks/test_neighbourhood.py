"""Moves of critical blocks: as the plain twin lists and judges them, and never into a cycle."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.search.critical_blocks.neighbourhood import (
    UNSAFE,
    has_blocks,
    judge_moves,
    list_moves,
    measure_block,
    skeleton_of,
)
from parplan.search.critical_blocks.neighbourhood import find_blocks as find_critical_blocks
from parplan.search.critical_blocks.plain import after_move, block_moves, promise
from parplan.search.critical_blocks.relinking import random_order
from parplan.search.critical_blocks.tabu import TabuSearch
from parplan.search.critical_blocks.tabu_kernel import (
    begin,
    choose,
    is_tabu,
    make_memory,
    make_move,
    remember,
)
from parplan.search.sequences.longest_path import earliest_starts, makespan_of, paths_to_end
from parplan.search.sequences.machines import SequenceView
from parplan.search.sequences.moves import machine_at, make_dice, make_edits
from parplan.search.sequences.ripples import make_ripples
from tests.search.critical_blocks.shops import graph_view_of, random_jobs, view_of


@settings(max_examples=25, deadline=None)
@given(jobs=st.integers(2, 7), machines=st.integers(2, 5), seed=st.integers(0, 10**6))
def test_moves_are_those_of_the_twin_and_keep_orders_free_of_cycles(
    jobs: int, machines: int, seed: int
) -> None:
    check_moves(view_of(random_jobs(jobs, machines, seed)), seed)


@settings(max_examples=25, deadline=None)
@given(count=st.integers(3, 14), seed=st.integers(0, 10**6))
def test_moves_of_graphs_with_transfers_are_those_of_the_twin(count: int, seed: int) -> None:
    check_moves(graph_view_of(count, seed), seed)


def check_moves(view: SequenceView, seed: int) -> None:
    """Hold the moves of a random order of a view against the plain twin, and against cycles."""
    m, t = view.machines, make_memory(view.machines)
    v = skeleton_of(m)
    assert has_blocks(m)
    r = make_ripples(m)
    start = TabuSearch(view).timed(random_order(view, random.Random(seed)))
    order, starts, rest = start.order, start.starts, paths_to_end(m, start.order)
    assert begin(v, r, t, order.copy(), starts) == start.makespan
    assert t.rest.tolist() == rest.tolist()
    blocks = find_critical_blocks(v, order, t.place, starts, rest, make_dice(seed), t.low, t.high)
    for low, high in zip(t.low[:blocks].tolist(), t.high[:blocks].tolist(), strict=True):
        line = order[low : high + 1]
        ends = starts[line] + m.durations[line]
        assert starts[line[1:]].tolist() == ends[:-1].tolist()
        assert (starts[line] + rest[line] == start.makespan).all()
        count = list_moves(v, order, starts, rest, low, high, t.at, t.to)
        moves = list(zip(t.at[:count].tolist(), t.to[:count].tolist(), strict=True))
        wanted = block_moves(m, order, starts, rest, low, high)
        assert {_swapped(move) for move in moves} == {_swapped(move) for move in wanted}
        q = machine_at(v, low)
        measure_block(
            v, r.into_first, r.into, r.into_delay, t.least, q, order, t.place, starts, rest,
            low, high, t.around,
        )  # fmt: skip
        judge_moves(
            v, t.around, t.least, q, order, starts, rest, t.at, t.to, count, t.heads, t.promise
        )
        for (at, to), estimate in zip(moves, t.promise[:count].tolist(), strict=True):
            begun = earliest_starts(m, after_move(order, at, to))
            if estimate == UNSAFE:
                # Two neighbours on a critical path can swap unless they are tied elsewhere, too.
                assert begun is None or abs(at - to) > 1
                continue
            assert begun is not None
            assert estimate == promise(m, order, starts, rest, at, to)
            if abs(at - to) == 1:
                assert estimate <= makespan_of(m, begun)


def _swapped(move: tuple[int, int]) -> tuple[int, int]:
    """Two neighbours that change places are one move, whichever is said to go."""
    at, to = move
    return (min(move), max(move)) if abs(at - to) == 1 else (at, to)


def test_what_takes_no_time_or_shares_memory_has_no_blocks() -> None:
    m = view_of(random_jobs(3, 2, 1)).machines
    assert has_blocks(m)
    durations = m.durations.copy()
    durations[0] = 0
    assert not has_blocks(m._replace(durations=durations))
    assert not has_blocks(m._replace(levels=np.zeros(1)))
    assert not has_blocks(m._replace(arc_delay=np.zeros_like(m.arc_delay)))


@settings(max_examples=25, deadline=None)
@given(jobs=st.integers(3, 7), machines=st.integers(2, 5), seed=st.integers(0, 10**6))
def test_a_step_takes_the_best_move_that_is_not_tabu(jobs: int, machines: int, seed: int) -> None:
    view = view_of(random_jobs(jobs, machines, seed))
    m, chance = view.machines, random.Random(seed)
    t, r, v = make_memory(m), make_ripples(m), skeleton_of(m)
    start = TabuSearch(view).timed(random_order(view, chance))
    order = start.order.copy()
    begin(v, r, t, order, start.starts)
    dice = make_dice(seed)
    for _ in range(3):  # some moves that must not be undone
        at, to = choose(v, r, t, order, dice, start.makespan)
        if at < 0:
            return
        t.step[0] += 1
        remember(t, order, at, to, dice)
        undone = after_move(order, at, to)
        assert is_tabu(t.until, t.step[0], undone, to, at)
        assert make_move(v, r, make_edits(m), t, order, at, to) >= 0
        assert order.tolist() == undone.tolist()
    starts, rest = t.starts.copy(), t.rest.copy()
    least = chance.choice([0, start.makespan])
    same = dice.copy()
    blocks = find_critical_blocks(v, order, t.place, starts, rest, same, t.low, t.high)
    promises = {
        (at, to): promise(m, order, starts, rest, at, to)
        for low, high in zip(t.low[:blocks].tolist(), t.high[:blocks].tolist(), strict=True)
        for at, to in block_moves(m, order, starts, rest, low, high)
        if earliest_starts(m, after_move(order, at, to)) is not None
    }
    free = {
        move: value
        for move, value in promises.items()
        if value < least or not is_tabu(t.until, t.step[0], order, *move)
    }
    at, to = choose(v, r, t, order, dice, least)
    move = (int(at), int(to))
    if move in free:  # else all that is free may lead to a cycle, as far as figures show
        assert free[move] >= min(free.values())
        if max(abs(one - two) for one, two in promises) == 1:
            assert free[move] == min(free.values())
