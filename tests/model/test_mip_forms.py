"""Every form of the MIP has the same optima as CP-SAT, or names what it cannot take."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pyomo.environ as pyo
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from benchmarks.jobshop import job_shop
from parplan.contracts import Answer, SolveOptions, Termination
from parplan.errors import SolverError
from parplan.model.blocks import RuleBlock
from parplan.model.mip import NAME, lowered
from parplan.model.schedule_model import ScheduleModel
from parplan.model.terms import Interval, lasting
from parplan.options import MipForm, MipProducts
from parplan.plugins.solvers.mip import Highs, solve_here
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from tests.differential.generators import examples, small_problems
from tests.differential.solving import UnprovenError, by_cp_sat, optimum
from tests.search.critical_blocks.shops import random_jobs

QUIET = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]
LIMIT_S = 20.0


class RefusedError(Exception):
    """A form does not take the model."""


def by(
    form: MipForm = MipForm.DISJUNCTIVE, products: MipProducts = MipProducts.SEPARATE
) -> Callable[[ScheduleModel, SolveOptions], Answer]:
    """Return a solve by HiGHS under a form."""

    def solve(model: ScheduleModel, options: SolveOptions) -> Answer:
        given = attrs.evolve(options, form=form, products=products)
        answer = solve_here(None, model.pyomo, given, adapter=Highs.adapter, name="highs")
        if answer.termination is Termination.REFUSED:
            assert "has no fixed length" in answer.message
            raise RefusedError(answer.message)
        return answer

    return solve


@pytest.mark.parametrize("form", MipForm)
@pytest.mark.parametrize("seed", range(3))
def test_job_shops_have_the_same_optimum_in_every_form(
    form: MipForm, seed: int, registry: Registry
) -> None:
    rules = make_rules(job_shop("shop", random_jobs(3, 3, seed)), registry)
    assert optimum(rules, by(form), LIMIT_S) == optimum(rules, by_cp_sat, LIMIT_S)


@settings(max_examples=examples(12), deadline=None, suppress_health_check=QUIET)
@given(
    problem=small_problems(max_operators=4, max_devices=2, max_tasks=5),
    products=st.sampled_from(MipProducts),
    form=st.sampled_from([MipForm.DISJUNCTIVE, MipForm.TIME_INDEXED]),
)
def test_free_placements_have_the_same_optimum_with_all_products(
    registry: Registry, problem: Problem, products: MipProducts, form: MipForm
) -> None:
    rules = make_rules(problem, registry)
    try:
        found = optimum(rules, by(form, products), LIMIT_S)
    except RefusedError:  # memory is held for a time that is not fixed
        event(f"{form} refuses")
        return
    except UnprovenError:
        return
    assert found == optimum(rules, by_cp_sat, LIMIT_S)


def _start() -> pyo.Var:
    return pyo.Var(domain=pyo.Integers, bounds=(0, 9))


@pytest.mark.parametrize("form", [MipForm.RANK_BASED, MipForm.TIME_INDEXED])
def test_a_form_names_what_it_cannot_take(form: MipForm) -> None:
    model = pyo.ConcreteModel()
    model.a, model.b, model.end = _start(), _start(), _start()
    model.on = pyo.Var(domain=pyo.Binary)
    model.rule = RuleBlock("rule")
    model.rule.no_overlap(
        "engine", [lasting("a", model.a, 2), Interval("hold", model.b, model.end)]
    )
    with pytest.raises(SolverError, match=f"{form} form cannot take 'engine' of .*rule.*'hold'"):
        _lower(model, form)


def test_a_rank_is_for_what_surely_runs_alone() -> None:
    model = pyo.ConcreteModel()
    model.a, model.b = _start(), _start()
    model.on = pyo.Var(domain=pyo.Binary)
    model.rule = RuleBlock("rule")
    model.rule.no_overlap("engine", [lasting("a", model.a, 2), lasting("b", model.b, 2, model.on)])
    with pytest.raises(
        SolverError, match=r"rank-based form cannot take 'engine'.*'b' may be absent"
    ):
        _lower(model, MipForm.RANK_BASED)
    model.rule.deactivate()
    model.other = RuleBlock("other")
    both = [lasting("a", model.a, 2), lasting("b", model.b, 2)]
    model.other.cumulative("level", both, [1, 1], 1)
    with pytest.raises(SolverError, match=r"cannot take 'level'.*at the same time"):
        _lower(model, MipForm.RANK_BASED)


def test_what_is_too_large_for_a_form_is_refused_before_it_is_written() -> None:
    model = pyo.ConcreteModel()
    model.starts = pyo.Var(range(2), domain=pyo.Integers, bounds=(0, 10**6))
    model.rule = RuleBlock("rule")
    model.rule.no_overlap("engine", [lasting("i", model.starts[n], 9) for n in range(2)])
    with pytest.raises(SolverError, match=r"'engine' of .* reaches over too many ticks"):
        _lower(model, MipForm.TIME_INDEXED)
    _lower(model, MipForm.RANK_BASED)
    assert model.component(NAME) is None


def _lower(model: pyo.ConcreteModel, form: MipForm) -> None:
    with lowered(model, form):
        pass


@pytest.mark.parametrize("form", MipForm)
def test_a_start_from_a_schedule_is_complete_and_holds(form: MipForm, registry: Registry) -> None:
    rules = make_rules(job_shop("shop", random_jobs(3, 3, 5)), registry)
    model = ScheduleModel(rules)
    best = by_cp_sat(model, SolveOptions(workers=1))
    start = model.warm_start(model.extract(best.values))
    options = SolveOptions(time_limit_s=LIMIT_S, workers=1, cutoff=best.objective, form=form)
    answer = solve_here(None, model.pyomo, options, start, adapter=Highs.adapter, name="highs")
    assert answer.termination is Termination.OPTIMAL
    assert answer.objective == best.objective


@pytest.mark.parametrize("products", [MipProducts.STANDARD, MipProducts.RLT, MipProducts.COMPACT])
def test_a_product_is_one_where_both_are(products: MipProducts) -> None:
    # Two choices of two: a row that holds for the pair (a1, b1) alone keeps 5 ticks between.
    for pair in ((0, 0), (0, 1), (1, 0), (1, 1)):
        model = pyo.ConcreteModel()
        model.early, model.late = _start(), _start()
        model.x = pyo.Var(range(4), domain=pyo.Binary)
        model.rule = RuleBlock("rule")
        for side in ((0, 1), (2, 3)):
            model.rule.row(model.x[side[0]] + model.x[side[1]] == 1)
            model.rule.at_most_one([model.x[i] for i in side], exactly=True)
        first = lasting("first", model.early, 1, model.x[1])
        model.rule.before(first, lasting("second", model.late, 1, model.x[3]), 4)
        model.x[pair[0]].fix(1)
        model.x[2 + pair[1]].fix(1)
        model.objective = pyo.Objective(expr=model.late)
        options = SolveOptions(time_limit_s=LIMIT_S, workers=1, products=products)
        answer = solve_here(None, model, options, adapter=Highs.adapter, name="highs")
        assert answer.objective == (5 if pair == (1, 1) else 0)


def test_unequal_choices_have_as_many_products_as_pairs() -> None:
    counts = {}
    for products in MipProducts:
        model = pyo.ConcreteModel()
        model.early, model.late = _start(), _start()
        model.x = pyo.Var(range(5), domain=pyo.Binary)
        model.rule = RuleBlock("rule")
        model.rule.at_most_one([model.x[0], model.x[1]], exactly=True)
        model.rule.at_most_one([model.x[2], model.x[3], model.x[4]], exactly=True)
        first = lasting("first", model.early, 1, model.x[1])
        model.rule.before(first, lasting("second", model.late, 1, model.x[3]), 4)
        with lowered(model, products=products) as low:
            fractions = low.block.component("fractions")
            rows = len(low.block.component("rows"))
            counts[products] = (0 if fractions is None else len(fractions), rows)
    # The precedence; then 3, 2 + 3, and 2 + 3 + 6 x 3 rows of products.
    assert counts == {
        MipProducts.SEPARATE: (0, 1),
        MipProducts.STANDARD: (1, 4),
        MipProducts.COMPACT: (6, 6),
        MipProducts.RLT: (6, 24),
    }
