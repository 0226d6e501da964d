"""Recipes on even pipelines with free transfers, where published figures can be met."""

from __future__ import annotations

import attrs

from parplan.checking import check_schedule
from parplan.contracts import Strategy
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.schedule import Schedule
from parplan.search.blocks import find_blocks
from parplan.search.evaluation import Finisher, prepare, schedule_by_recipe
from parplan.search.placement import Placer
from tests.search.pipelines import even_pipeline


def simulate(
    recipe: Strategy,
    devices: int,
    microbatches: int,
    registry: Registry,
    chunks: int = 1,
    times: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Schedule:
    """Return the recipe's schedule of an even pipeline with a block per stage, checked."""
    problem = even_pipeline(1, 1, microbatches)
    workload = recipe.workload(problem.workload, devices)
    shape = recipe.shape(devices, workload.microbatches, chunks)
    assert shape is not None
    problem = attrs.evolve(
        even_pipeline(shape.stages, devices, workload.microbatches, times),
        workload=attrs.evolve(workload, groups=shape.groups),
        tick_s=1.0 if not workload.scales else 1e-6,
    )
    rules = make_rules(problem, registry)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    prepared = prepare(placer, shape.placements, stage_of_block=range(shape.stages))
    found = schedule_by_recipe(prepared, recipe, shape)
    assert found is not None
    schedule = Finisher(placer).expand(found)
    assert check_schedule(schedule, rules) == ()
    assert schedule.makespan == found.makespan
    return schedule
