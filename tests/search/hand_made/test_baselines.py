"""Hand-made schedules beside the plan: every recipe gets its rows, also one that breaks."""

from __future__ import annotations

from typing import ClassVar

import attrs
import pytest

from parplan import clock
from parplan.contracts import Strategy
from parplan.errors import InputError
from parplan.pipelines.pipeline import PipelineShape, one_way
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.hand_made.baselines import (
    NO_DEVICE_ALONE,
    Baseline,
    baseline_row,
    baselines,
    recipes_of,
)
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.placement import Placer
from tests.search.pipelines import even_pipeline


class _NoOrders(Strategy):
    name: ClassVar[str] = "no-orders"

    def shape(self, devices: int, microbatches: int, chunks: int) -> PipelineShape | None:
        return one_way(devices, microbatches) if chunks == 1 else None


class _NoShape(Strategy):
    name: ClassVar[str] = "no-shape"

    def shape(self, devices: int, microbatches: int, chunks: int) -> PipelineShape | None:
        raise ValueError("not today")


def _rows(
    registry: Registry, *recipes: Strategy, seconds: float = 30.0, problem: Problem | None = None
) -> dict[tuple[str, str], Baseline]:
    rules = make_rules(problem or even_pipeline(8, 4, 8), registry)
    placer = Placer(rules.problem, rules, find_blocks(rules.problem, rules))
    found = baselines(placer, recipes, clock.now() + seconds, 0)
    return {(row.name, row.split): row for row in found}  # later rows replace earlier ones


def test_a_recipe_that_breaks_has_a_row_that_says_how(registry: Registry) -> None:
    good = registry.strategies["1f1b"].value()
    rows = _rows(registry, _NoShape(), _NoOrders(), good)
    assert rows["no-shape", ""].note == "raised ValueError: not today"
    for split in ("uniform", "best"):
        assert rows["no-orders", split].candidate is None
        assert "gives a shape but no orders" in rows["no-orders", split].note
        assert rows["1f1b", split].candidate is not None


def test_operators_that_need_two_devices_have_no_hand_made_schedule(registry: Registry) -> None:
    problem = even_pipeline(8, 4, 8)
    operators = [
        attrs.evolve(one, modes=tuple(attrs.evolve(mode, devices=2) for mode in one.modes))
        for one in problem.graph.operators
    ]
    groups = (("g0", "g1"), ("g2", "g3"))
    twofold = attrs.evolve(
        problem,
        graph=attrs.evolve(problem.graph, operators=tuple(operators)),
        cluster=attrs.evolve(problem.cluster, groups=groups),
    )
    recipes = [entry.value() for entry in registry.strategies.values()]
    rows = _rows(registry, *recipes, problem=twofold)
    assert {row.note for row in rows.values()} == {NO_DEVICE_ALONE}


def test_the_best_split_is_no_worse_than_the_uniform_one(registry: Registry) -> None:
    recipes = [entry.value() for entry in registry.strategies.values()]
    rows = _rows(registry, *recipes)
    for (name, split), row in rows.items():
        if split == "uniform" and row.candidate is not None:
            best = rows[name, "best"].candidate
            assert best is not None
            assert best.makespan <= row.candidate.makespan


def test_time_that_is_up_ends_large_schedules_after_the_first(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = [registry.strategies[name].value() for name in ("gpipe", "1f1b", "zb-h1")]
    small = _rows(registry, *recipes, seconds=-1.0)
    assert all(row.candidate is not None for row in small.values())
    monkeypatch.setattr("parplan.search.hand_made.baselines.FEW_TASKS", 0)
    large = _rows(registry, *recipes, seconds=-1.0)
    assert set(large) == set(small)
    made = [key for key, row in large.items() if row.candidate is not None]
    assert made == [("gpipe", "best")]
    assert {large[key].note for key in large if key not in made} == {"no time was left for it"}


def test_only_what_never_flushes_says_so(registry: Registry) -> None:
    recipes = [registry.strategies[name].value() for name in ("1f1b", "pipedream")]
    rows = _rows(registry, *recipes)
    assert {name: row.flushes for (name, _), row in rows.items()} == {
        "1f1b": True,
        "pipedream": False,
    }


def test_a_row_gives_figures_of_the_schedule(registry: Registry) -> None:
    one = _rows(registry, registry.strategies["1f1b"].value())["1f1b", "uniform"]
    assert one.candidate is not None
    makespan_s = float(one.candidate.makespan)  # a tick is a second
    row = baseline_row(one, one.expand(), makespan_s / 2)
    assert row["name"] == "1f1b"
    assert row["makespan_s"] == makespan_s
    assert row["gap"] == 0.5
    assert 0 < row["bubble"] < 1


def test_a_recipe_that_does_not_apply_has_a_row_that_says_so(registry: Registry) -> None:
    class OnlyOdd(_NoOrders):
        def shape(self, devices: int, microbatches: int, chunks: int) -> PipelineShape | None:
            return one_way(devices, microbatches) if devices % 2 else None

    class Deep(_NoOrders):
        def shape(self, devices: int, microbatches: int, chunks: int) -> PipelineShape | None:
            return one_way(devices, microbatches, 5) if chunks == 1 else None

    (odd,) = _rows(registry, OnlyOdd()).values()
    assert odd.note == "does not apply to 4 devices and 8 microbatches"
    (deep,) = _rows(registry, Deep()).values()
    assert deep.note == "needs 20 stages; the model has 8 blocks"


def test_schedules_are_chosen_by_name(registry: Registry) -> None:
    names = [recipe.name for recipe in recipes_of(registry, ("zb-h1", "1f1b", "zb-h1"))]
    assert names == ["zb-h1", "1f1b"]
    with pytest.raises(InputError, match="no strategy is named 'gpipes'; did you mean 'gpipe'"):
        recipes_of(registry, ("gpipes",))
    with pytest.raises(InputError, match="'recompute' is no schedule; schedules are: 1f1b, "):
        recipes_of(registry, ("recompute",))
