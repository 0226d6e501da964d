from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyomo.environ as pyo
import pytest
from pyomo.contrib.cp import (
    AlwaysIn,
    IntervalVar,
    Pulse,
    SequenceVar,
    Step,
    alternative,
    no_overlap,
    spans,
    synchronize,
)

from parplan.contracts import Answer, SolveOptions
from parplan.errors import PluginError
from parplan.model.blocks import RuleBlock
from parplan.model.cp_bridge import bridge
from parplan.plugins.solvers import cp_sat
from parplan.plugins.solvers.mip import Cbc, Highs, solve_here

HORIZON = 30


def by_cp_sat(model: Any) -> Answer:
    return cp_sat.solve_here(None, model, SolveOptions(time_limit_s=30, workers=1))


def by_highs(model: Any) -> Answer:
    options = SolveOptions(time_limit_s=30, workers=1)
    return solve_here(None, model, options, adapter=Highs.adapter, name="highs")


both = pytest.mark.parametrize("solve", [by_cp_sat, by_highs])


def _model(count: int, length: Any = 3, *, optional: bool = False) -> tuple[Any, Any, list[Any]]:
    """Return a model, the Block of a rule in it, and intervals that end by the makespan."""
    model = pyo.ConcreteModel()
    model.makespan = pyo.Var(domain=pyo.Integers, bounds=(0, HORIZON))
    model.objective = pyo.Objective(expr=model.makespan)
    model.rule = block = RuleBlock("visits")
    block.visit = IntervalVar(
        range(count), start=(0, HORIZON), end=(0, HORIZON), length=length, optional=optional
    )
    visits = [block.visit[n] for n in range(count)]
    if not optional:
        block.ends = pyo.Constraint(
            range(count), rule=lambda b, n: b.visit[n].end_time <= model.makespan
        )
    return model, block, visits


@both
def test_a_sequence_without_overlap(solve: Callable[[Any], Answer]) -> None:
    model, block, visits = _model(3)
    block.order = SequenceVar(expr=visits)
    block.apart = pyo.LogicalConstraint(expr=no_overlap(block.order))
    bridge(block, HORIZON)
    assert solve(model).objective == 9


@both
def test_before_after_and_at_with_delays(solve: Callable[[Any], Answer]) -> None:
    model, block, (a, b, c) = _model(3)
    block.one = pyo.LogicalConstraint(expr=a.end_time.before(b.start_time, delay=2))
    block.two = pyo.LogicalConstraint(expr=c.start_time.after(b.end_time, delay=1))
    block.three = pyo.LogicalConstraint(expr=a.start_time.at(c.start_time, delay=12))
    bridge(block, HORIZON)
    assert solve(model).objective == 15


@both
def test_pulses_within_a_capacity(solve: Callable[[Any], Answer]) -> None:
    model, block, visits = _model(3)
    level = sum((Pulse((v, 2)) for v in visits[1:]), Pulse((visits[0], 2)))
    block.level = pyo.LogicalConstraint(expr=level.within(bounds=(0, 4), times=(0, HORIZON)))
    bridge(block, HORIZON)
    assert solve(model).objective == 6


@both
def test_exactly_one_alternative_and_its_times(solve: Callable[[Any], Answer]) -> None:
    model, block, (main,) = _model(1, length=(0, HORIZON))
    block.way = IntervalVar([0, 1], start=(2, HORIZON), end=(0, HORIZON), optional=True)
    for n, size in enumerate((7, 5)):
        block.way[n].length.fix(size)
    block.choice = pyo.LogicalConstraint(expr=alternative(main, [block.way[0], block.way[1]]))
    bridge(block, HORIZON)
    assert solve(model).objective == 7


@both
def test_presences_and_rows_over_them(solve: Callable[[Any], Answer]) -> None:
    model, block, visits = _model(3, optional=True)
    a, b, c = (v.is_present for v in visits)
    block.some = pyo.LogicalConstraint(expr=a.lor(b))
    block.then = pyo.LogicalConstraint(expr=a.implies(c))
    block.never = pyo.LogicalConstraint(expr=pyo.lnot(c))
    bridge(block, HORIZON)
    model.objective.set_value(
        sum((n + 1) * v.is_present.get_associated_binary() for n, v in enumerate(visits))
    )
    assert solve(model).objective == 2  # a needs c, which is away: b


@both
def test_an_absent_interval_need_not_fit_its_times(solve: Callable[[Any], Answer]) -> None:
    model = pyo.ConcreteModel()
    model.rule = block = RuleBlock("visits")
    block.x = IntervalVar(start=(0, 2), end=(0, 2), length=5, optional=True)
    bridge(block, HORIZON)
    present = block.x.is_present.get_associated_binary()
    model.objective = pyo.Objective(expr=-present)
    answer = solve(model)
    assert answer.objective == 0


def test_the_bridged_model_is_written_to_files_too() -> None:
    if Cbc.adapter.version() is None:
        pytest.skip(f"cbc is not installed; {Cbc.install}")
    model, block, (a, b) = _model(2)
    block.one = pyo.LogicalConstraint(expr=a.end_time.before(b.start_time))
    bridge(block, HORIZON)
    options = SolveOptions(time_limit_s=30, workers=1)
    assert solve_here(None, model, options, adapter=Cbc.adapter, name="cbc").objective == 6


def _refused(expression: Callable[[Any, list[Any]], Any]) -> str:
    _, block, visits = _model(3)
    block.odd = pyo.LogicalConstraint(expr=expression(block, visits))
    with pytest.raises(PluginError, match=r"rule\.odd") as caught:
        bridge(block, HORIZON)
    assert caught.value.plugin == "visits"
    return str(caught.value)


def test_what_has_no_term_is_refused_by_name() -> None:
    assert "Span" in _refused(lambda _, v: spans(v[0], [v[1], v[2]]))
    assert "Synchronize" in _refused(lambda _, v: synchronize(v[0], [v[1]]))
    assert "Step" in _refused(
        lambda _, v: AlwaysIn(
            cumul_func=Pulse((v[0], 1)) + Step(v[1].start_time, 1),
            bounds=(0, 2),
            times=(0, HORIZON),
        )
    )
    assert "the whole horizon" in _refused(
        lambda _, v: Pulse((v[0], 1)).within(bounds=(0, 2), times=(3, 5))
    )


def test_a_block_without_cp_is_left_alone() -> None:
    block = RuleBlock("plain")
    block.x = pyo.Var(bounds=(0, 1))
    block.limit = pyo.Constraint(expr=block.x <= 1)
    bridge(block, HORIZON)
    assert list(block.component_map()) == ["x", "limit"]
