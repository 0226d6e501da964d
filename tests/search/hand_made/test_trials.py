"""Trials of recipes: what is refined gets better, and time that is up ends it."""

from __future__ import annotations

import attrs
import pytest

from parplan import clock
from parplan.registry import Registry
from parplan.search.hand_made.baselines import recipes_of
from parplan.search.hand_made.recipes import RecipeSchedule, uniform
from parplan.search.hand_made.stages.balancing import Line
from parplan.search.hand_made.stages.figures import block_figures
from parplan.search.hand_made.trials import (
    NO_MEMORY,
    Trial,
    estimated,
    on_uniform_split,
    refined,
    scheduled,
)
from tests.search.hand_made.stages.test_balancing import fitted, placed, uneven_pipeline

ORDERS = [(0, 1, 2, 3), (2, 0, 3, 1)]


def begun(name: str, registry: Registry, memory: int | None = None) -> Trial:
    job = fitted(placed(uneven_pipeline(4, memory), registry), recipes_of(registry, (name,))[0])
    return estimated(Trial(job, block_figures(job.placer), ORDERS), seed=0)


def uniform_one(trial: Trial) -> Trial:
    """Return a trial that knows of no better split than the uniform one."""
    estimate = Line(trial.job, trial.blocks, ORDERS[0]).estimate(uniform(trial.job))
    made = on_uniform_split(trial)
    return attrs.evolve(trial, estimate=estimate, order=ORDERS[0], made=made)


def test_refined_trials_are_better_ones_of_the_same_recipes(registry: Registry) -> None:
    trials = [uniform_one(begun(name, registry)) for name in ("gpipe", "zb-v")]
    before = {trial.job: trial.rank for trial in trials}
    found = list(refined(trials, clock.now() + 60.0, seed=1))
    assert found  # zb-v, the better half
    for better in found:
        assert better.rank < before[better.job]
        assert isinstance(better.made, RecipeSchedule)
        assert better.estimate is not None
        assert better.estimate.ticks == better.made.figure
        before[better.job] = better.rank
    assert list(refined(trials, clock.now() - 1.0, seed=1)) == []


@pytest.mark.parametrize(("memory", "fits"), [(44, True), (6, False)])
def test_a_split_fits_memory_or_the_trial_says_so(
    memory: int, fits: bool, registry: Registry
) -> None:
    trial = scheduled(begun("1f1b", registry, memory), 0)
    if fits:
        assert isinstance(trial.made, RecipeSchedule)
        assert trial.is_close
    else:
        assert trial.made == on_uniform_split(trial) == NO_MEMORY
