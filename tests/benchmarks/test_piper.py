"""Piper's formula by hand, and the exhaustive search over degrees against all cuts and degrees."""

from __future__ import annotations

import itertools
import json
import math
import random
from pathlib import Path

import pytest

from benchmarks.piper import PLUGIN, Stage, exhaustive, stages_of, time_per_sample
from benchmarks.piper_files import Choice, Degrees, Layers, problem_of, read_layers
from parplan.api import load_registry
from parplan.checking import check_schedule
from parplan.rules import make_rules
from parplan.search.improving.heuristics import gang_candidates
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Finisher
from parplan.search.placing.placement import Placer


def row(p: float, w: float, a: float, b: float, before: list[int], behind: list[int]) -> dict:
    return {
        "id": "vanilla",
        "timePerSample": p,
        "parameterSize": w,
        "memoryUsageA": a,
        "memoryUsageB": b,
        "syncTimeFw": {str(u): 3.0 for u in before},
        "syncTimeBw": {str(v): 5.0 for v in behind},
    }


@pytest.fixture
def two_layers(tmp_path: Path) -> Layers:
    """Two layers; the second may run on two devices at once."""
    data = {
        "maxDevices": 3,
        "maxMemoryPerDevice": 100.0,
        "bandwidth": 10.0,
        "mbsInBatch": 6,
        "nodes": [
            {"id": 7, "TMPCs": {"1": [row(4.0, 6.0, 10.0, 1.0, [], [3])]}},
            {"id": 3, "TMPCs": {"1": [row(6.0, 12.0, 5.0, 2.0, [7], [])]}},
        ],
        "edges": [{"sourceId": 7, "destId": 3, "communicationCost": 2.0}],
    }
    path = tmp_path / "two.json"
    path.write_text(json.dumps(data))
    return read_layers(path)


def test_the_formula_by_hand(two_layers: Layers) -> None:
    first, second = (choices[1][0] for choices in two_layers.choices)
    one, two = Degrees(1, 1), Degrees(1, 2)
    stages = [Stage(0, 1, one, (first,)), Stage(1, 2, two, (second,))]
    # First: 4 s, and twice 2 + 5 bytes at 10 bytes per second. Second: half of 6 s, half of twice
    # 2 + 3 bytes, and 4 / 2 x 12 bytes of gradients for 6 samples.
    assert time_per_sample(two_layers, stages) == max(4 + 1.4, 3 + 0.5 + 4 / 2 * 12 / 6 / 10)
    # Three samples are under way on the first device: 3 x 10 + 1 bytes.
    tight = Layers(**{f: getattr(two_layers, f) for f in FIELDS} | {"memory": 30.0})
    assert time_per_sample(tight, stages) == math.inf


FIELDS = ("name", "devices", "memory", "bandwidth", "samples", "choices", "edges", "behind",
          "before")  # fmt: skip


def drawn(seed: int) -> Layers:
    """A few layers in a line with an edge that skips, choices that save memory, and degrees."""
    random_ = random.Random(seed)
    count = 4
    choices = []
    for _ in range(count):
        p, a = random_.randint(2, 9), random_.randint(2, 9)
        choices.append(
            {
                t: (
                    Choice("vanilla", p / t, random_.randint(0, 9), a / t, 2 / t),
                    Choice("activation recomp", 1.5 * p / t, 3, a / t / 4, 3 / t),
                )
                for t in (1, 2)
            }
        )
    edges = [(i, i + 1, random_.randint(0, 4)) for i in range(count - 1)] + [(0, 3, 1)]
    added = tuple({1: 0.0, 2: float(random_.randint(0, 3))} for _ in edges)
    return Layers("drawn", 4, random_.randint(8, 60), 10.0, 4, tuple(choices), tuple(edges),
                  added, added)  # fmt: skip


def all_pipelines(layers: Layers) -> float:
    """The best of all cuts, degrees and choices, one by one."""
    count, best = len(layers.choices), math.inf
    for number in range(1, layers.devices + 1):
        for cuts in itertools.combinations(range(1, count), number - 1):
            edges = list(itertools.pairwise((0, *cuts, count)))
            for degrees in itertools.product(layers.degrees, repeat=number):
                if sum(g.devices for g in degrees) > layers.devices:
                    continue
                options = [
                    itertools.product(*(layers.choices[v][g.t] for v in range(a, b)))
                    for g, (a, b) in zip(degrees, edges, strict=True)
                ]
                for chosen in itertools.product(*options):
                    stages = [
                        Stage(a, b, g, one)
                        for (a, b), g, one in zip(edges, degrees, chosen, strict=True)
                    ]
                    best = min(best, time_per_sample(layers, stages))
    return best


@pytest.mark.parametrize("seed", range(6))
def test_no_pipeline_is_better_than_the_exhaustive_search_says(seed: int) -> None:
    layers = drawn(seed)
    found = exhaustive(layers)
    best = all_pipelines(layers)
    value = time_per_sample(layers, found) if found else math.inf
    # Choices within a stage are picked by bytes saved per second, as Piper does: nearly the best.
    assert best <= value <= 1.1 * best or value == best


def test_a_schedule_takes_what_the_formula_says(two_layers: Layers) -> None:
    registry = load_registry([PLUGIN])
    problem = problem_of(two_layers)
    rules = make_rules(problem, registry)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    values = []
    for _, candidate in gang_candidates(placer, math.inf):
        schedule = Finisher(placer).finish(candidate)
        assert not check_schedule(schedule, rules)
        stages = stages_of(two_layers, schedule)
        values.append(rules.objectives[0].value(schedule))
        assert values[-1] >= time_per_sample(two_layers, stages) * (1 - 1e-9)
    assert min(values) <= time_per_sample(two_layers, exhaustive(two_layers)) * (1 + 1e-9)
