"""Sums over blocks tell of a split what its schedule does: the same makespan, the same memory."""

from __future__ import annotations

import random

import attrs
import numpy as np
import pytest

from parplan.contracts import Strategy
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.hand_made.baselines import recipes_of
from parplan.search.hand_made.recipes import (
    FittedRecipe,
    RecipeSchedule,
    fit,
    near,
    schedule,
    uniform,
)
from parplan.search.hand_made.stages.balancing import Line, estimated_splits
from parplan.search.hand_made.stages.figures import block_figures
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.placement import Placer
from tests.search.pipelines import even_pipeline

DEVICES, BLOCKS, MICROBATCHES = 4, 20, 12

RECIPES = ("1f1b", "chimera", "dualpipe", "dualpipe-v", "gpipe", "hanayo", "interleaved-1f1b",
           "pipedream", "pipedream-2bw", "v-half", "v-min", "zb-h1", "zb-h2", "zb-v")  # fmt: skip
"""Those that cut no microbatches, whose ticks are the problem's."""


def uneven_pipeline(seed: int, memory: int | None = None, delay: float = 0.0) -> Problem:
    """Return a pipeline whose passes and saved bytes are random, whole and differ by block."""
    random_ = random.Random(seed)
    problem = even_pipeline(BLOCKS, DEVICES, MICROBATCHES, memory=memory, delay=delay)
    graph = problem.graph
    operators = [
        attrs.evolve(
            one, modes=(attrs.evolve(one.modes[0], seconds={"*": float(random_.randint(1, 9))}),)
        )
        for one in graph.operators
    ]
    tensors = [
        attrs.evolve(tensor, bytes=random_.randint(1, 5)) if tensor.bytes else tensor
        for tensor in graph.tensors
    ]
    changed = attrs.evolve(graph, operators=tuple(operators), tensors=tuple(tensors))
    return attrs.evolve(problem, graph=changed)


def placed(problem: Problem, registry: Registry) -> Placer:
    rules = make_rules(problem, registry)
    return Placer(problem, rules, find_blocks(problem, rules))


def fitted(placer: Placer, recipe: Strategy) -> FittedRecipe:
    shapes = (fit(placer, recipe, DEVICES, chunks) for chunks in (1, 2) if recipe.name)
    return next(found for found in shapes if found is not None)


def recipe_of(name: str, registry: Registry) -> Strategy:
    return recipes_of(registry, (name,))[0]


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("delay", [0.0, 3.0])
def test_an_estimate_is_the_makespan(name: str, delay: float, registry: Registry) -> None:
    for seed in range(3):
        placer = placed(uneven_pipeline(seed, delay=delay), registry)
        job = fitted(placer, recipe_of(name, registry))
        order = tuple(random.Random(seed).sample(range(DEVICES), DEVICES))
        stages = near(uniform(job), random.Random(seed)) or uniform(job)
        line = Line(job, block_figures(job.placer), order)
        found, made = line.estimate(stages), schedule(job, order, stages)
        assert found is not None
        assert isinstance(made, RecipeSchedule), made
        assert found.ticks == made.figure
        assert found.missing == 0


@pytest.mark.parametrize("name", ["1f1b", "dualpipe-v", "gpipe", "v-half", "zb-h1"])
def test_memory_is_missing_just_where_the_schedule_does_not_fit(
    name: str, registry: Registry
) -> None:
    fits = []
    for memory in range(40, 240, 8):
        job = fitted(placed(uneven_pipeline(1, memory), registry), recipe_of(name, registry))
        order = tuple(range(DEVICES))
        found = Line(job, block_figures(job.placer), order).estimate(uniform(job))
        assert found is not None
        made = schedule(job, order, uniform(job))
        assert (found.missing == 0) == isinstance(made, RecipeSchedule)
        fits.append(found.missing == 0)
    assert fits == sorted(fits)
    assert {True, False} == set(fits)


@pytest.mark.parametrize("name", ["1f1b", "interleaved-1f1b", "v-half"])
def test_splits_know_what_the_recipe_keeps(name: str, registry: Registry) -> None:
    # The uniform split needs more than this; loads alone would fill the first device.
    memory = {"1f1b": 48, "interleaved-1f1b": 72, "v-half": 50}[name]
    job = fitted(placed(uneven_pipeline(2, memory), registry), recipe_of(name, registry))
    order = tuple(range(DEVICES))
    blocks = block_figures(job.placer)
    before = Line(job, blocks, order).estimate(uniform(job))
    best = estimated_splits(job, blocks, [order], seed=0)[0]
    assert before is not None
    assert before.missing > 0
    assert best.missing == 0
    assert set(best.stages) == set(range(job.shape.stages))
    made = schedule(job, order, best.stages)
    assert isinstance(made, RecipeSchedule)
    assert made.figure == best.ticks


def test_the_same_seed_finds_the_same_split(registry: Registry) -> None:
    job = fitted(placed(uneven_pipeline(3), registry), recipe_of("1f1b", registry))
    blocks, orders = block_figures(job.placer), [(0, 1, 2, 3), (3, 1, 0, 2)]
    once, again = (estimated_splits(job, blocks, orders, seed=7) for _ in range(2))
    assert [one.stages for one in once] == [one.stages for one in again]
    assert once[0].cost <= once[1].cost
    uniform_one = Line(job, blocks, orders[0]).estimate(uniform(job))
    assert uniform_one is not None
    assert once[0].cost <= uniform_one.cost


def test_sums_over_blocks(registry: Registry) -> None:
    placer = placed(even_pipeline(4, 2, 4, (1.0, 2.0, 3.0), delay=5.0), registry)
    found = block_figures(placer)
    np.testing.assert_array_equal(found.passes[:, 0, 1], np.outer((1, 2, 3), range(5)))
    np.testing.assert_array_equal(found.until_weight, range(5))
    assert not found.until_backward.any()
    assert not found.barred.any()
    np.testing.assert_array_equal(found.latency, [[0, 5], [5, 0]])
    assert np.isinf(found.usable).all()
