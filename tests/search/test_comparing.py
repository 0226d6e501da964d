"""A comparison: same rules for all, no row vanishes, and the plan is never worse than a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from parplan.checking import check_plan
from parplan.comparison import Comparison
from parplan.errors import InputError
from parplan.figures.comparison import comparison_figures, comparison_table
from parplan.options import SearchOptions
from parplan.problem import Problem, Rule
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search import comparing
from parplan.search.comparing import compare
from parplan.search.hand_made.baselines import Baseline, baselines
from parplan.workload import Workload
from tests.search.graphs.heft_example import heft_example
from tests.search.pipelines import even_pipeline

OPTIONS = SearchOptions(solver="list", time_limit_s=3.0, workers=1)


def compared(problem: Problem, registry: Registry, *names: str) -> Comparison:
    return compare(problem, make_rules(problem, registry), registry, OPTIONS, names)


def test_plan_is_no_worse_than_any_hand_made_schedule(registry: Registry) -> None:
    comparison = compared(even_pipeline(8, 4, 8), registry)
    plans = [entry.plan for entry in comparison.entries if entry.plan is not None]
    own = [plan.value for plan in plans if plan.problem == comparison.problem]
    assert len(own) >= 7  # the plan, and GPipe, 1F1B and ZB-H1 on two splits each
    assert comparison.plan.value == own[0] == min(own)
    assert own[1:] == sorted(own[1:])
    best = comparison.best_hand_made(comparison.problem)
    assert best is not None
    assert best.plan is not None
    assert best.plan.value == own[1]


def test_every_entry_passes_the_check_of_a_plan(registry: Registry) -> None:
    comparison = compared(even_pipeline(4, 4, 8), registry, "1f1b", "zb-h1")
    for entry in comparison.entries:
        assert entry.plan is not None
        assert check_plan(entry.plan, registry) == ()
        assert entry.plan.bound == comparison.plan.bound


def test_what_does_not_fit_keeps_its_row(registry: Registry) -> None:
    # A stage keeps a byte of each microbatch: GPipe needs 8, 1F1B up to 4.
    comparison = compared(even_pipeline(4, 4, 8, memory=4), registry, "gpipe", "1f1b")
    rows = {(e.name, e.split): (e.plan is not None, e.note) for e in comparison.entries}
    assert rows["1f1b", "uniform"] == (True, "")
    assert rows["gpipe", "uniform"] == rows["gpipe", "best"] == (False, "does not fit memory")


def test_a_search_that_ends_early_leaves_its_time_to_hand_made_schedules(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "HAND_MADE_SHARE", 0.0)
    problem = even_pipeline(2, 2, 4)
    found = compare(
        problem,
        make_rules(problem, registry),
        registry,
        attrs.evolve(OPTIONS, time_limit_s=30.0),
        ("1f1b", "zb-h1", "gpipe"),
    )
    assert found.plan.status == "optimal"
    assert {entry.name for entry in found.entries} == {"plan", "1f1b", "zb-h1", "gpipe"}
    assert all(entry.plan is not None for entry in found.entries)


def test_what_does_not_apply_keeps_its_row(registry: Registry) -> None:
    few = compared(even_pipeline(4, 4, 2), registry, "1f1b")
    assert few.entries[1].note == "needs at least as many microbatches as devices, 4"
    one = attrs.evolve(even_pipeline(4, 4, 2), workload=Workload(microbatches=1))
    rows = compared(one, registry).entries[1:]
    reason = "the problem has one microbatch only"
    assert {e.note for e in rows if e.name not in registry.heuristics} == {reason}


def test_placement_heuristics_stand_beside_the_plan_of_a_graph_that_is_no_pipeline(
    registry: Registry,
) -> None:
    """On the example of Topcuoglu et al. (2002), with their makespans, and each checked."""
    found = compared(heft_example(), registry, "heft", "cpop", "dynamic-level")
    values = {e.name: e.plan.value for e in found.entries if e.plan is not None}
    assert (values["heft"], values["cpop"], values["dynamic-level"]) == (80.0, 86.0, 91.0)
    assert values["plan"] <= 80.0
    assert all(e.plan is None or check_plan(e.plan, registry) == () for e in found.entries)


def test_plan_is_no_worse_by_another_objective(registry: Registry) -> None:
    objectives = (Rule("peak-memory"), Rule("makespan"))
    problem = attrs.evolve(even_pipeline(4, 4, 6), objectives=objectives)
    comparison = compared(problem, registry, "gpipe", "1f1b", "zb-h1")
    ours = tuple(comparison.plan.objectives.values())
    made = [e.plan for e in comparison.entries[1:] if e.plan is not None]
    assert len(made) == 6
    assert all(ours <= tuple(plan.objectives.values()) for plan in made)


def test_unknown_schedule_is_refused(registry: Registry) -> None:
    with pytest.raises(InputError, match="no strategy is named 'zb-h9'"):
        compared(even_pipeline(4, 4, 8), registry, "zb-h9")


def test_two_directions_are_planned_too(registry: Registry) -> None:
    comparison = compared(even_pipeline(4, 4, 8), registry, "1f1b", "dualpipe", "chimera")
    rows = {(e.name, e.split): e for e in comparison.entries}
    ours = rows["plan in two directions", ""]
    assert ours.plan is not None
    assert ours.plan.problem.workload.groups == (0, 1) * 4
    assert check_plan(ours.plan, registry) == ()
    for name in ("dualpipe", "chimera"):
        for split in ("uniform", "best"):
            entry = rows[name, split]
            assert entry.plan is not None
            assert entry.note == ours.note == "two directions: two copies of the parameters"
            assert entry.plan.problem == ours.plan.problem
            assert entry.plan.bound == ours.plan.bound
            assert ours.plan.value <= entry.plan.value
            assert check_plan(entry.plan, registry) == ()
    assert rows["1f1b", "best"].plan is not None
    assert rows["1f1b", "best"].note == ""


@pytest.mark.parametrize("place", [0, 1, 3])
def test_ctrl_c_keeps_the_hand_made_schedules_so_far(
    place: int, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def some(*given: Any) -> Iterator[Baseline]:
        for number, row in enumerate(baselines(*given)):
            if number == place:
                raise KeyboardInterrupt
            yield row

    monkeypatch.setattr("parplan.search.comparing.baselines", some)
    comparison = compared(even_pipeline(4, 4, 8), registry, "1f1b", "gpipe", "dualpipe")
    assert comparison.is_interrupted
    assert check_plan(comparison.plan, registry) == ()
    rows = {(e.name, e.split): e for e in comparison.entries[1:]}
    made = [entry.plan for entry in rows.values() if entry.plan is not None]
    assert len(made) == place
    assert all(comparison.plan.value <= plan.value for plan in made)
    note = "Ctrl-C came before it was tried"
    assert rows["dualpipe", ""].note == f"two directions: two copies of the parameters: {note}"
    assert {e.name for e in rows.values()} == {"1f1b", "gpipe", "dualpipe"}
    assert {e.note for e in rows.values() if e.plan is None and e.name != "dualpipe"} <= {note}


def test_what_never_flushes_has_a_period(registry: Registry) -> None:
    comparison = compared(even_pipeline(4, 4, 8), registry, "1f1b", "pipedream-2bw")
    figures = comparison_figures(comparison, "s")
    periods = {e.name: found.period_s for e, found in figures.rows() if found is not None}
    assert periods["pipedream-2bw"] == 3.0  # F, B and W, and nothing else
    assert periods["1f1b"] == 33 / 8
    table = comparison_table(figures)
    column = table.columns.index("per microbatch")
    assert "4.125 s" in {row[column] for row in table.rows}


def test_variants_say_so_and_have_no_bound(registry: Registry) -> None:
    comparison = compared(even_pipeline(4, 4, 8), registry, "pipedream-2bw")
    for entry in comparison.entries[1:]:
        assert entry.plan is not None
        assert "2 versions of the weights" in entry.note
        assert entry.plan.bound is None
        assert check_plan(entry.plan, registry) == ()
