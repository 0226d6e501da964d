"""Recipes are tried at once on blocks that are pinned as they place theirs, and on no others."""

from __future__ import annotations

import math

from parplan.checking import check_schedule
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.hand_made.baselines import recipes_of
from parplan.search.hand_made.pinned_recipes import recipe_candidates
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Candidate, Finisher, prepare
from parplan.search.placing.placement import Placement, Placer
from tests.search.pipelines import even_pipeline


def _found(
    placement: Placement, microbatches: int, registry: Registry, *, spare: int = 1
) -> tuple[Placer, dict[str, Candidate]]:
    """Return what is found where memory holds as many microbatches as there are devices, and more.

    Parameters
    ----------
    spare
        How many more.
    """
    groups = tuple(k % len(placement) for k in range(microbatches))
    devices = len(placement[0])
    memory = devices + spare
    problem = even_pipeline(devices, devices, microbatches, memory=memory, groups=groups)
    rules = make_rules(problem, registry)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    prepared = prepare(placer, placement)
    recipes = recipes_of(registry)
    return placer, dict(recipe_candidates(placer, prepared, recipes, math.inf))


def test_dualpipe_is_tried_where_stages_are_mirrored(registry: Registry) -> None:
    """Its makespan is 3m + p/2 - 1 where passes of a pair hand on as they end; 3 more if not."""
    there = tuple(range(8))
    placer, found = _found((there, there[::-1]), 20, registry)
    assert found["dualpipe"].makespan == 66
    assert "1f1b" not in found
    schedule = Finisher(placer).finish(found["dualpipe"])
    assert schedule.makespan == 63
    assert check_schedule(schedule, placer.rules) == ()


def test_a_recipe_that_does_not_fit_lends_its_turns(registry: Registry) -> None:
    """DualPipe keeps p + 1 microbatches; its passes in order, with W's put anew, fit into p.

    Where it fits it takes 63, and nothing takes less.
    """
    there = tuple(range(8))
    placer, found = _found((there, there[::-1]), 20, registry, spare=0)
    assert "dualpipe" not in found
    schedule = Finisher(placer).finish(found["dualpipe with weight passes put anew"])
    assert schedule.makespan in (63, 64)
    assert check_schedule(schedule, placer.rules) == ()


def test_one_way_recipes_are_tried_in_the_order_of_the_pins(registry: Registry) -> None:
    for order in ((0, 1, 2, 3), (2, 0, 3, 1)):
        _, found = _found((order,), 8, registry)
        assert found["1f1b"].makespan == 8 * 3 + 3 * 3
        assert "dualpipe" not in found


def test_no_time_means_no_recipe(registry: Registry) -> None:
    problem = even_pipeline(4, 4, 8)
    rules = make_rules(problem, registry)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    prepared = prepare(placer, ((0, 1, 2, 3),))
    assert list(recipe_candidates(placer, prepared, recipes_of(registry), -math.inf)) == []
