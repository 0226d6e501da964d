from __future__ import annotations

from pathlib import Path

import pytest
from parplan_eager_1f1b import Eager1f1bSchedule

import parplan
from parplan.errors import InputError
from parplan.pipelines.pipeline import PassKind, passes_of

SPEC = Path(__file__).parents[1] / "specs/slow-links.yaml"


def test_it_is_installed_under_its_distribution() -> None:
    found = parplan.load_registry().strategies["eager-1f1b"]
    assert found.value is Eager1f1bSchedule
    assert found.distribution == "parplan-eager-1f1b"


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_every_pass_runs_once_and_so_many_are_under_way(devices: int) -> None:
    recipe = Eager1f1bSchedule()
    shape = recipe.shape(devices, 2 * devices + 1, 1)
    assert shape is not None
    for stage, order in enumerate(recipe.orders(shape)):
        passes = list(passes_of(order))
        assert len(set(passes)) == len(passes) == 3 * shape.microbatches
        under_way = most = 0
        for one in passes:
            under_way += {PassKind.F: 1, PassKind.B: 0, PassKind.W: -1}[one.kind]
            most = max(most, under_way)
        assert most == 2 * (devices - stage) - 1


def test_it_says_when_it_does_not_apply() -> None:
    with pytest.raises(InputError, match="needs at least 8 microbatches on 4 devices"):
        Eager1f1bSchedule().shape(4, 7, 1)


def test_it_beats_1f1b_where_transfers_take_time_and_the_search_starts_from_it() -> None:
    found = parplan.compare(
        SPEC, schedules=("1f1b", "eager-1f1b"), time_limit_s=3.0, solver="list", workers=1
    )
    values = {
        entry.name: entry.plan.value for entry in reversed(found.entries) if entry.plan is not None
    }
    assert values["eager-1f1b"] < 0.9 * values["1f1b"]
    assert found.plan.value <= values["eager-1f1b"]
    starts = {row["name"]: row["makespan_s"] for row in found.plan.provenance["baselines"]}
    assert starts["eager-1f1b"] == values["eager-1f1b"]
