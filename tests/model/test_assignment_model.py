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
from parplan.graph import Mode, Operator, ParameterGroup, Tensor
from parplan.model.assignment_model import AssignmentModel
from parplan.model.clock import Clock, Rounding
from parplan.model.schedule_model import ScheduleModel
from parplan.plugins.manager import load_registry
from parplan.plugins.solvers import cp_sat
from parplan.plugins.solvers.mip import Highs, solve_here
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import Rules, make_rules
from parplan.search.assigning.surroundings import find_surroundings
from tests.differential.generators import declarations, examples, small_problems
from tests.differential.solving import with_declared
from tests.examples import chain

ONE = SolveOptions(time_limit_s=30, workers=1)


def by_cp_sat(model: Any) -> Answer:
    return cp_sat.solve_here(None, model.pyomo, ONE)


def by_highs(model: Any) -> Answer:
    return solve_here(None, model.pyomo, ONE, adapter=Highs.adapter, name="highs")


@settings(max_examples=examples(40))
@given(data=st.data(), factor=st.sampled_from([1, 1, 2, 3]))
def test_it_is_a_relaxation_of_the_timing_model(data: st.DataObject, factor: int) -> None:
    problem = _with_outputs(
        data.draw(small_problems(4, 3, 4)), data.draw(st.sets(st.integers(0, 7)))
    )
    rules = with_declared(problem, load_registry(installed=False), data.draw(declarations(problem)))
    try:
        timing = ScheduleModel(rules)
    except InfeasibleError:
        return
    best = by_cp_sat(timing)
    if best.termination is not Termination.OPTIMAL:
        return
    makespan = round(best.objective or 0)
    around = find_surroundings(rules, makespan)
    clock = Clock(factor, Rounding.DOWN)
    upper = AssignmentModel(rules, makespan, around, clock)
    for key, row in _assignment(timing, best).items():
        literal = upper.choices.literal(*key, row)
        if literal is not None:
            literal.fix(1)
    answer = by_cp_sat(upper)
    assert answer.termination is Termination.OPTIMAL
    assert factor * (answer.objective or 0) <= makespan
    ordered = AssignmentModel(rules, makespan, around, clock, break_symmetry=True)
    assert by_cp_sat(ordered).objective == by_cp_sat(_plain(rules, makespan, factor)).objective


def _with_outputs(problem: Problem, numbers: set[int]) -> Problem:
    """Return a problem in which some tensors are kept to the end."""
    tensors = tuple(
        attrs.evolve(tensor, output=tensor.output or t in numbers)
        for t, tensor in enumerate(problem.graph.tensors)
    )
    return attrs.evolve(problem, graph=attrs.evolve(problem.graph, tensors=tensors))


def _plain(rules: Rules, makespan: int, factor: int) -> AssignmentModel:
    return AssignmentModel(
        rules, makespan, find_surroundings(rules, makespan), Clock(factor, Rounding.DOWN)
    )


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


def _with_memory(problem: Problem, size: int) -> Problem:
    devices = tuple(attrs.evolve(d, memory_bytes=size) for d in problem.cluster.devices)
    return attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, devices=devices))


def test_outputs_that_do_not_fit_together_are_spread(registry: Registry) -> None:
    problem = chain(2, devices=2, size=0)
    kept = tuple(Tensor(f"out{i}", f"o{i}", (), 3, output=True) for i in range(2))
    graph = attrs.evolve(problem.graph, tensors=(*problem.graph.tensors, *kept))
    problem = attrs.evolve(problem, graph=graph)
    model = AssignmentModel(make_rules(_with_memory(problem, 5), registry))
    assignment = model.extract(by_highs(model).values)
    assert assignment[0, 0] != assignment[1, 0]
    cramped = AssignmentModel(make_rules(_with_memory(problem, 2), registry))
    assert by_highs(cramped).termination is Termination.INFEASIBLE


def test_what_a_task_reads_and_writes_must_be_there_while_it_runs(registry: Registry) -> None:
    problem = chain(3, devices=2, size=4)
    enough = AssignmentModel(make_rules(_with_memory(problem, 8), registry))
    assert by_highs(enough).termination is Termination.OPTIMAL
    cramped = AssignmentModel(make_rules(_with_memory(problem, 7), registry))
    assert by_highs(cramped).termination is Termination.INFEASIBLE


def test_cuts_hold_for_what_agrees_with_them_and_say_no_more_than_is_certain_elsewhere(
    registry: Registry,
) -> None:
    rules = make_rules(chain(2, devices=2, size=0), registry)
    model = AssignmentModel(rules, horizon=20)
    assert by_highs(model).objective == pytest.approx(2)
    model.require({(0, 0): 0}, 9, 4)  # whatever the second one does
    answer = by_highs(model)
    assert answer.objective == pytest.approx(4)
    assert model.extract(answer.values)[0, 0] == 1
    model.exclude({(0, 0): 1, (1, 0): 0})
    assert model.extract(by_highs(model).values) == {(0, 0): 1, (1, 0): 1}
    model.exclude({(1, 0): 1})
    assert by_highs(model).objective == pytest.approx(9)
    model.limit(8)
    assert by_highs(model).termination is Termination.INFEASIBLE


def test_stretches_know_what_cannot_start_before_and_what_must_follow(registry: Registry) -> None:
    # o0, then three of 2 s at once, then o4, all of 2 s on two devices without transfers: two of
    # the three share a device between 2 s after the start and 2 s before the end.
    names = [f"o{n}" for n in range(5)]
    tensors = [Tensor("a", "o0", ("o1", "o2", "o3"), 0)]
    tensors += [Tensor(f"b{n}", f"o{n}", ("o4",), 0) for n in (1, 2, 3)]
    problem = chain(5, devices=2, seconds=2.0)
    graph = attrs.evolve(problem.graph, tensors=tuple(tensors))
    rules = make_rules(attrs.evolve(problem, graph=graph), registry)
    assert [o.name for o in graph.operators] == names
    assert by_highs(AssignmentModel(rules)).objective == pytest.approx(6)
    with_stretches = AssignmentModel(rules, surroundings=find_surroundings(rules, 6))
    assert by_highs(with_stretches).objective == pytest.approx(8)


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
