"""Bounds of the makespan: exact on known cases, never above what a schedule reaches."""

from __future__ import annotations

import math
import random
import time

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.errors import InfeasibleError
from parplan.graph import Graph, Kind, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.plugins.manager import load_registry
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import Rules, make_rules
from parplan.search.bounds import bounds_for_assignment, combinatorial_bounds
from parplan.search.bounds.one_machine import preemptive_bound
from parplan.workload import Workload
from tests.exhaustive import TooLargeError, shortest_schedule
from tests.search.pipelines import even_pipeline
from tests.strategies import problems

REGISTRY = load_registry(installed=False)


def rules_of(problem: Problem) -> Rules:
    return make_rules(problem, REGISTRY)


def best(problem: Problem) -> float:
    return combinatorial_bounds(problem, rules_of(problem))[0].value


def mesh(count: int, latency_s: float = 0.0, memory_bytes: int | None = None) -> Cluster:
    """Equal devices d0, d1, ... with a link from each to each that only has latency."""
    devices = tuple(Device(f"d{i}", memory_bytes=memory_bytes) for i in range(count))
    links = tuple(
        Link(f"d{i}-d{j}", f"d{i}", f"d{j}", bandwidth=math.inf, latency_s=latency_s)
        for i in range(count)
        for j in range(count)
        if i != j
    )
    return Cluster("mesh", devices, links)


