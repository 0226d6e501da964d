from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import pyomo.environ as pyo
import pytest
from attrs import evolve, frozen

from parplan.contracts import Constraint, Violation
from parplan.errors import PluginError
from parplan.graph import Graph, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.model.guards import check_guards
from parplan.model.schedule_model import ScheduleModel
from parplan.model.terms import RULE, Interval, NoOverlap, record
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.schedule import Schedule
from parplan.workload import Workload


def _model() -> tuple[Any, list[Interval]]:
    """Return two optional intervals on an engine, and a Block of the plugin 'power'."""
    model = pyo.ConcreteModel()
    model.start = pyo.Var(range(2), domain=pyo.Integers, bounds=(0, 20))
    model.on = pyo.Var(range(2), domain=pyo.Binary)
    model.rule = pyo.Block()
    setattr(model.rule, RULE, "power")
    intervals = [
        Interval(f"move {k}", model.start[k], model.start[k] + 3, 3, model.on[k]) for k in range(2)
    ]
    record(model, NoOverlap("link", intervals))
    return model, intervals


def test_a_plugins_row_on_the_time_of_an_absent_interval_is_refused_by_name() -> None:
    model, _ = _model()
    model.rule.late = pyo.Constraint(expr=model.start[1] >= 5)
    with pytest.raises(PluginError, match=r"plugin 'power'.*'rule\.late' binds 'start\[1\]'"):
        check_guards(model, {"power"})


def test_rows_inside_nested_blocks_and_indexed_rows_are_seen() -> None:
    model, _ = _model()
    model.rule.inner = pyo.Block()
    model.rule.inner.late = pyo.Constraint(range(2), rule=lambda b, k: model.start[k] >= 5)
    with pytest.raises(PluginError, match=r"'rule\.inner\.late\[0\]' binds 'start\[0\]'"):
        check_guards(model, {"power"})


def test_the_presence_of_another_interval_is_no_guard() -> None:
    model, _ = _model()
    model.rule.late = pyo.Constraint(expr=model.start[1] >= 5 * model.on[0])
    with pytest.raises(PluginError, match=r"binds 'start\[1\]'"):
        check_guards(model, {"power"})


def test_a_row_with_the_presence_is_taken() -> None:
    model, _ = _model()
    model.rule.late = pyo.Constraint(expr=model.start[1] >= 5 * model.on[1])
    check_guards(model, {"power"})


def test_times_of_what_is_always_there_need_no_guard() -> None:
    model, intervals = _model()
    model.rule.late = pyo.Constraint(expr=model.start[1] >= 5)
    check_guards(model, {"power"}, certain=[intervals[1]])
    record(model, NoOverlap("all", [Interval("task", model.start[1], 20)]))
    check_guards(model, {"power"})


def test_rows_of_other_rules_and_deactivated_rows_are_left_alone() -> None:
    model, _ = _model()
    model.rule.late = pyo.Constraint(expr=model.start[1] >= 5)
    check_guards(model, {"heat"})
    check_guards(model, set())
    model.rule.late.deactivate()
    check_guards(model, {"power"})


@frozen
class _LateArrivals(Constraint):
    """A plugin that forgets that a transfer may not be needed."""

    name: ClassVar[str] = "late"
    guarded: bool = False

    def constrain(self, model: ScheduleModel) -> None:
        transfer = model.transfer("t", 0, "g1")
        assert transfer is not None
        bound = 5 * transfer.presence if self.guarded else 5
        model.block(self.name).row(transfer.start >= bound)
        model.block(self.name).row(model.task("a", 0).start >= 1)  # always there: no guard

    def violations(self, schedule: Schedule) -> Iterable[Violation]:
        return ()


def test_the_model_refuses_a_plugins_unguarded_row(registry: Registry) -> None:
    mode = Mode(seconds={"*": 1.0})
    problem = Problem(
        "p",
        Graph(
            "g",
            (Operator("a", modes=(mode,)), Operator("b", modes=(mode,))),
            (Tensor("t", "a", ("b",), 4),),
        ),
        Cluster("c", (Device("g0"), Device("g1")), (Link("k", "g0", "g1", 4.0, shared=True),)),
        Workload(),
        tick_s=1.0,
    )
    rules = make_rules(problem, registry)
    with pytest.raises(PluginError, match=r"plugin 'late'.*a time of 't@0>g1'.*absent"):
        ScheduleModel(evolve(rules, constraints=(*rules.constraints, _LateArrivals())))
    ScheduleModel(evolve(rules, constraints=(*rules.constraints, _LateArrivals(guarded=True))))
