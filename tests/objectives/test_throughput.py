"""Microbatches per second of an endless run."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pyomo.environ as pyo
import pytest
from hypothesis import assume, given, settings

from parplan.checking import check_schedule
from parplan.figures.usage import device_use, longest_span_ticks, longest_stage_span_ticks
from parplan.graph import Repeat
from parplan.hardware import Device
from parplan.model.schedule_model import ModelOptions, ScheduleModel
from parplan.objectives.throughput import Throughput
from parplan.problem import Rule
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.schedule import Column, Schedule, Tasks, Transfers
from tests.examples import chain, placed
from tests.plugins.strategies.published import simulate
from tests.strategies import schedules


def test_the_longest_span_of_a_device_or_link_is_the_period() -> None:
    problem = chain(2, devices=2, microbatches=2, seconds=2.0, size=3)
    schedule = placed(problem, o1="g1")
    # o0 0-2 and 5-7; each transfer takes 3 s from the end of its producer; o1 10-12 and 12-14.
    assert schedule.tasks.start.tolist() == [0, 5, 10, 12]
    # g0 until its last transfer has left: 0-10; the link 2-10; g1 from its first transfer: 2-14.
    assert longest_span_ticks(schedule) == 12
    assert Throughput().value(schedule) == pytest.approx(2 / 12)


def repeated(schedule: Schedule, distance: int) -> Schedule:
    """Return a schedule and, so many ticks later, the same for as many microbatches more."""
    tasks, moves, workload = schedule.tasks, schedule.transfers, schedule.problem.workload
    more = workload.microbatches

    def twice(column: Column, shift: int = 0) -> Column:
        return np.concatenate([column, column + shift])

    problem = attrs.evolve(
        schedule.problem,
        workload=attrs.evolve(
            workload,
            microbatches=2 * more,
            groups=2 * workload.groups,
            scales=2 * workload.scales,
            releases_s=2 * workload.releases_s,
        ),
    )
    return Schedule(
        problem,
        Tasks(
            twice(tasks.operator),
            twice(tasks.microbatch, more),
            twice(tasks.alternative),
            twice(tasks.start, distance),
        ),
        Transfers(
            twice(moves.tensor),
            twice(moves.microbatch, more),
            twice(moves.source),
            twice(moves.target),
            twice(moves.start, distance),
        ),
    )


@given(schedule=schedules())
def test_copies_a_longest_span_apart_never_meet_on_devices_and_links(
    schedule: Schedule, registry: Registry
) -> None:
    problem = schedule.problem
    assume(all(operator.repeat is Repeat.MICROBATCH for operator in problem.graph.operators))
    found = repeated(schedule, longest_span_ticks(schedule))
    violations = check_schedule(found, make_rules(found.problem, registry))
    assert not {violation.rule for violation in violations} & {"devices", "links"}


def test_copies_a_longest_span_apart_fit_the_memory_of_one(registry: Registry) -> None:
    schedule = simulate(registry.strategies["zb-h2"].value(), 4, 8, registry)
    span = longest_span_ticks(schedule)
    assert span < schedule.makespan
    devices = tuple(
        attrs.evolve(device, memory_bytes=use.peak_bytes)
        for device, use in zip(schedule.problem.cluster.devices, device_use(schedule), strict=True)
    )
    cluster = attrs.evolve(schedule.problem.cluster, devices=devices)
    limited = attrs.evolve(schedule, problem=attrs.evolve(schedule.problem, cluster=cluster))
    found = repeated(limited, span)
    assert check_schedule(found, make_rules(found.problem, registry)) == ()
    closer = repeated(limited, span - 1)
    assert check_schedule(closer, make_rules(closer.problem, registry)) != ()


def test_nothing_that_takes_time_gives_no_limit() -> None:
    assert Throughput().value(placed(chain(2, seconds=0.0))) == math.inf


@pytest.mark.parametrize(
    ("devices", "seconds", "period"),
    [(1, 1.0, 6.0), (3, 1.0, 2.0), (2, 1.0, 3.0), (6, 1.0, 2.0), (2, 2.0, 6.0)],
)
def test_the_bound_is_the_load_of_the_busiest_engine(
    devices: int, seconds: float, period: float
) -> None:
    """Three operators for two microbatches; one operator stays on one device."""
    problem = chain(3, devices=devices, microbatches=2, seconds=seconds)
    assert Throughput().bound(problem) == pytest.approx(2 / period)


def test_the_bound_knows_unequal_devices() -> None:
    """Work of 12 s on a slow device, 4 s on a fast one: 3 s at best if divided at will."""
    problem = chain(12, devices=2)
    fast, slow = Device("g0", "fast"), Device("g1", "slow")
    cluster = attrs.evolve(problem.cluster, devices=(fast, slow))
    operators = tuple(
        attrs.evolve(o, modes=(attrs.evolve(o.modes[0], seconds={"fast": 1 / 3, "slow": 1.0}),))
        for o in problem.graph.operators
    )
    graph = attrs.evolve(problem.graph, operators=operators)
    problem = attrs.evolve(problem, cluster=cluster, graph=graph, tick_s=1e-3)
    bound = Throughput().bound(problem)
    assert bound is not None
    assert bound == pytest.approx(1 / 3.0, rel=0.01)
    assert bound >= 1 / 3.006


def test_without_engine_capacities_nothing_is_proven() -> None:
    problem = attrs.evolve(chain(2), constraints=())
    assert Throughput().bound(problem) is None


@given(schedule=schedules())
def test_no_schedule_beats_the_bound(schedule: Schedule) -> None:
    bound = Throughput().bound(schedule.problem)
    assert bound is None or Throughput().value(schedule) <= bound * (1 + 1e-9)


@given(schedule=schedules())
def test_spans_of_tasks_mean_rates_that_no_schedule_beats(schedule: Schedule) -> None:
    problem, span = schedule.problem, longest_stage_span_ticks(schedule)
    assume(span > 0)
    rate = Throughput().from_figure(problem, span)
    assert Throughput().value(schedule) <= rate * (1 + 1e-9)
    assert Throughput().to_figure(problem, rate) == pytest.approx(span)


@given(schedule=schedules(max_operators=3, max_microbatches=2))
@settings(max_examples=25)
def test_the_expression_of_a_schedule_is_its_longest_span(
    schedule: Schedule, registry: Registry
) -> None:
    problem = attrs.evolve(schedule.problem, objectives=(Rule("throughput"),))
    options = ModelOptions(horizon=schedule.makespan)
    model = ScheduleModel(make_rules(problem, registry), options)
    values = model.warm_start(Schedule(problem, schedule.tasks, schedule.transfers))
    for variable in model.pyomo.component_data_objects(pyo.Var):
        variable.set_value(values.get(variable.name), skip_validation=True)
    assert pyo.value(model.pyomo.objective) == -longest_span_ticks(schedule)
    for row in model.block("throughput").component_data_objects(pyo.Constraint):
        assert row.slack() >= -1e-9
