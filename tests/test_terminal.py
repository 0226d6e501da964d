from __future__ import annotations

import doctest
from types import ModuleType

import attrs
import pytest
from hypothesis import given, settings

from parplan import progress, text
from parplan.figures.plan import figures_of, json_figures
from parplan.plans import Plan
from parplan.schedule import Schedule
from parplan.terminal import gantt_text, plan_text
from tests.plan_samples import pipeline_plan
from tests.strategies import schedules


@pytest.mark.parametrize("module", [text, progress], ids=lambda m: m.__name__)
def test_examples_in_the_docs_hold(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


def rows_of(plan: Plan) -> dict[str, str]:
    lines = gantt_text(figures_of(plan, "s")).plain.splitlines()[1:-1]
    return {line.split()[0]: line[9:] for line in lines}


def test_gantt_shows_what_takes_most_of_each_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    # 26.5 s in 53 columns: half a second each, which is the tick.
    monkeypatch.setenv("COLUMNS", str(53 + 9 + 1))
    plan = pipeline_plan(2, 3)
    assert plan.schedule.makespan == 53
    rows = rows_of(plan)
    first = "".join(letter * 4 for letter in "FFF")
    assert rows["gpu0"].startswith(first + ".")
    assert rows["gpu0"].endswith("B" * 8 + "OO")
    assert rows["gpu0"].count("B") == 3 * 8
    assert rows["0to1"].count("T") == 3 * 2


def test_slices_mostly_idle_are_in_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    rows = rows_of(pipeline_plan(2, 3))
    assert set(rows["1to0"]) == {".", "t"}


def test_memory_is_drawn_against_what_is_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    # 1 GiB of weights and three activations of a quarter GiB in 8 GiB: the level rises by steps.
    memory = rows_of(pipeline_plan(1, 3))["memory"]
    assert memory[0] == "▂"
    assert max(memory) == "▂"
    full = attrs.evolve(pipeline_plan(1, 3).problem.cluster.devices[0], memory_bytes=7 * 2**28)
    plan = pipeline_plan(1, 3)
    cluster = attrs.evolve(plan.problem.cluster, devices=(full,))
    problem = attrs.evolve(plan.problem, cluster=cluster)
    schedule = Schedule(problem, plan.schedule.tasks, plan.schedule.transfers)
    tight = rows_of(attrs.evolve(plan, problem=problem, schedule=schedule))["memory"]
    assert "█" in tight
    assert tight[0] < "█"


@settings(max_examples=25)
@given(schedules())
def test_every_valid_schedule_can_be_shown(schedule: Schedule) -> None:
    value = schedule.makespan * schedule.problem.tick_s
    figures = figures_of(Plan(schedule.problem, schedule, {"makespan": value}), "s")
    shown = plan_text(figures, gantt=True, colour=False)
    assert "Nothing is proven yet" in shown
    assert all(f"\n{device.name}" in shown for device in schedule.problem.cluster.devices)
    assert json_figures(figures)["gap"] is None


def test_many_devices_are_cut_and_said_so() -> None:
    shown = gantt_text(figures_of(pipeline_plan(70, 1), "s")).plain
    assert "gpu63" in shown
    assert "gpu64" not in shown
    assert f"and {70 - 64 + 2 * 69 - 64} more rows" in shown
