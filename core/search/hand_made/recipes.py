"""Recipes on a problem: the variant of the problem that each runs, its splits and schedules."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

import attrs
import numpy as np
from attrs import frozen

from parplan.contracts import Strategy
from parplan.errors import InfeasibleError, InputError
from parplan.graph import Mode, Operator
from parplan.pipelines.pipeline import PipelineShape
from parplan.problem import Problem
from parplan.rules import with_problem
from parplan.search.placing.economy import least_savings
from parplan.search.placing.evaluation import Candidate, prepare, schedule_by_recipe
from parplan.search.placing.placement import Placement, Placer
from parplan.search.placing.splits import balanced_stages, shifted_cuts, uniform_stages
from parplan.search.placing.ways import Ways
from parplan.workload import Workload

Stages = tuple[int, ...]
"""The stage of each block."""


FINER = 1024
"""Into how many a tick is cut where microbatches are: their times are parts of ticks."""


@frozen(eq=False)
class FittedRecipe:
    """A recipe with a shape for a problem.

    Attributes
    ----------
    placer
        Of the problem that the recipe runs: that asked for, or a variant of it.
    note
        How a variant differs from the problem asked for; empty if it is no variant.
    numbering
        The problem's number of each microbatch of the shape; empty if they are the same.
    """

    recipe: Strategy
    chunks: int
    shape: PipelineShape
    placer: Placer
    note: str = ""
    numbering: tuple[int, ...] = ()


@frozen(eq=False)
class RecipeSchedule:
    """A recipe's schedule, with the placer of the very problem that it is a schedule of."""

    placer: Placer
    candidate: Candidate

    @property
    def figure(self) -> int:
        """What the search makes small, in ticks."""
        return self.candidate.figure

    @property
    def savings(self) -> str:
        """Return how it saves memory beyond what it would by itself; empty if it does not."""
        coupled, ways = self.placer.coupled, self.candidate.prepared.ways
        taken = [(one, way) for one, way in zip(coupled, ways, strict=False) if way]
        if not taken:
            return ""
        operators = self.placer.problem.graph.operators
        names = {operators[o].modes[m].name for one, way in taken for o, m in one.ways[way].items()}
        usual = {operators[o].modes[m].name for one, _ in taken for o, m in one.ways[0].items()}
        return f"{len(taken)} of {len(coupled)} blocks in mode {', '.join(sorted(names - usual))}"


def fit(placer: Placer, recipe: Strategy, devices: int, chunks: int) -> FittedRecipe | None:
    """Return a recipe with the shape it has on so many devices; None if it has none.

    A recipe that cuts microbatches, or leads them in several directions, gets a variant of the
    problem: its workload, and with two directions two copies of the parameters. One that leads them
    in one direction leads all placement groups of the problem so.

    Raises
    ------
    InputError
        If the recipe says that it does not apply, or needs more stages than there are blocks.
    """
    problem = placer.problem
    workload = recipe.workload(problem.workload, devices)
    shape = recipe.shape(devices, workload.microbatches, chunks)
    if shape is None:
        return None
    if shape.stages > len(placer.blocks):
        raise InputError(f"needs {shape.stages} stages; the model has {len(placer.blocks)} blocks")
    numbering = _numbering(workload, shape.groups) if workload.groups and shape.groups else ()
    if workload.groups and not shape.groups and not placer.alike:
        raise InputError(
            "leads all microbatches one way; placement groups use devices of their own"
        )
    notes = []
    if workload.microbatches != problem.workload.microbatches:
        slices = workload.microbatches / problem.workload.microbatches
        notes.append(f"cuts every microbatch into {slices:g} slices")
    elif workload.scales != problem.workload.scales:
        notes.append("gives microbatches times of its own")
    if shape.groups and not workload.groups:
        workload = attrs.evolve(workload, groups=shape.groups)
        notes.append(f"keeps {len(shape.placements)} copies of the parameters")
    versions = recipe.weight_versions(shape)
    if max(versions) > 1:
        most = f"up to {max(versions)}" if len(set(versions)) > 1 else f"{versions[0]}"
        notes.append(f"keeps {most} versions of the weights")
    if not recipe.flushes:
        notes.append("never flushes, and is drawn from its start")
    if workload != problem.workload:
        cut = workload.scales != problem.workload.scales
        tick_s = problem.tick_s / FINER if cut else problem.tick_s
        placer = _with_problem(placer, attrs.evolve(problem, workload=workload, tick_s=tick_s))
    return FittedRecipe(recipe, chunks, shape, placer, "; ".join(notes), numbering)