def pipeline(
    stages: int,
    microbatches: int,
    *,
    mirrored: bool = True,
    delay: float = 0.0,
    saved: int | None = None,
    tick_s: float = 0.1,
) -> Problem:
    """Unit F, B and W per stage; mirrored: two chains, device d hosts stage d and p - 1 - d.

    ``saved`` is how many activations (F to the end of W) a device holds at once.
    """
    operators: list[Operator] = []
    tensors: list[Tensor] = []
    chains = 2 if mirrored else 1
    for c in range(chains):
        for s in range(stages):
            name, group = f"{c}.{s}", ((f"d{s if c == 0 else stages - 1 - s}",),)
            mode = Mode(seconds={"*": 1.0}, groups=group)
            operators += [
                Operator(f"F{name}", Kind.FORWARD, modes=(mode,)),
                Operator(f"B{name}", Kind.BACKWARD_INPUT, modes=(mode,)),
                Operator(f"W{name}", Kind.BACKWARD_WEIGHT, modes=(mode,)),
            ]
            tensors.append(Tensor(f"saved{name}", f"F{name}", (f"B{name}", f"W{name}"), 1))
            tensors.append(Tensor(f"grad{name}", f"B{name}", (f"W{name}",)))
            if s + 1 < stages:
                tensors.append(Tensor(f"out{name}", f"F{name}", (f"F{c}.{s + 1}",)))
                tensors.append(Tensor(f"back{name}", f"B{c}.{s + 1}", (f"B{name}",)))
    return Problem(
        "pipeline",
        Graph("pipeline", tuple(operators), tuple(tensors)),
        mesh(stages, delay, saved),
        Workload(microbatches=microbatches // chains),
        tick_s=tick_s,
    )


@pytest.mark.parametrize(("stages", "microbatches"), [(4, 10), (8, 20), (16, 40)])
def test_mirrored_pipeline_meets_the_known_optimum(stages: int, microbatches: int) -> None:
    # 3 m + p/2 - 1: the middle devices cannot start before p/2 - 1.
    assert best(pipeline(stages, microbatches)) == 3 * microbatches + stages / 2 - 1


@pytest.mark.parametrize(("delay", "value"), [(0.0, 79.0), (0.3, 81.1), (1.0, 86.0)])
def test_one_way_pipeline_counts_the_delay_in_and_out(delay: float, value: float) -> None:
    assert best(pipeline(8, 24, mirrored=False, delay=delay)) == pytest.approx(value)


def test_preemptive_bound_is_the_best_subset() -> None:
    rng = random.Random(7)
    for _ in range(200):
        tasks = [(rng.randint(0, 9), rng.randint(1, 5), rng.randint(0, 9)) for _ in range(6)]
        heads, work, tails = zip(*tasks, strict=True)
        expected = 0
        for r in heads:
            for q in tails:
                inside = [t for t in tasks if t[0] >= r and t[2] >= q]
                if inside:
                    load = sum(t[1] for t in inside)
                    low = min(t[0] for t in inside), min(t[2] for t in inside)
                    expected = max(expected, low[0] + load + low[1])
        assert preemptive_bound(heads, work, tails) == expected


def free(
    durations: list[dict[str, float]],
    edges: list[tuple[int, int, int]],
    microbatches: int = 1,
    latency_s: float = 0.0,
) -> Problem:
    """Operators that may run on any of two fast and one slow device; edges (from, to, bytes)."""
    operators = tuple(Operator(f"o{i}", modes=(Mode(seconds=d),)) for i, d in enumerate(durations))
    tensors = tuple(Tensor(f"t{i}-{j}", f"o{i}", (f"o{j}",), size) for i, j, size in edges)
    devices = (Device("a", "fast"), Device("b", "fast"), Device("c", "slow"))
    links = tuple(
        Link(f"{x.name}{y.name}", x.name, y.name, bandwidth=1.0, latency_s=latency_s)
        for x in devices
        for y in devices
        if x is not y
    )
    return Problem(
        "free",
        Graph("free", operators, tensors),
        Cluster("three", devices, links),
        Workload(microbatches=microbatches),
        tick_s=1.0,
    )


def test_load_is_divided_by_the_speed_of_unequal_devices() -> None:
    # Speeds 1, 1 and 1/2: 50 seconds of work on a fast device need 20 on all three.
    problem = free([{"fast": 1.0, "slow": 2.0}] * 50, [])
    assert best(problem) == 20.0


def test_a_transfer_is_counted_only_where_it_pays() -> None:
    apart = free([{"fast": 9.0}, {"slow": 9.0}], [(0, 1, 5)], latency_s=2.0)
    assert best(apart) == 9 + 5 + 2 + 9
    together = free([{"fast": 9.0}, {"fast": 9.0, "slow": 1.0}], [(0, 1, 5)], latency_s=2.0)
    assert best(together) == 9 + 5 + 2 + 1


@st.composite
def random_problems(draw: st.DrawFn) -> Problem:
    count = draw(st.integers(1, 6))
    number = st.integers(0, 5).map(float)
    durations = [
        draw(st.sampled_from([{"fast": f, "slow": s}, {"fast": f}, {"slow": s}]))
        for f, s in draw(st.lists(st.tuples(number, number), min_size=count, max_size=count))
    ]
    pairs = [(i, j) for j in range(count) for i in range(j)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    edges = [(i, j, draw(st.integers(0, 4))) for i, j in chosen]
    return free(durations, edges, draw(st.integers(1, 3)), draw(st.integers(0, 2)))


def serial_makespan(problem: Problem, choice: list[int]) -> int:
    """Return the makespan of a greedy schedule: tasks in order, links never shared in time."""
    ends: dict[tuple[int, int], int] = {}
    free_at = dict.fromkeys(range(3), 0)
    link_at: dict[int, int] = {}
    arrived: dict[tuple[int, int, int], int] = {}
    for o, k in sorted(problem.tasks(), key=lambda task: task[1]):
        chosen = problem.alternatives[o][choice[o]]
        device = chosen.devices[0]
        ready = free_at[device]
        for t in problem.graph.inputs[o]:
            producer = problem.graph.producers[t]
            source = problem.alternatives[producer][choice[producer]].devices[0]
            at = ends[producer, k]
            if source != device:
                key = (t, k, device)
                if key not in arrived:
                    size = problem.tensor_bytes(t, 0, k)
                    assert size is not None
                    timing = problem.transfer_timing(size, source, device)
                    assert timing is not None
                    link = timing.holds[0].link
                    start = max(at, link_at.get(link, 0))
                    link_at[link] = start + timing.occupied
                    arrived[key] = start + timing.arrival
                at = arrived[key]
            ready = max(ready, at)
        ends[o, k] = free_at[device] = ready + problem.ticks(o, chosen, k)
    return max(ends.values())


@given(random_problems(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_no_bound_is_above_a_schedule(problem: Problem, rng: random.Random) -> None:
    rules = rules_of(problem)
    bounds = combinatorial_bounds(problem, rules)
    for _ in range(8):
        choice = [rng.randrange(len(a)) for a in problem.alternatives]
        reached = serial_makespan(problem, choice)
        assert all(bound.value <= reached for bound in bounds)
        fixed = {(o, 0): a for o, a in enumerate(choice)}
        assigned = bounds_for_assignment(problem, rules, fixed)
        assert all(bound.value <= reached for bound in assigned)
        assert not bounds or assigned[0].value >= bounds[0].value
        assert all(bound.scope == "assignment" for bound in assigned)


@given(random_problems(), st.integers(0, 5))
@settings(max_examples=60, deadline=None, derandomize=True)  # prices may be blunter by chance
def test_longer_durations_never_lower_the_bound(problem: Problem, which: int) -> None:
    durations = [dict(o.modes[0].seconds) for o in problem.graph.operators]
    edges = [
        (problem.graph.producers[t], problem.graph.consumers[t][0], tensor.bytes)
        for t, tensor in enumerate(problem.graph.tensors)
    ]
    latency = problem.cluster.links[0].latency_s
    before = combinatorial_bounds(problem, rules_of(problem))
    one = durations[which % len(durations)]
    one.update({kind: seconds + 1 for kind, seconds in one.items()})
    after = best(free(durations, edges, problem.workload.microbatches, latency))
    assert not before or after >= before[0].value


def test_bounds_are_the_same_again() -> None:
    problem = pipeline(4, 8, delay=0.3, saved=5)
    assert combinatorial_bounds(problem, rules_of(problem)) == combinatorial_bounds(
        problem, rules_of(problem)
    )


def test_pieces_without_a_route_are_infeasible() -> None:
    operators = (
        Operator("first", modes=(Mode(seconds={"*": 1.0}, groups=(("d0",),)),)),
        Operator("second", modes=(Mode(seconds={"*": 1.0}, groups=(("d1",),)),)),
    )
    graph = Graph("pair", operators, (Tensor("t", "first", ("second",)),))
    cluster = Cluster("apart", (Device("d0"), Device("d1")))
    problem = Problem("pair", graph, cluster, Workload())
    with pytest.raises(InfeasibleError, match="second"):
        combinatorial_bounds(problem, rules_of(problem))


@pytest.mark.slow
def test_ten_times_the_operators_cost_little_more_than_ten_times_as_much() -> None:
    def seconds(count: int) -> float:
        rng = random.Random(3)
        durations = [
            {"fast": float(rng.randint(1, 99)), "slow": float(rng.randint(1, 300))}
            for _ in range(count)
        ]
        edges = {(max(0, j - rng.randint(1, 6)), j, 8) for j in range(1, count) for _ in "ab"}
        problem = free(durations, sorted(edges), 16)
        rules = rules_of(problem)
        begun = time.process_time()
        assert combinatorial_bounds(problem, rules)[0].value > 0
        return time.process_time() - begun

    seconds(100)  # compiles
    assert seconds(20_000) < 40 * max(seconds(2_000), 0.05)  # squares would be a hundred times


@pytest.mark.slow
@given(problems(max_operators=3, max_microbatches=2))
@settings(max_examples=100)
def test_no_bound_is_above_the_shortest_schedule_of_drawn_problems(problem: Problem) -> None:
    """Gangs, modes, memory, groups, scales, releases: held to trying everything."""
    try:
        best_known = shortest_schedule(problem, max_nodes=4_000)
    except TooLargeError:
        best_known = None
    try:
        bounds = combinatorial_bounds(problem, rules_of(problem))
    except InfeasibleError:
        assert best_known is None
        return
    if best_known is not None:
        for bound in bounds:
            assert bound.value <= best_known.makespan * problem.tick_s, bound
        tasks = best_known.tasks
        rows = zip(tasks.operator, tasks.microbatch, tasks.alternative, strict=True)
        fixed = {(int(o), problem.workload.group(int(k))): int(a) for o, k, a in rows}
        for bound in bounds_for_assignment(problem, rules_of(problem), fixed):
            assert bound.value <= best_known.makespan * problem.tick_s, bound


def test_fine_ticks_lose_nothing_of_a_bound_on_whole_numbers() -> None:
    # Three microbatches of 2 s in a row, in ticks of a picosecond: exactly the makespan.
    fine = attrs.evolve(free([{"fast": 2.0}, {"slow": 7.0}], [], 3), tick_s=1e-12)
    assert best(fine) == 21_000_000_000_000 * 1e-12


def test_a_bound_that_is_enough_ends_the_computation(registry: Registry) -> None:
    """What is asked for is reached with fewer bounds, each as it is among all of them."""
    problem = even_pipeline(4, 4, 8)
    rules = make_rules(problem, registry)
    every = combinatorial_bounds(problem, rules)
    for asked in every:
        found = combinatorial_bounds(problem, rules, asked.value)
        assert found[0].value >= asked.value
        assert set(found) <= set(every)
    assert len(combinatorial_bounds(problem, rules, every[-1].value)) < len(every)
