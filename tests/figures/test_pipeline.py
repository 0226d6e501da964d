"""Figures of schedules in the units of papers."""

from __future__ import annotations

import math

import attrs

from parplan.figures.pipeline import pipeline_figures
from parplan.graph import ParameterGroup
from parplan.registry import Registry
from tests.plugins.strategies.published import simulate


def test_figures_of_1f1b_on_two_devices(registry: Registry) -> None:
    schedule = simulate(registry.strategies["1f1b"].value(), 2, 4, registry)
    found = pipeline_figures(schedule)
    assert schedule.makespan == 15
    assert found.makespan_bubble_s == found.span_bubble_s == 3
    assert (found.period_s, found.period_bubble_s) == (3, 0)
    assert found.peak_activations == {"g0": 2, "g1": 1}
    assert found.parameter_copies == {"g0": 1, "g1": 1}


def test_without_parameters_there_are_no_copies_of_them(registry: Registry) -> None:
    schedule = simulate(registry.strategies["1f1b"].value(), 2, 4, registry)
    graph = schedule.problem.graph
    bare = tuple(attrs.evolve(operator, parameters=()) for operator in graph.operators)
    graph = attrs.evolve(graph, operators=bare, parameters=())
    problem = attrs.evolve(schedule.problem, graph=graph)
    found = pipeline_figures(attrs.evolve(schedule, problem=problem))
    assert all(math.isnan(copies) for copies in found.parameter_copies.values())


def test_spans_leave_out_what_a_device_waits_for_its_first_task(registry: Registry) -> None:
    found = pipeline_figures(simulate(registry.strategies["zb-h2"].value(), 4, 8, registry))
    assert (found.makespan_bubble_s, found.span_bubble_s) == (3, 0)


def test_one_microbatch_has_its_makespan_for_a_period(registry: Registry) -> None:
    schedule = simulate(registry.strategies["gpipe"].value(), 2, 1, registry)
    assert pipeline_figures(schedule).period_s == schedule.makespan == 6


def test_parameters_count_in_shares_of_a_device(registry: Registry) -> None:
    schedule = simulate(registry.strategies["1f1b"].value(), 2, 4, registry)
    graph = schedule.problem.graph
    operators = tuple(attrs.evolve(o, parameters=(f"p{o.name[1:]}",)) for o in graph.operators)
    groups = (ParameterGroup("p0", 30), ParameterGroup("p1", 10))
    problem = attrs.evolve(
        schedule.problem, graph=attrs.evolve(graph, operators=operators, parameters=groups)
    )
    found = pipeline_figures(attrs.evolve(schedule, problem=problem))
    assert found.parameter_copies == {"g0": 1.5, "g1": 0.5}
    assert found.peak_activations == {"g0": 2, "g1": 1}
