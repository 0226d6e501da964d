"""What recipes need of a problem: directions, slices and versions become variants of it."""

from __future__ import annotations

import random

import attrs
import pytest

from parplan.contracts import Strategy
from parplan.errors import InputError
from parplan.figures.pipeline import pipeline_figures
from parplan.graph import ParameterGroup
from parplan.plugins.strategies.dualpipe import DualPipe
from parplan.plugins.strategies.hanayo import Hanayo
from parplan.plugins.strategies.one_forward_one_backward import GPipe, OneForwardOneBackward
from parplan.plugins.strategies.pipedream import PipeDream, PipeDream2BW
from parplan.plugins.strategies.terapipe import TeraPipe
from parplan.plugins.strategies.zero_bubble import ZeroBubbleV
from parplan.problem import Problem, Rule
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.schedule import Schedule
from parplan.search.hand_made.recipes import (
    FittedRecipe,
    RecipeSchedule,
    balanced,
    fit,
    near,
    schedule,
    uniform,
)
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Finisher
from parplan.search.placing.placement import Placer
from tests.examples import recomputing
from tests.search.pipelines import even_pipeline

WEIGHTS = 10
"""Bytes of the weights of a stage; gradients take as much."""


def with_parameters(problem: Problem) -> Problem:
    """Return an even pipeline in which each stage has weights and gradients."""
    graph = problem.graph
    operators = tuple(
        attrs.evolve(operator, parameters=(f"p{operator.name[1:]}",))
        for operator in graph.operators
    )
    groups = tuple(
        ParameterGroup(f"p{s}", WEIGHTS, WEIGHTS) for s in range(len(graph.operators) // 3)
    )
    return attrs.evolve(problem, graph=attrs.evolve(graph, operators=operators, parameters=groups))


def placer_of(problem: Problem, registry: Registry) -> Placer:
    rules = make_rules(problem, registry)
    return Placer(problem, rules, find_blocks(problem, rules))


def fitted(placer: Placer, recipe: Strategy, chunks: int = 1) -> FittedRecipe:
    found = fit(placer, recipe, len(placer.problem.cluster.devices), chunks)
    assert found is not None
    return found


def made(job: FittedRecipe) -> Schedule:
    found = schedule(job, range(job.shape.devices), uniform(job))
    assert isinstance(found, RecipeSchedule), found
    return Finisher(found.placer).expand(found.candidate)


def test_two_directions_keep_two_copies(registry: Registry) -> None:
    placer = placer_of(with_parameters(even_pipeline(4, 4, 8)), registry)
    job = fitted(placer, DualPipe())
    assert job.note == "keeps 2 copies of the parameters"
    assert job.placer.problem.workload.groups == (0, 0, 0, 0, 1, 1, 1, 1)
    assert set(pipeline_figures(made(job)).parameter_copies.values()) == {2.0}
    plain = fitted(placer, OneForwardOneBackward())
    assert plain.note == ""
    assert plain.placer is placer
    assert set(pipeline_figures(made(plain)).parameter_copies.values()) == {1.0}


def test_copies_that_do_not_fit_are_told(registry: Registry) -> None:
    memory = 3 * WEIGHTS + 5  # one copy with gradients and five activations, not two copies
    placer = placer_of(with_parameters(even_pipeline(4, 4, 8, memory=memory)), registry)
    assert made(fitted(placer, OneForwardOneBackward())).makespan == 33
    job = fitted(placer, DualPipe())
    refused = schedule(job, range(4), uniform(job))
    assert isinstance(refused, str)
    assert "g0" in refused


@pytest.mark.parametrize(
    ("recipe", "versions"), [(PipeDream(), (4, 3, 2, 1)), (PipeDream2BW(), (2, 2, 2, 2))]
)
def test_versions_take_the_weights_again_but_no_gradients(
    recipe: Strategy, versions: tuple[int, ...], registry: Registry
) -> None:
    placer = placer_of(with_parameters(even_pipeline(4, 4, 8)), registry)
    job = fitted(placer, recipe)
    most = "up to 4" if len(set(versions)) > 1 else "2"
    start = f"keeps {most} versions of the weights"
    assert job.note == f"{start}; never flushes, and is drawn from its start"
    found = pipeline_figures(made(job)).parameter_copies.values()
    assert tuple(found) == tuple((n * WEIGHTS + WEIGHTS) / (2 * WEIGHTS) for n in versions)


def test_slices_are_microbatches_of_their_own(registry: Registry) -> None:
    placer = placer_of(even_pipeline(4, 4, 2), registry)
    recipe = TeraPipe()
    times = recipe.slice_times(4)
    job = fitted(placer, recipe)
    assert job.note == f"cuts every microbatch into {len(times)} slices"
    assert job.placer.problem.workload.scales == times * 2
    seconds = made(job).makespan * job.placer.problem.tick_s
    wanted = 3 * (2 * sum(times) + 3 * max(times))  # F, B and W: sum t + (K - 1) max t each
    assert seconds == pytest.approx(wanted, rel=0.005)


def test_one_slice_with_times_of_its_own_is_a_variant(registry: Registry) -> None:
    # In finer ticks, so it may end before any schedule of the problem does.
    job = fitted(placer_of(even_pipeline(1, 1, 2), registry), TeraPipe())
    assert job.placer.problem.tick_s < 1.0
    assert job.note == "gives microbatches times of its own"


def test_stages_that_follow_one_another_may_share_a_device(registry: Registry) -> None:
    placer = placer_of(even_pipeline(16, 4, 8), registry)
    job = fitted(placer, ZeroBubbleV(), 2)
    assert uniform(job) == tuple(block // 2 for block in range(16))
    assert made(job).makespan == 2 * (3 * 16 + 3)  # as with a block per stage, twice as long


def test_balanced_stages_are_even_on_equal_devices(registry: Registry) -> None:
    placer = placer_of(even_pipeline(16, 4, 8), registry)
    for job in (fitted(placer, DualPipe()), fitted(placer, Hanayo(), 2)):
        assert balanced(job, range(4)) == uniform(job)


def test_near_splits_shift_cuts_and_keep_every_stage() -> None:
    stages = (0, 0, 1, 1, 2, 2)
    found = {near(stages, random.Random(seed)) for seed in range(20)} - {None}
    assert len(found) > 1
    for row in found:
        assert row is not None
        assert sorted(row) == list(row)
        assert set(row) == {0, 1, 2}
    assert near((0, 0), random.Random(0)) is None


def test_a_recipe_that_cannot_be_fitted_says_why(registry: Registry) -> None:
    placer = placer_of(even_pipeline(4, 4, 8), registry)
    assert fit(placer, ZeroBubbleV(), 4, 1) is None
    with pytest.raises(InputError, match="needs 8 stages; the model has 4 blocks"):
        fit(placer, ZeroBubbleV(), 4, 2)
    grouped = even_pipeline(4, 4, 8, groups=(0, 1) * 4)
    pins = [{"pin": {"stages.0": [device]}} for device in ("g0", "g3")]
    rules = (*grouped.constraints, Rule("placement", {"groups": pins}))
    with pytest.raises(InputError, match="leads all microbatches one way"):
        fit(
            placer_of(attrs.evolve(grouped, constraints=rules), registry),
            OneForwardOneBackward(),
            4,
            1,
        )


def test_a_recipe_of_one_way_leads_all_groups_that_way(registry: Registry) -> None:
    problem = even_pipeline(4, 4, 8)
    in_turn = attrs.evolve(problem, workload=attrs.evolve(problem.workload, groups=(0, 1) * 4))
    job = fitted(placer_of(in_turn, registry), OneForwardOneBackward())
    found = made(job)
    assert job.note == ""
    on_order = schedule(job, range(4), uniform(job))
    assert isinstance(on_order, RecipeSchedule)
    assert on_order.candidate.prepared.placement == ((0, 1, 2, 3),) * 2
    alone = made(fitted(placer_of(problem, registry), OneForwardOneBackward()))
    assert found.makespan == alone.makespan


def test_a_problem_with_groups_of_its_own_numbers_the_microbatches(registry: Registry) -> None:
    problem = even_pipeline(4, 4, 8)
    in_turn = attrs.evolve(problem, workload=attrs.evolve(problem.workload, groups=(0, 1) * 4))
    job = fitted(placer_of(in_turn, registry), DualPipe())
    assert job.note == ""
    assert job.numbering == (0, 2, 4, 6, 1, 3, 5, 7)
    assert job.placer.problem is in_turn
    halves = fitted(placer_of(problem, registry), DualPipe())
    assert made(job).makespan == made(halves).makespan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": (0, 1, 1, 1) * 2}, "placement groups of its own"),
        ({"groups": (0, 1) * 4, "scales": (1.0, 2.0) * 4}, "microbatches are not alike"),
    ],
)
def test_groups_that_do_not_match_are_refused(
    change: dict[str, tuple[float, ...]], message: str, registry: Registry
) -> None:
    problem = even_pipeline(4, 4, 8)
    other = attrs.evolve(problem, workload=attrs.evolve(problem.workload, **change))
    with pytest.raises(InputError, match=message):
        fit(placer_of(other, registry), DualPipe(), 4, 1)


def test_what_does_not_fit_by_itself_computes_as_little_again_as_it_can(
    registry: Registry,
) -> None:
    def gpipe(memory: int) -> RecipeSchedule | str:
        problem = recomputing(even_pipeline(8, 2, 4, memory=memory))
        rules = make_rules(problem, registry)
        placer = Placer(problem, rules, find_blocks(problem, rules))
        fitted = fit(placer, GPipe(), 2, 1)
        assert fitted is not None
        return schedule(fitted, (0, 1), uniform(fitted))

    # Four stages on a device keep one byte of each of four microbatches.
    found = {memory: gpipe(memory) for memory in (16, 12, 2)}
    assert isinstance(found[16], RecipeSchedule)
    assert found[16].savings == ""
    assert isinstance(found[12], RecipeSchedule)
    assert found[12].savings.endswith("of 7 blocks in mode recompute")
    assert found[12].figure > found[16].figure
    assert "'g0.memory' needs 4 bytes" in str(found[2])
