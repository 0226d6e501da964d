"""The model of loads against all partitions of tiny graphs, by several solvers."""

from __future__ import annotations

import pyomo.environ as pyo
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyomo.core.expr.visitor import identify_variables

from parplan.contracts import SolveOptions, Termination
from parplan.model.clock import Clock, Rounding
from parplan.model.loads import load_unit
from parplan.model.partition_model import PartitionModel
from parplan.registry import Registry
from parplan.rules import make_rules
from tests.objectives.test_steady_state import scheduled
from tests.search.partitioning.tiny import (
    all_homes,
    is_row,
    least_seconds,
    seconds_per_sample,
    tiny_problem,
)


@pytest.mark.parametrize("solver", ["cp-sat", "highs"])
@settings(max_examples=6)
@given(seed=st.integers(0, 10**6), once=st.booleans(), contiguous=st.booleans())
def test_the_optimum_is_that_of_all_partitions(
    registry: Registry, solver: str, seed: int, once: bool, contiguous: bool
) -> None:
    problem = tiny_problem(seed, leaves_once=once, contiguous=contiguous)
    rules = make_rules(problem, registry)
    loading = rules.objectives[0].loading()
    assert loading is not None
    model = PartitionModel(rules, loading)
    answer = registry.solvers[solver].value.solve(model.pyomo, SolveOptions(60.0, workers=1))
    assert answer.termination is Termination.OPTIMAL
    assert answer.objective is not None
    unit_s = problem.tick_s / load_unit(problem) / problem.workload.microbatches
    least = least_seconds(problem, contiguous=contiguous)
    assert answer.objective * unit_s == pytest.approx(least)
    assignment = model.extract(answer.values)
    homes = {
        operator.name: problem.cluster.devices[
            problem.alternatives[o][assignment[o, 0]].devices[0]
        ].name
        for o, operator in enumerate(problem.graph.operators)
    }
    assert seconds_per_sample(problem, homes) == pytest.approx(least)
    assert not contiguous or is_row(problem, homes)


def test_coarser_ticks_and_limits_keep_it_a_relaxation(registry: Registry) -> None:
    problem = tiny_problem(5)
    rules = make_rules(problem, registry)
    loading = rules.objectives[0].loading()
    assert loading is not None
    unit_s = problem.tick_s / load_unit(problem) / problem.workload.microbatches
    units = round(least_seconds(problem) / unit_s)
    solver = registry.solvers["cp-sat"].value
    for tick in (2, 3):
        answer = solver.solve(
            PartitionModel(rules, loading, Clock(tick, Rounding.DOWN)).pyomo,
            SolveOptions(60.0, workers=1),
        )
        assert answer.objective is not None
        assert answer.objective * tick <= units
    for limit, expected in ((units, Termination.OPTIMAL), (units - 1, Termination.INFEASIBLE)):
        model = PartitionModel(rules, loading)
        model.limit(limit)
        answer = solver.solve(model.pyomo, SolveOptions(60.0, workers=1))
        assert answer.termination is expected


@given(seed=st.integers(0, 10**6), once=st.booleans(), contiguous=st.booleans())
@settings(max_examples=20)
def test_a_plan_is_a_warm_start_that_keeps_all_rows(
    registry: Registry, seed: int, once: bool, contiguous: bool
) -> None:
    problem = tiny_problem(seed, leaves_once=once, contiguous=contiguous)
    homes = next(h for h in all_homes(problem) if not contiguous or is_row(problem, h))
    rules = make_rules(problem, registry)
    loading = rules.objectives[0].loading()
    assert loading is not None
    model = PartitionModel(rules, loading)
    values = model.warm_start(scheduled(problem, homes, registry))
    left = [v for v in model.pyomo.component_data_objects(pyo.Var) if v.name not in values]
    assert all("before" in v.name for v in left)  # the row of devices is the solver's to find
    for variable in model.pyomo.component_data_objects(pyo.Var):
        if variable.name in values:
            variable.set_value(values[variable.name])
    for row in model.pyomo.component_data_objects(pyo.Constraint, active=True):
        if all(v.name in values for v in identify_variables(row.body)):
            assert row.slack() >= -1e-9
    unit_s = problem.tick_s / load_unit(problem) / problem.workload.microbatches
    seconds = seconds_per_sample(problem, homes)
    assert values[model.busiest.name] * unit_s == pytest.approx(seconds)
