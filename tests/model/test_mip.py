from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import attrs
import pyomo.environ as pyo
import pytest

from parplan.contracts import Answer, SolveOptions, Termination
from parplan.errors import SolverError
from parplan.model.blocks import RuleBlock
from parplan.model.mip import NAME, lowered
from parplan.model.schedule_model import ScheduleModel
from parplan.model.terms import Interval, instant, lasting
from parplan.plugins.solvers.mip import Highs, solve_here
from parplan.registry import Registry
from parplan.rules import make_rules
from tests.examples import chain


def _model() -> tuple[Any, RuleBlock]:
    """Return a model with an empty Block of a rule."""
    model = pyo.ConcreteModel()
    model.rule = RuleBlock("rule")
    return model, model.rule


def _minimize_makespan(model: Any, intervals: Iterable[Interval], horizon: int = 50) -> None:
    model.makespan = pyo.Var(domain=pyo.Integers, bounds=(0, horizon))
    model.objective = pyo.Objective(expr=model.makespan)
    for interval in intervals:
        model.rule.before(interval, instant("end", model.makespan))


def _solve(model: Any) -> Answer:
    options = SolveOptions(time_limit_s=30, workers=1)
    return solve_here(None, model, options, adapter=Highs.adapter, name="highs")


def _intervals(block: RuleBlock, sizes: list[int], horizon: int = 50) -> list[Interval]:
    return [lasting(f"i{n}", block.time(f"s{n}", 0, horizon), size) for n, size in enumerate(sizes)]


def test_three_equal_starts_do_not_hide_from_each_other() -> None:
    # Each two fit (6 <= 7), all three do not (9 > 7): every one of them sees another start at
    # the same time, so the one that counts them all must be the same for all.
    model, block = _model()
    starts = [block.time(f"s{n}", 0, 0) for n in range(3)]
    block.cumulative("level", [lasting("i", s, 5) for s in starts], [3, 3, 3], 7)
    _minimize_makespan(model, [])
    assert _solve(model).termination is Termination.INFEASIBLE


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_equal_starts_are_counted_in_any_order_of_intervals_and_precedences(
    order: tuple[int, ...],
) -> None:
    # A precedence of starts (2 before 0) must not break the order that settles ties.
    model, block = _model()
    starts = [block.time(f"s{n}", 0, 20) for n in range(3)]
    items = [lasting(f"i{n}", starts[n], 5) for n in order]
    block.before(instant("two", starts[2]), instant("zero", starts[0]))
    block.cumulative("level", items, [3, 3, 3], 7)
    _minimize_makespan(model, items)
    assert _solve(model).objective == 10


def test_an_absent_interval_asks_nothing_of_its_times() -> None:
    # Five ticks do not fit into [0, 3]: it must be absent, and that must be possible.
    model, block = _model()
    start, end, on = block.time("s", 0, 3), block.time("e", 0, 3), block.binary("on")
    other = lasting("other", block.time("t", 0, 3), 3)
    hold = Interval("hold", start, end, None, on)
    block.before(lasting("long", start, 5, on), instant("limit", 3))
    block.cumulative("level", [hold, other], [2, 1], 2)
    _minimize_makespan(model, [other])
    model.objective.set_value(model.makespan - 10 * on)
    answer = _solve(model)
    assert answer.termination is Termination.OPTIMAL
    assert answer.values[on.name] == 0


def test_what_lasts_nothing_takes_nothing_of_a_full_resource() -> None:
    model, block = _model()
    long = lasting("long", block.time("s", 0, 0), 10)
    at = block.time("t", 5, 5)
    empty = Interval("empty hold", at, block.time("u", 5, 20))
    block.cumulative("level", [long, empty, instant("empty", at)], [1, 1, 1], 1)
    _minimize_makespan(model, [long, empty])
    answer = _solve(model)
    assert answer.objective == 10
    assert answer.values[empty.end.name] == 5


