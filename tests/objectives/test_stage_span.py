"""The longest stage span, the time of a step whose optimizer needs no barrier."""

from __future__ import annotations

import attrs
import pyomo.environ as pyo
import pytest
from hypothesis import given, settings

from parplan.api import plan
from parplan.figures.usage import longest_stage_span_ticks
from parplan.model.schedule_model import ModelOptions, ScheduleModel
from parplan.objectives.stage_span import StageSpan
from parplan.problem import Rule
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.schedule import Schedule
from tests.examples import chain, placed
from tests.search.pipelines import even_pipeline
from tests.strategies import schedules


def test_the_span_of_a_device_counts_its_tasks_and_no_transfer() -> None:
    schedule = placed(chain(2, devices=2, microbatches=2, seconds=2.0, size=3), o1="g1")
    # o0 on g0 0-2 and 5-7; o1 on g1 10-12 and 12-14; transfers of 3 s between them.
    assert StageSpan().value(schedule) == pytest.approx(7.0)


def test_tasks_without_an_engine_are_no_part_of_a_span() -> None:
    problem = chain(3, seconds=2.0)
    first = problem.graph.operators[0]
    idle = attrs.evolve(first, modes=(attrs.evolve(first.modes[0], engines=()),))
    graph = attrs.evolve(problem.graph, operators=(idle, *problem.graph.operators[1:]))
    assert StageSpan().value(placed(problem)) == 6.0
    assert StageSpan().value(placed(attrs.evolve(problem, graph=graph))) == 4.0


def test_a_stage_may_end_before_another_has_ended() -> None:
    """Two stages, three microbatches: 3 (F + B + W) per device, though the makespan is longer."""
    problem = even_pipeline(2, 2, 3)
    pins = Rule("placement", {"pin": {"stages.0": ("g0",), "stages.1": ("g1",)}})
    problem = attrs.evolve(
        problem,
        constraints=(*problem.constraints, pins),
        objectives=(Rule("stage-span"), Rule("makespan")),
    )
    found = plan(problem, time_limit_s=20.0)
    assert found.status == "optimal"
    assert found.value == pytest.approx(9.0)
    assert found.objectives["makespan"] == pytest.approx(10.0)


@given(schedule=schedules())
def test_no_schedule_beats_the_bound(schedule: Schedule) -> None:
    bound = StageSpan().bound(schedule.problem)
    assert bound is None or StageSpan().value(schedule) >= bound * (1 - 1e-9)


@given(schedule=schedules(max_operators=3, max_microbatches=2))
@settings(max_examples=25)
def test_the_expression_of_a_schedule_is_its_longest_span(
    schedule: Schedule, registry: Registry
) -> None:
    problem = attrs.evolve(schedule.problem, objectives=(Rule("stage-span"),))
    model = ScheduleModel(
        make_rules(problem, registry), ModelOptions(horizon=max(schedule.makespan, 1))
    )
    values = model.warm_start(Schedule(problem, schedule.tasks, schedule.transfers))
    for variable in model.pyomo.component_data_objects(pyo.Var):
        variable.set_value(values.get(variable.name), skip_validation=True)
    assert pyo.value(model.pyomo.objective) == longest_stage_span_ticks(schedule)
    for row in model.block("stage-span").component_data_objects(pyo.Constraint):
        assert row.slack() >= -1e-9
