"""Bytes that cross the network."""

from __future__ import annotations

import attrs
import pyomo.environ as pyo
from hypothesis import given, settings

from parplan.graph import Mode
from parplan.model.schedule_model import ScheduleModel
from parplan.objectives.traffic import Traffic
from parplan.problem import Rule
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.schedule import Schedule
from tests.examples import chain, placed
from tests.strategies import schedules


def test_each_transfer_counts_once_and_local_tensors_do_not() -> None:
    problem = chain(3, devices=2, microbatches=2, size=5)
    assert Traffic().value(placed(problem, o1="g1", o2="g1")) == 10.0
    assert Traffic().value(placed(problem, o1="g1")) == 20.0
    assert Traffic().value(placed(problem)) == 0.0


def test_a_collective_counts_what_every_rank_sends() -> None:
    problem = chain(1, devices=2, microbatches=3)
    ring = Mode(devices=2, seconds={"*": 1.0}, ring_bytes=7, ring_steps=2)
    graph = attrs.evolve(
        problem.graph, operators=(attrs.evolve(problem.graph.operators[0], modes=(ring,)),)
    )
    cluster = attrs.evolve(problem.cluster, groups=(("g0", "g1"),))
    assert Traffic().value(placed(attrs.evolve(problem, graph=graph, cluster=cluster))) == 42.0


@given(schedule=schedules(max_operators=4, max_microbatches=2))
@settings(max_examples=25)
def test_the_expression_of_a_schedule_is_its_value(schedule: Schedule, registry: Registry) -> None:
    problem = attrs.evolve(schedule.problem, objectives=(Rule("traffic"),))
    model = ScheduleModel(make_rules(problem, registry))
    schedule = Schedule(problem, schedule.tasks, schedule.transfers)
    for variable in model.pyomo.component_data_objects(pyo.Var):
        value = model.warm_start(schedule).get(variable.name)
        variable.set_value(value, skip_validation=True)
    assert pyo.value(model.pyomo.objective) == Traffic().value(schedule)