def _numbering(workload: Workload, groups: Sequence[int]) -> tuple[int, ...]:
    """Return a workload's number of each microbatch of a recipe, group by group; () if the same.

    Raises
    ------
    InputError
        If the groups differ in size, or microbatches that would change places are not alike.
    """
    if workload.groups == groups:
        return ()
    if sorted(workload.groups) != sorted(groups):
        raise InputError("the problem has placement groups of its own, and other ones")
    if len(set(workload.scales)) > 1 or len(set(workload.releases_s)) > 1:
        raise InputError("takes the placement groups in another order; microbatches are not alike")
    theirs = {group: iter(_members(workload.groups, group)) for group in set(groups)}
    return tuple(next(theirs[group]) for group in groups)


def _members(groups: Sequence[int], group: int) -> list[int]:
    return [k for k, found in enumerate(groups) if found == group]


def uniform(fitted: FittedRecipe) -> Stages:
    """Return the split people start from: as many blocks in each stage."""
    return uniform_stages(len(fitted.placer.blocks), fitted.shape.stages)


def balanced(fitted: FittedRecipe, order: Sequence[int]) -> Stages | None:
    """Return the split with the least largest load; None if none fits (see ``balanced_stages``).

    Parameters
    ----------
    order
        Device of each rank.
    """
    hosts = [[order[rank] for rank in placement] for placement in fitted.shape.placements]
    return balanced_stages(fitted.placer, hosts)


def near(stages: Stages, random_: random.Random) -> Stages | None:
    """Return a split with some cuts shifted by a block; None if there is nothing to shift."""
    row = shifted_cuts(np.array(stages, dtype=np.int64), random_)
    found = None if row is None else tuple(int(stage) for stage in row)
    return None if found == stages else found


def schedule(fitted: FittedRecipe, order: Sequence[int], stages: Stages) -> RecipeSchedule | str:
    """Return the recipe's schedule on a split, or why there is none.

    What does not fit otherwise saves memory in other modes, as little as it can.
    """
    shape, placer = fitted.shape, fitted.placer
    if len(set(stages)) != shape.stages:
        return "fewer stages than the recipe needs"
    directions = shape.placements if shape.groups else shape.placements * len(placer.groups)
    placement: Placement = tuple(
        tuple(order[ranks[stage]] for stage in stages) for ranks in directions
    )
    if any(
        device not in placer.devices_of[group][block]
        for group, row in enumerate(placement)
        for block, device in enumerate(row)
    ):
        return "some block cannot run on its device"
    try:
        versions = fitted.recipe.weight_versions(shape)
        if max(versions) > 1:
            variant = _with_versions(placer, [versions[stage] for stage in stages])
            placer = _with_problem(placer, variant)
        found = _in_ways(fitted, placer, placement, stages, ())
        refusal = "does not fit memory"
    except InfeasibleError as error:
        found, refusal = None, str(error)
    if found is None:
        found = least_savings(
            placer, placement, partial(_if_possible, fitted, placer, placement, stages)
        )
    return refusal if found is None else RecipeSchedule(placer, found)


def _in_ways(
    fitted: FittedRecipe, placer: Placer, placement: Placement, stages: Stages, ways: Ways
) -> Candidate | None:
    prepared = prepare(placer, placement, ways, stage_of_block=stages)
    return schedule_by_recipe(prepared, fitted.recipe, fitted.shape, fitted.numbering)


def _if_possible(
    fitted: FittedRecipe, placer: Placer, placement: Placement, stages: Stages, ways: Ways
) -> Candidate | None:
    try:
        return _in_ways(fitted, placer, placement, stages, ways)
    except InfeasibleError:
        return None


def _with_problem(placer: Placer, problem: Problem) -> Placer:
    return Placer(problem, with_problem(placer.rules, problem), placer.blocks)


def _with_versions(placer: Placer, versions: Sequence[int]) -> Problem:
    """Return the problem in which each block keeps so many versions of the weights it reads."""
    problem = placer.problem
    operators = []
    for index, operator in enumerate(problem.graph.operators):
        more = versions[placer.blocks.block_of[index]] - 1
        modes = tuple(
            attrs.evolve(mode, parameter_bytes=_more_weights(problem, operator, mode, more))
            for mode in operator.modes
        )
        operators.append(attrs.evolve(operator, modes=modes) if operator.parameters else operator)
    graph = attrs.evolve(problem.graph, operators=tuple(operators))
    return attrs.evolve(problem, graph=graph)


def _more_weights(problem: Problem, operator: Operator, mode: Mode, more: int) -> dict[str, int]:
    """Return the parameter bytes of a mode with ``more`` further copies of the weights alone.

    Where a mode keeps a part of a group (a shard), its weights are the same part of all weights.
    """
    graph, found = problem.graph, {}
    for name in operator.parameters:
        group = graph.parameters[graph.parameter_index[name]]
        size = (mode.parameter_bytes or {}).get(name, group.bytes)
        weights = round(size * group.weight_bytes / group.bytes) if group.bytes else 0
        found[name] = size + more * weights
    return found
