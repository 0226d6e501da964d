from __future__ import annotations

from typing import Any, ClassVar

import attrs
import pyomo.environ as pyo
import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.contracts import Answer, Constraint, SolveOptions, Termination
from parplan.declarations import Apart
from parplan.errors import InfeasibleError, PluginError
from parplan.graph import Mode, Operator, ParameterGroup
from parplan.model.assignment_model import AssignmentModel
from parplan.model.schedule_model import ScheduleModel
from parplan.plugins.manager import load_registry
from parplan.plugins.solvers import cp_sat
from parplan.plugins.solvers.mip import Highs, solve_here
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from tests.differential.generators import declarations, examples, small_problems
from tests.differential.solving import with_declared
from tests.examples import chain

ONE = SolveOptions(time_limit_s=30, workers=1)


def by_cp_sat(model: Any) -> Answer:
    return cp_sat.solve_here(None, model.pyomo, ONE)


def by_highs(model: Any) -> Answer:
    return solve_here(None, model.pyomo, ONE, adapter=Highs.adapter, name="highs")


@settings(max_examples=examples(40))
@given(st.data())
def test_it_is_a_relaxation_of_the_timing_model(data: st.DataObject) -> None:
    problem = data.draw(small_problems(4, 3, 4))
    rules = with_declared(problem, load_registry(installed=False), data.draw(declarations(problem)))
    try:
        timing = ScheduleModel(rules)
    except InfeasibleError:
        return
    best = by_cp_sat(timing)
    if best.termination is not Termination.OPTIMAL:
        return
    upper = AssignmentModel(rules)
    for key, row in _assignment(timing, best).items():
        literal = upper.choices.literal(*key, row)
        if literal is not None:
            literal.fix(1)
    answer = by_cp_sat(upper)
    assert answer.termination is Termination.OPTIMAL
    assert (answer.objective or 0) <= (best.objective or 0)


def _assignment(model: ScheduleModel, answer: Answer) -> dict[tuple[int, int], int]:
    value = {v.name: v for v in model.pyomo.component_data_objects(pyo.Var)}
    assert set(answer.values) >= set(value)
    return {
        key: model.choices.chosen(key, lambda x: answer.values[x.name])
        for key in model.choices.rows
    }


def test_load_and_path_bound_the_makespan(registry: Registry) -> None:
    # Six tasks of 2 s on one device; on two, the path of one microbatch is 4 s.
    loaded = AssignmentModel(make_rules(chain(2, microbatches=3, seconds=2.0), registry))
    assert by_highs(loaded).objective == pytest.approx(12)
    free = AssignmentModel(make_rules(chain(2, devices=2, microbatches=1, seconds=2.0), registry))
    assert by_highs(free).objective == pytest.approx(4)


def test_a_transfer_that_placement_demands_lengthens_path_and_link(registry: Registry) -> None:
    problem = chain(2, devices=2, microbatches=3, size=5)
    rules = with_declared(problem, registry, [Apart(("o0", "o1"))])
    # Three transfers of 5 s over one link are 15 s, more than the path of 1 + 5 + 1.
    assert by_highs(AssignmentModel(rules)).objective == pytest.approx(15)


def _heavy(capacity: int) -> Problem:
    """Two operators with weights of 6 bytes each, on two devices."""
    problem = chain(2, devices=2)
    operators = tuple(
        Operator(f"o{n}", parameters=(f"w{n}",), modes=(Mode(seconds={"*": 1.0}),))
        for n in range(2)
    )
    groups = tuple(ParameterGroup(f"w{n}", 6) for n in range(2))
    graph = attrs.evolve(problem.graph, operators=operators, parameters=groups)
    devices = tuple(attrs.evolve(d, memory_bytes=capacity) for d in problem.cluster.devices)
    return attrs.evolve(
        problem, graph=graph, cluster=attrs.evolve(problem.cluster, devices=devices)
    )


def test_parameters_that_do_not_fit_together_are_spread(registry: Registry) -> None:
    model = AssignmentModel(make_rules(_heavy(11), registry))
    assignment = model.extract(by_highs(model).values)
    assert assignment[0, 0] != assignment[1, 0]
    cramped = AssignmentModel(make_rules(_heavy(5), registry))
    assert by_highs(cramped).termination is Termination.INFEASIBLE


def test_a_cut_lifts_one_assignment_only(registry: Registry) -> None:
    rules = make_rules(chain(2, devices=2, size=0), registry)
    model = AssignmentModel(rules, horizon=20)
    assert by_highs(model).objective == pytest.approx(2)
    for a in range(2):
        for b in range(2):
            if (a, b) != (1, 0):
                model.cut({(0, 0): a, (1, 0): b}, 9)
    answer = by_highs(model)
    assert answer.objective == pytest.approx(2)
    assert model.extract(answer.values) == {(0, 0): 1, (1, 0): 0}
    model.cut({(0, 0): 1, (1, 0): 0}, 7)
    assert by_highs(model).objective == pytest.approx(7)


@frozen
class Second(Constraint):
    """Everything runs on g1."""

    name: ClassVar[str] = "second"

    def constrain_assignment(self, model: AssignmentModel) -> None:
        model.block(self.name).row(model.on("o0", "g1") + model.on("o1", "g1") == 2)


@frozen
class Broken(Constraint):
    """Raises."""

    name: ClassVar[str] = "broken"

    def constrain_assignment(self, model: AssignmentModel) -> None:
        raise KeyError("watts")


def test_an_escape_hatch_constrains_the_assignment(registry: Registry) -> None:
    rules = make_rules(chain(2, devices=2), registry)
    model = AssignmentModel(attrs.evolve(rules, constraints=(*rules.constraints, Second())))
    assert set(model.extract(by_highs(model).values).values()) == {1}
    with pytest.raises(PluginError, match="KeyError") as caught:
        AssignmentModel(attrs.evolve(rules, constraints=(Broken(),)))
    assert (caught.value.plugin, caught.value.hook) == ("broken", "constrain_assignment")
