"""Warm-up of blocks: known figures, all ways to divide blocks, optima of small free pipelines."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from ortools.sat.python import cp_model

from parplan.api import prepare
from parplan.search.bounds import combinatorial_bounds
from parplan.search.bounds.block_warm_up import AlikeBlocks, least_makespan
from parplan.spec.sections import parse_spec

Times = Sequence[tuple[int, int, int]]
"""Ticks of the forward pass, the backward pass and the pass for the weights of each stage."""


def bounds_of(
    times: Times, devices: int, microbatches: int, memory: int, *, delay: int = 0, early: float = 0
) -> dict[str, float]:
    """Return the bounds of two directions whose stages may be on any device, in ticks of 1 s.

    A saved activation takes two bytes, ``early`` of it until the backward pass; the weights of a
    stage take two bytes.
    """
    forward, backward, weight = (list(column) for column in zip(*times, strict=True))
    spec = {
        "name": "free",
        "model": {
            "kind": "stages",
            "options": {
                "forward_s": forward,
                "backward_s": backward,
                "weight_s": weight,
                "activation_bytes": 2,
                "released_at_backward": early,
                "parameter_bytes": 2,
            },
        },
        "cluster": {
            "devices": [{"name": "d{}", "count": devices, "node": "a", "memory_bytes": memory}],
            "intra": {"bandwidth": 1e9, "latency_s": delay},
        },
        "workload": {"microbatches": microbatches, "groups": 2},
        "tick_s": 1,
    }
    ready = prepare(parse_spec(json.dumps(spec)))
    return {b.source: b.value for b in combinatorial_bounds(ready.problem, ready.rules)}


@pytest.mark.parametrize(("saved", "value"), [(8, 63), (7, 64), (6, 65), (5, 66)])
def test_less_memory_delays_the_devices_that_begin_with_early_stages(
    saved: int, value: int
) -> None:
    # 63, 64 and 65 are met by schedules.
    found = bounds_of([(1, 1, 1)] * 8, 8, 20, 2 * (saved + 2))
    assert max(found, key=found.__getitem__) in {"warm-up of blocks", "packed blocks"}
    assert found["warm-up of blocks"] == value


def makespan(blocks: AlikeBlocks, stages: tuple[int, ...], places: tuple[int, ...]) -> float:
    """Return the least makespan that one way to divide blocks leaves open; infinite if it cannot.

    ``stages`` tells which blocks are copies of each other.
    """
    worst = 0.0
    for device in range(blocks.devices):
        mine = [i for i, place in enumerate(places) if place == device]
        left = blocks.room - blocks.parameters * len({stages[i] for i in mine})
        if left < 0:
            return math.inf
        if mine:
            load = len(mine) * blocks.load
            ahead = math.floor(left / blocks.saved) * blocks.opening
            wait = min(blocks.waits[i] for i in mine)
            worst = max(worst, blocks.last + load + max(0.0, wait - ahead))
    return worst


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_no_way_to_divide_blocks_is_refuted(copies: int) -> None:
    rng = random.Random(copies)
    met = 0
    for _ in range(25):
        waits = sorted(rng.randint(0, 30) for _ in range(rng.randint(1, 6 // copies)))
        stages = tuple(i for i in range(len(waits)) for _ in range(copies))
        blocks = AlikeBlocks(
            np.array([float(waits[i]) for i in stages]),
            load=float(rng.randint(3, 20)),
            opening=float(rng.randint(1, 4)),
            saved=float(rng.randint(1, 3)),
            parameters=float(rng.randint(0, 3)),
            copies=copies,
            devices=rng.randint(1, 3),
            room=float(rng.randint(3, 14)),
            last=float(rng.randint(0, 3)),
        )
        ways = itertools.product(range(blocks.devices), repeat=len(stages))
        best = min(makespan(blocks, stages, places) for places in ways)
        found = least_makespan(blocks, 0)
        assert found <= best, blocks
        met += found == best
    assert met >= 10


def optimum(
    times: Times, devices: int, microbatches: int, memory: int, *, delay: int, early: float
) -> float:
    """Return the least makespan over all placements by CP-SAT, written out by hand.

    Infinite if memory admits no schedule.
    """
    model, stages, horizon = cp_model.CpModel(), range(len(times)), 400
    end = model.new_int_var(0, horizon, "")
    on = {
        (s, g, d): model.new_bool_var("")
        for s, g, d in itertools.product(stages, range(2), range(devices))
    }
    for s, g in itertools.product(stages, range(2)):
        model.add_exactly_one(on[s, g, d] for d in range(devices))
    busy: list[list[cp_model.IntervalVar]] = [[] for _ in range(devices)]
    held: list[list[tuple[cp_model.IntervalVar, int]]] = [[] for _ in range(devices)]
    for s, d in itertools.product(stages, range(devices)):
        here = model.new_bool_var("")
        model.add_max_equality(here, [on[s, g, d] for g in range(2)])
        held[d].append((model.new_optional_fixed_size_interval_var(0, horizon, here, ""), 2))
    for k in range(microbatches):
        g, start = k % 2, {(s, x): model.new_int_var(0, horizon, "") for s in stages for x in "FBW"}
        done = {(s, x): start[s, x] + times[s]["FBW".index(x)] for s, x in start}
        for s in stages:
            model.add(start[s, "B"] >= done[s, "F"])
            model.add(start[s, "W"] >= done[s, "B"])
            model.add(end >= done[s, "W"])
            for d in range(devices):
                for x, ticks in zip("FBW", times[s], strict=True):
                    busy[d].append(
                        model.new_optional_fixed_size_interval_var(
                            start[s, x], ticks, on[s, g, d], ""
                        )
                    )
                for x, size in (("B", round(2 * early)), ("W", 2 - round(2 * early))):
                    length = model.new_int_var(0, horizon, "")
                    interval = model.new_optional_interval_var(
                        start[s, "F"], length, done[s, x], on[s, g, d], ""
                    )
                    held[d].append((interval, size))
            if s:
                for d in range(devices):
                    for before, after in (((s - 1, "F"), (s, "F")), ((s, "B"), (s - 1, "B"))):
                        model.add(start[after] >= done[before])
                        model.add(start[after] >= done[before] + delay).only_enforce_if(
                            on[s, g, d], on[s - 1, g, d].negated()
                        )
    for d in range(devices):
        model.add_no_overlap(busy[d])
        model.add_cumulative([i for i, _ in held[d]], [size for _, size in held[d]], memory)
    model.minimize(end)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    status = solver.solve(model)
    assert status in (cp_model.OPTIMAL, cp_model.INFEASIBLE)
    return solver.objective_value if status == cp_model.OPTIMAL else math.inf


@pytest.mark.parametrize("seed", range(12))
def test_no_bound_is_above_the_optimum_of_small_free_pipelines(seed: int) -> None:
    rng = random.Random(seed)
    stages = rng.randint(2, 3)
    times = [(rng.randint(1, 4), rng.randint(1, 4), rng.randint(1, 4)) for _ in range(stages)]
    microbatches, memory = rng.choice([2, 4]), 2 * rng.randint(3, 5)
    delay, early = rng.randint(0, 2), rng.choice([0.0, 0.5, 1.0])
    found = bounds_of(times, 2, microbatches, memory, delay=delay, early=early)
    best = optimum(times, 2, microbatches, memory, delay=delay, early=early)
    assert max(found.values()) <= best, found
