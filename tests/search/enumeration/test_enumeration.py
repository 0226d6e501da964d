"""The enumeration finds what brute force finds; kernel and plain Python decide alike."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.search.enumeration.delay_graph import NEVER, DelayGraph
from parplan.search.enumeration.heads import earliest_start, find_heads
from parplan.search.enumeration.kernel import FOUND, LIMIT, STATES, advance, begin
from parplan.search.enumeration.plain import PlainEnumeration
from parplan.search.enumeration.racing import Race
from parplan.search.enumeration.tables import make_tables
from tests.search.enumeration.drawing import delay_graphs, shortest_makespan

LIMIT_OF_DRAWN = 60
"""Longer than any schedule of a drawn graph that has one."""


def one_by_one(graph: DelayGraph, sequence: tuple[tuple[int, int], ...]) -> int:
    """Return the makespan of a sequence; each task as early as it can behind those before it."""
    free = [0] * graph.durations.shape[1]
    placed: dict[int, tuple[int, int]] = {}
    for task, device in sequence:
        start = free[device]
        for e, (before, after) in enumerate(graph.edges.tolist()):
            if after == task:
                source, end = placed[before]
                start = max(start, end + int(graph.delays[e, source, device]))
        free[device] = start + int(graph.durations[task, device])
        placed[task] = device, free[device]
    assert len(placed) == len(graph)
    return max(free)


def fork(*children: tuple[int, int], devices: int = 2) -> DelayGraph:
    """Return a task of 1 tick with children of (duration, delay)."""
    durations = np.array([[1] * devices, *([w] * devices for w, _ in children)], dtype=np.int64)
    edges = np.array([(0, i + 1) for i in range(len(children))], dtype=np.int64)
    apart = 1 - np.eye(devices, dtype=np.int64)
    return DelayGraph(durations, edges, np.array([apart * delay for _, delay in children]))


@settings(max_examples=150, deadline=None)
@given(graph=delay_graphs())
def test_kernel_and_plain_python_find_the_optimum_in_the_same_states(graph: DelayGraph) -> None:
    best = shortest_makespan(graph)
    for way in (graph, graph.reversed()):
        tables = make_tables(way)
        plain = PlainEnumeration(tables, LIMIT_OF_DRAWN)
        plain.run()
        fast = begin(tables, LIMIT_OF_DRAWN, remembered=1 << 12)
        assert advance(tables, fast, 10**6)
        assert bool(fast.counts[FOUND]) == (plain.best is not None) == (best < NEVER)
        assert fast.counts[LIMIT] == plain.limit == min(best - 1, LIMIT_OF_DRAWN)
        assert fast.counts[STATES] == plain.states
        if plain.best is not None:
            assert tuple(map(tuple, fast.best.tolist())) == plain.best
            assert one_by_one(way, plain.best) == best


@settings(max_examples=150, deadline=None)
@given(
    graph=delay_graphs(),
    above=st.integers(0, 12),
    remembered=st.sampled_from([8, 1 << 12]),
    turn=st.sampled_from([1, 2, 5, 1000]),
)
def test_a_race_ends_with_the_optimum_wherever_it_begins(
    graph: DelayGraph, above: int, remembered: int, turn: int
) -> None:
    """Short turns let every runner learn in its midst what another has found."""
    best = shortest_makespan(graph)
    limit = LIMIT_OF_DRAWN if best == NEVER else best - 1 + above
    race = Race.of(graph, limit, remembered)
    assert race.least <= best
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("parplan.search.enumeration.racing.FIRST_TURN", turn)
        patch.setattr("parplan.search.enumeration.racing.LAST_TURN", turn)
        lengths = [one_by_one(graph, sequence) for sequence in race.run(until=math.inf)]
    assert race.is_over
    assert race.least == min(best, limit + 1)
    assert bool(lengths) == (best <= limit)
    assert lengths == sorted(set(lengths), reverse=True)
    assert lengths[-1:] in ([], [best])


def test_a_lowered_limit_keeps_no_longer_schedule() -> None:
    """The long task is placed when the limit is lowered below its end."""
    durations = np.array([[5, 5], [1, 1]], dtype=np.int64)
    none = np.zeros((0, 2), dtype=np.int64)
    tables = make_tables(DelayGraph(durations, none, np.zeros((0, 2, 2), dtype=np.int64)))
    progress = begin(tables, 9, remembered=8)
    assert not advance(tables, progress, 2)
    assert progress.path[0, 0] == 0
    progress.counts[LIMIT] = 3
    assert advance(tables, progress, 100)
    assert progress.counts[LIMIT] == 3
    assert not progress.counts[FOUND]


def test_what_was_placed_under_a_larger_limit_is_not_remembered_as_hopeless() -> None:
    """After 3 is found, states with what ends at 3 say nothing of a schedule of 2."""
    durations = np.array([[3, 1, 1], [3, 1, NEVER], [1, 1, 1], [1, 1, 1]], dtype=np.int64)
    none = np.zeros((0, 2), dtype=np.int64)
    tables = make_tables(DelayGraph(durations, none, np.zeros((0, 3, 3), dtype=np.int64)))
    for limit in range(2, 7):
        progress = begin(tables, limit, remembered=1 << 12)
        assert advance(tables, progress, 10**6)
        assert progress.counts[LIMIT] == 1


def test_a_race_out_of_time_has_had_its_first_turns_and_keeps_its_bound() -> None:
    graph = fork(*((3 + k % 5, 2 + k % 7) for k in range(30)), devices=5)
    race = Race.of(graph, 10**6, 1 << 12)
    lengths = [one_by_one(graph, sequence) for sequence in race.run(until=-math.inf)]
    assert race.least <= lengths[-1] == race.limit + 1
    assert lengths == sorted(lengths, reverse=True)


@settings(max_examples=60, deadline=None)
@given(graph=delay_graphs())
def test_no_task_starts_before_its_head(graph: DelayGraph) -> None:
    """A graph up to a task cannot end before its head: nothing else delays it."""
    for task, head in enumerate(find_heads(graph).tolist()):
        ancestors = {task}
        for before, after in graph.edges[::-1].tolist():
            if after in ancestors:
                ancestors.add(before)
        kept = sorted(ancestors)
        inside = [e for e, ends in enumerate(graph.edges.tolist()) if set(ends) <= ancestors]
        edges = np.searchsorted(kept, graph.edges[inside]).reshape(-1, 2)
        part = DelayGraph(graph.durations[kept], edges, graph.delays[inside])
        assert shortest_makespan(part) >= head + graph.durations[task].min()


def test_a_start_waits_for_parents_beside_it_or_for_delays() -> None:
    # Beside both: 3 + 3; beside one: 3 + 2; beside none: 3 + 4.
    assert earliest_start([(0, 3, 2), (0, 3, 4)]) == 5
    assert earliest_start([(0, 3, 9), (0, 3, 9)]) == 6
    assert earliest_start([]) == 0


@pytest.mark.parametrize(("devices", "shortest"), [(1, 13), (2, 8), (4, 6)])
def test_a_fork_divides_its_children(devices: int, shortest: int) -> None:
    # On two: 1 and 4 + 2 or so beside the root, to 7 or 8; the rest from 1 + 2. On four: the
    # largest beside the root to 5, each other one after its delay, the longest to 1 + 2 + 3.
    graph = fork((4, 2), (3, 2), (3, 2), (2, 2), devices=devices)
    race = Race.of(graph, 100, 1 << 12)
    list(race.run(until=math.inf))
    assert race.least == shortest


def test_thirty_twins_cost_no_more_than_one_order() -> None:
    tables = make_tables(fork(*([(2, 3)] * 30), devices=1))
    progress = begin(tables, 60, remembered=8)
    assert advance(tables, progress, 100)  # 61 ticks are needed
    assert progress.counts[LIMIT] == 60
    assert progress.counts[STATES] == 1
    progress = begin(tables, 61, remembered=8)
    assert advance(tables, progress, 100)
    assert progress.counts[LIMIT] == 60
    assert progress.counts[STATES] == 32
