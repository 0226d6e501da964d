"""Recipes on even pipelines with free transfers, where published figures can be met."""

from __future__ import annotations

import attrs

from parplan.checking import check_schedule
from parplan.contracts import Strategy
from parplan.graph import ParameterGroup
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.schedule import Schedule
from parplan.search.hand_made.recipes import RecipeSchedule, fit, schedule, uniform
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Finisher
from parplan.search.placing.placement import Placer
from tests.search.pipelines import even_pipeline


def with_weights(problem: Problem) -> Problem:
    """Return an even pipeline in which each stage has weights of one byte."""
    graph = problem.graph
    operators = tuple(attrs.evolve(o, parameters=(f"p{o.name[1:]}",)) for o in graph.operators)
    names = dict.fromkeys(name for operator in operators for name in operator.parameters)
    groups = tuple(ParameterGroup(name, 1) for name in names)
    return attrs.evolve(problem, graph=attrs.evolve(graph, operators=operators, parameters=groups))


def simulate(
    recipe: Strategy,
    devices: int,
    microbatches: int,
    registry: Registry,
    chunks: int = 1,
    times: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Schedule:
    """Return the recipe's schedule of an even pipeline with a block per stage, checked.

    It is made as a comparison makes it, with all copies and versions of the weights.
    """
    workload = recipe.workload(even_pipeline(1, 1, microbatches).workload, devices)
    shape = recipe.shape(devices, workload.microbatches, chunks)
    assert shape is not None
    problem = with_weights(even_pipeline(shape.stages, devices, microbatches, times))
    rules = make_rules(problem, registry)
    fitted = fit(Placer(problem, rules, find_blocks(problem, rules)), recipe, devices, chunks)
    assert fitted is not None
    found = schedule(fitted, range(devices), uniform(fitted))
    assert isinstance(found, RecipeSchedule), found
    made = Finisher(found.placer).expand(found.candidate)
    assert check_schedule(made, found.placer.rules) == ()
    assert made.makespan == found.candidate.makespan
    return made
