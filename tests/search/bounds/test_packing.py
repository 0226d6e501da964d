"""Whole blocks on unequal devices: what does not divide, and devices that must start late."""

from __future__ import annotations

import itertools
import random

import attrs
import pytest

from parplan.declarations import Together
from parplan.graph import Graph, Kind, Mode, Operator, ParameterGroup, Repeat, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.plugins.manager import load_registry
from parplan.problem import Problem
from parplan.rules import Declared, Rules, make_rules
from parplan.search.bounds import combinatorial_bounds
from parplan.workload import Workload

REGISTRY = load_registry(installed=False)


def training(
    seconds: list[float],
    kinds: str,
    microbatches: int = 4,
    *,
    latency_s: float = 0.0,
    memory_bytes: int | None = None,
) -> Rules:
    """Blocks of a forward, a backward and an optimizer step that share a device of either kind.

    ``kinds``: one letter per device, f for fast or s for slow (three times the seconds).
    """
    operators: list[Operator] = []
    tensors: list[Tensor] = []
    for b, base in enumerate(seconds):
        mode = Mode(seconds={"f": base, "s": 3 * base})
        operators += [
            Operator(f"F{b}", Kind.FORWARD, parameters=(f"p{b}",), modes=(mode,)),
            Operator(f"B{b}", Kind.BACKWARD, parameters=(f"p{b}",), modes=(mode,)),
            Operator(f"O{b}", Kind.OPTIMIZER, repeat=Repeat.STEP, modes=(mode,)),
        ]
        tensors += [
            Tensor(f"saved{b}", f"F{b}", (f"B{b}",)),
            Tensor(f"gradient{b}", f"B{b}", (f"O{b}",)),
        ]
        if b + 1 < len(seconds):
            tensors.append(Tensor(f"out{b}", f"F{b}", (f"F{b + 1}",)))
            tensors.append(Tensor(f"back{b}", f"B{b + 1}", (f"B{b}",)))
    count = range(len(kinds))
    problem = Problem(
        "training",
        Graph(
            "training",
            tuple(operators),
            tuple(tensors),
            tuple(ParameterGroup(f"p{b}", weight_bytes=10) for b in range(len(seconds))),
        ),
        Cluster(
            "unequal",
            tuple(Device(f"d{i}", kinds[i], memory_bytes=memory_bytes) for i in count),
            tuple(
                Link(f"{i}-{j}", f"d{i}", f"d{j}", bandwidth=1.0, latency_s=latency_s)
                for i in count
                for j in count
                if i != j
            ),
        ),
        Workload(microbatches=microbatches),
        tick_s=1.0,
    )
    rules = make_rules(problem, REGISTRY)
    kept = [Together((f"F{b}", f"B{b}", f"O{b}")) for b in range(len(seconds))]
    return attrs.evolve(rules, declared=(*rules.declared, *(Declared("test", k) for k in kept)))


def bounds_of(rules: Rules) -> dict[str, float]:
    return {b.source: b.value for b in combinatorial_bounds(rules.problem, rules)}


def test_blocks_do_not_divide() -> None:
    # 35 blocks of 9 s on speeds 4 x 1 and 4 x 1/3: 59.06 s if they could be split. Whole: 7 on
    # each fast device, 2 on each slow one. The 7th device to start waits for six blocks.
    found = bounds_of(training([1.0] * 35, "ffffssss"))
    assert found["load of whole groups"] == 60
    assert found["packed blocks"] >= 63


def test_devices_start_one_block_after_the_other() -> None:
    # Four blocks on four equal devices: the last one starts after three forwards.
    found = bounds_of(training([2.0] * 4, "ffff", microbatches=8))
    assert found["packed blocks"] == 3 * 2 + 8 * 4 + 2


def test_a_late_start_counts_the_transfers_on_the_way_in() -> None:
    found = bounds_of(training([2.0] * 4, "ffff", microbatches=8, latency_s=5.0))
    assert found["packed blocks"] >= 5 + 2 + 8 * 4 + 2


def test_blocks_that_do_not_fit_in_memory_go_elsewhere() -> None:
    # 20 bytes hold two blocks: of six blocks two must go to the slow device, 3 * 9 s each.
    found = bounds_of(training([1.0] * 6, "ffs", memory_bytes=20))
    assert found["packed blocks"] >= 2 * 27
    assert bounds_of(training([1.0] * 6, "ffs"))["packed blocks"] < 2 * 27


def greedy_makespan(problem: Problem, device_of: tuple[int, ...]) -> int:
    """Return the makespan of a list schedule: always the task that can start first, B before F."""
    graph = problem.graph
    waiting = set(problem.tasks())
    ends: dict[tuple[int, int], int] = {}
    free = dict.fromkeys(range(len(problem.cluster.devices)), 0)
    latency = int(problem.cluster.links[0].latency_s)

    def ready(o: int, k: int) -> int | None:
        at = free[device_of[o // 3]]
        for t in graph.inputs[o]:
            producer = graph.producers[t]
            for made in problem.read_microbatches(t, k):
                if (producer, made) not in ends:
                    return None
                far = device_of[producer // 3] != device_of[o // 3]
                at = max(at, ends[producer, made] + latency * far)
        return at

    while waiting:
        times = {task: at for task in waiting if (at := ready(*task)) is not None}
        o, k = min(times, key=lambda task: (times[task], -(task[0] % 3), task[1], task[0]))
        choice = problem.alternatives[o][device_of[o // 3]]
        ends[o, k] = free[device_of[o // 3]] = times[o, k] + problem.ticks(o, choice, k)
        waiting.remove((o, k))
    return max(ends.values())


@pytest.mark.parametrize("seed", range(12))
def test_no_bound_is_above_the_best_of_all_placements(seed: int) -> None:
    rng = random.Random(seed)
    count, kinds = rng.randint(2, 5), rng.choice(["ff", "fs", "fff", "ffs", "fss"])
    seconds = [float(rng.choice([1, 1, 2, 3])) for _ in range(count)]
    rules = training(seconds, kinds, rng.randint(1, 4), latency_s=float(rng.randint(0, 3)))
    placements = itertools.product(range(len(kinds)), repeat=count)
    reached = min(greedy_makespan(rules.problem, placed) for placed in placements)
    assert max(bounds_of(rules).values()) <= reached