def test_a_chain_of_zero_length_passes_through_a_full_instant() -> None:
    # What ends at 5 is free at 5, before and after everything of length zero there.
    model, block = _model()
    one = lasting("one", block.time("a", 0, 0), 5)
    two = lasting("two", block.time("b", 0, 20), 5)
    middle = lasting("middle", block.time("m", 0, 20), 0)
    block.before(one, middle)
    block.before(middle, two)
    block.cumulative("level", [one, middle, two], [1, 1, 1], 1)
    _minimize_makespan(model, [two])
    assert _solve(model).objective == 10


def test_alternatives_share_one_order_binary_per_pair(registry: Registry) -> None:
    rules = make_rules(attrs.evolve(chain(4, devices=3, microbatches=2, size=0)), registry)
    model = ScheduleModel(rules)
    with lowered(model.pyomo) as low:
        orders = [name for name in low.block.component("literals") if " < " in name]
    # 8 tasks are 28 pairs, of which 12 follow by precedence; three devices add none.
    assert len(orders) == 28 - 12


def test_exclusive_alternatives_on_one_resource_are_not_ordered() -> None:
    model, block = _model()
    start, other = block.time("s", 0, 20), lasting("other", block.time("t", 0, 20), 4)
    ways = [block.binary("fast"), block.binary("slow")]
    items = [lasting(f"way {n}", start, 2 + n, x) for n, x in enumerate(ways)]
    block.at_most_one(ways)
    block.row(ways[0] + ways[1] == 1)
    block.no_overlap("device", [*items, other])
    _minimize_makespan(model, [*items, other])
    assert _solve(model).objective == 6


def test_two_that_may_both_be_present_with_one_start_exclude_each_other() -> None:
    model, block = _model()
    start, ways = block.time("s", 0, 20), [block.binary("a"), block.binary("b")]
    block.no_overlap("device", [lasting(x.name, start, 2, x) for x in ways])
    _minimize_makespan(model, [])
    model.objective.set_value(-ways[0] - ways[1])
    assert _solve(model).objective == -1


def test_the_load_of_a_machine_bounds_the_relaxation() -> None:
    model, block = _model()
    items = _intervals(block, [3, 4, 5])
    block.no_overlap("machine", items)
    _minimize_makespan(model, items)
    with lowered(model):
        for v in model.component_data_objects(pyo.Var):
            v.domain = pyo.Reals
        answer = Highs.adapter.solve(model, SolveOptions(workers=1), warm=False)
    assert answer.objective == pytest.approx(12)


def test_an_impossible_level_without_variables_is_infeasible() -> None:
    model, block = _model()
    block.cumulative("memory", [Interval("all", 0, 10, 10)], [3], 2)
    _minimize_makespan(model, _intervals(block, [1]))
    assert _solve(model).termination is Termination.INFEASIBLE


def test_the_model_is_left_as_it_was() -> None:
    model, block = _model()
    block.no_overlap("machine", _intervals(block, [3, 4]))
    with lowered(model):
        assert model.component(NAME) is not None
    assert model.component(NAME) is None


def test_a_time_without_bounds_is_refused_by_name() -> None:
    model, block = _model()
    block.free = pyo.Var(domain=pyo.Integers)
    block.no_overlap("machine", [lasting("i", block.free, 1), *_intervals(block, [2])])
    with (
        pytest.raises(SolverError, match=r"free.*rule 'rule'.*without finite bounds"),
        lowered(model),
    ):
        pass


def test_a_resource_with_too_many_intervals_is_refused_by_name() -> None:
    model, block = _model()
    start = block.time("s", 0, 9)
    block.cumulative("memory", [lasting("i", start, 1)] * 700, [1] * 700, 3)
    with pytest.raises(SolverError, match=r"'memory' of 'rule'.*700 intervals"), lowered(model):
        pass


def test_a_deactivated_block_takes_its_terms_with_it() -> None:
    model, block = _model()
    items = _intervals(block, [3, 4])
    _minimize_makespan(model, items)
    model.other = RuleBlock("other")
    model.other.no_overlap("machine", items)
    assert _solve(model).objective == 7
    model.other.deactivate()
    assert _solve(model).objective == 4
