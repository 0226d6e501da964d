"""Exact machines: windows as all orders of a machine leave them, and bounds that are optima."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from parplan import clock
from parplan.plugins.manager import load_registry
from parplan.problem import Problem
from parplan.rules import make_rules
from parplan.search.bounds import bounds_for_assignment, machine_bounds
from parplan.search.bounds.destructive import refuted_makespans, states_of_machines
from parplan.search.bounds.instance import compile_instance
from parplan.search.bounds.lanes import find_lanes
from parplan.search.bounds.machine_exact import find_states, kept, tighten
from parplan.search.bounds.paths import find_windows
from parplan.search.bounds.propagation import shrink, visits, widest
from parplan.search.bounds.streams import Machine, Room, Streams, find_streams
from parplan.search.bounds.sure import Sure
from tests.search.bounds.test_memory import UNIT, one_stage_per_device, optimum
from tests.search.pipelines import drawn_times, even_pipeline

REGISTRY = load_registry(installed=False)


def exact(
    problem: Problem, ceiling: int | None = None, most: int = 10**7, *, shaving: bool = False
) -> int:
    """Return the bound of exact machines in ticks."""
    windows = find_windows(compile_instance(problem, make_rules(problem, REGISTRY)))
    streams = find_streams(Sure(windows))
    assert streams is not None
    found = refuted_makespans(streams, 1, ceiling, 10**5, visits(most), shaving=shaving)
    return max(found, default=1)


def one_machine(rng: random.Random) -> Streams:
    """One machine with up to three streams of up to three tasks, and a memory."""
    width = rng.randint(1, 3)
    counts = np.array([rng.randint(1, 3) for _ in range(width)])
    least = int(counts.min())
    room = Room(
        np.array([float(rng.randint(0, 2)) for _ in range(width)]),
        np.zeros(width),
        np.array([float(rng.randint(0, 1)) for _ in range(width)]),
        float(rng.randint(2, 6)),
    )
    before = []
    if width > 1 and counts[0] == counts[1] == least:
        before.append((0, 1))
        room.ended[1] = room.begun[0]
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    ticks = np.array([rng.randint(1, 4) for _ in range(width)])
    none = np.zeros(0, dtype=np.int64)
    nothing = np.zeros(width, dtype=np.int64)
    machine = Machine(np.arange(width), tuple(before), (room,))
    return Streams(counts, ticks, first, nothing, nothing, none, none, none, (machine,))


def all_orders(
    streams: Streams, earliest: list[int], latest: list[int]
) -> list[list[tuple[int, int]]]:
    """Return, for each order of a machine that fits, (earliest, latest) start of each task."""
    (machine,), found = streams.machines, []
    (room,) = machine.rooms

    def extend(order: list[int], done: list[int], held: float) -> None:
        if len(order) == len(earliest):
            found.append(order)
        for i, count in enumerate(streams.counts.tolist()):
            if done[i] == count or any(done[a] <= done[b] for a, b in machine.before if b == i):
                continue
            if held + room.begun[i] + room.running[i] <= room.capacity:
                more = [d + (j == i) for j, d in enumerate(done)]
                extend([*order, i], more, held + room.begun[i] - room.ended[i])

    extend([], [0] * len(streams.counts), 0.0)
    windows = []
    for order in found:
        places = [order[:at].count(i) for at, i in enumerate(order)]
        tasks = [int(streams.first[i]) + k for i, k in zip(order, places, strict=True)]
        ticks = [int(streams.ticks[i]) for i in order]
        low, high, clock = {}, {}, 0
        for x, length in zip(tasks, ticks, strict=True):
            low[x] = max(clock, earliest[x])
            clock = low[x] + length
        clock = 10**6
        for x, length in zip(reversed(tasks), reversed(ticks), strict=True):
            high[x] = clock = min(clock - length, latest[x])
        if all(low[x] <= high[x] for x in tasks):
            windows.append([(low[x], high[x]) for x in range(len(tasks))])
    return windows


def test_windows_are_what_all_orders_of_a_machine_leave() -> None:
    rng, refuted, shrunk = random.Random(5), 0, 0
    for _ in range(400):
        streams = one_machine(rng)
        (machine,) = streams.machines
        total = int(streams.counts.sum())
        earliest = np.array([rng.randint(0, 12) for _ in range(total)])
        latest = earliest + np.array([rng.randint(0, 16) for _ in range(total)])
        expected = all_orders(streams, earliest.tolist(), latest.tolist())
        states = find_states(find_lanes(streams, machine), 10**4)
        if states is None:
            assert not expected
            continue
        low, high = earliest.copy(), latest.copy()
        slack = tighten(states, low, high)
        assert slack.feasible is bool(expected)
        if not expected:
            refuted += 1
            continue
        assert low.tolist() == [min(w[x][0] for w in expected) for x in range(total)]
        assert high.tolist() == [max(w[x][1] for w in expected) for x in range(total)]
        shrunk += slack.tighter
        fewer, again, late = kept(states, slack), earliest.copy(), latest.copy()
        tighten(fewer, again, late)
        assert (again.tolist(), late.tolist()) == (low.tolist(), high.tolist())
    assert refuted > 20
    assert shrunk > 20


@pytest.mark.parametrize(("delay", "value"), [(0.0, 79.0), (0.3, 87.4), (1.0, 115.0)])
def test_one_way_pipelines_meet_the_known_optima(delay: float, value: float) -> None:
    problem = one_stage_per_device([UNIT] * 8, 24, 8, delay=delay)
    assert exact(problem) == round(value * 10)


@pytest.mark.parametrize(
    ("saved", "release", "value"),
    [(6, "B", 2249.7), (8, "W", 2187.2), (8, "half", 2187.2), (6, "half", 2445.2)],
)
def test_measured_times_meet_what_is_known(saved: int, release: str, value: float) -> None:
    # The first three are optimal; 2501.9 is the best known schedule of the last.
    problem = one_stage_per_device([(29.7, 29.4, 19.9)] * 8, 24, saved, delay=0.6, release=release)
    assert exact(problem) == round(value * 10)


def test_a_mirrored_pipeline_meets_its_optimum() -> None:
    assert exact(one_stage_per_device([UNIT] * 8, 20, 9, mirrored=True, delay=1.0)) == 760


def test_a_known_schedule_leads_to_the_same_bound() -> None:
    problem = one_stage_per_device([UNIT] * 4, 12, 4, delay=1.0)
    bound = exact(problem)
    assert exact(problem, ceiling=bound) == bound
    assert exact(problem, ceiling=bound + 17) == bound


def test_with_time_the_bounds_grow_up_to_the_schedule_known() -> None:
    problem = one_stage_per_device([UNIT] * 8, 24, 8, delay=1.0)
    rules = make_rules(problem, REGISTRY)
    found = list(machine_bounds(problem, rules, None, 100.0, 115.0, math.inf))
    assert [b.value for b in found] == sorted(b.value for b in found)
    assert found[-1].value == pytest.approx(115.0)
    assert all(b.claimed and b.scope == "problem" for b in found)
    assert not list(machine_bounds(problem, rules, None, 100.0, 115.0, clock.now()))


def test_bounds_of_an_assignment_say_so() -> None:
    problem = even_pipeline(3, 3, 4, memory=2, delay=1.0)
    rules, assignment = make_rules(problem, REGISTRY), {}
    for o, operator in enumerate(problem.graph.operators):
        stage = int(operator.name[1:])
        assignment[o, 0] = next(
            a for a, choice in enumerate(problem.alternatives[o]) if choice.devices == (stage,)
        )
    fixed = max(b.value for b in bounds_for_assignment(problem, rules, assignment))
    found = list(machine_bounds(problem, rules, assignment, 1.0, None, math.inf))
    assert found[-1].value >= fixed
    assert {b.scope for b in found} == {"assignment"}
    assert not list(machine_bounds(problem, rules, None, 1.0, None, math.inf))


def test_less_effort_never_gives_a_larger_bound() -> None:
    problem = one_stage_per_device([UNIT] * 4, 12, 4, delay=1.0)
    bounds = [exact(problem, most=most) for most in (0, 300, 3_000, 10**6)]
    assert bounds == sorted(bounds)
    assert bounds[0] < bounds[-1]


def test_effort_counts_the_ways_out_of_states() -> None:
    none, nothing = np.zeros(0, dtype=np.int64), np.zeros(10, dtype=np.int64)
    ones = np.ones(10, dtype=np.int64)
    machine = Machine(np.arange(10), (), ())
    streams = Streams(ones, ones, np.arange(10), nothing, nothing, none, none, none, (machine,))
    states = states_of_machines(streams, 10**4)
    told: list[int] = []
    assert shrink(streams, widest(streams, states, 9), told.append) is None
    assert told == [2**10 * 10]


def test_shaving_raises_a_bound() -> None:
    times = [(29.7, 29.4, 19.9)] * 8
    problem = one_stage_per_device(times, 24, 6, delay=0.6, release="half")
    assert exact(problem, ceiling=24_460) == 24_452
    assert exact(problem, ceiling=24_460, shaving=True) > 24_452


@pytest.mark.parametrize("seed", range(24))
def test_no_bound_is_above_the_optimum_of_small_pipelines(seed: int) -> None:
    rng = random.Random(seed)
    mirrored = rng.random() < 0.5
    times = drawn_times(rng, rng.randint(1, 3))
    problem = one_stage_per_device(
        times,
        rng.choice([2, 4]),
        rng.randint(1, 3),
        mirrored=mirrored,
        delay=float(rng.randint(0, 3)),
        release=rng.choice(["W", "B", "half"]),
        tick_s=1.0,
    )
    best = optimum(problem)
    assert exact(problem, shaving=True) <= best
    assert exact(problem, ceiling=best, shaving=True) <= best
