"""Forms of the MIP compared: the same optimum in each, and the model left as it was."""

from __future__ import annotations

import pyomo.environ as pyo

from benchmarks.cases import Context
from benchmarks.mip_forms import cases, free_graph, shop_case, sizes
from parplan.contracts import SolveOptions
from parplan.model.mip import NAME
from parplan.model.schedule_model import ScheduleModel
from parplan.options import MipForm, MipProducts
from parplan.registry import Registry
from parplan.rules import make_rules


def test_every_form_has_a_case_on_every_problem() -> None:
    names = [case.name for case in cases()]
    assert len(names) == len(set(names)) == 3 * len(MipForm) + 2 * len(MipProducts)
    assert {name.partition("/")[0] for name in names} == {"mip-forms"}


def test_forms_agree_and_tell_their_size() -> None:
    found = {form: shop_case(3, 2, form, Context(None, 30.0)) for form in MipForm}
    assert len({outcome.value for outcome in found.values()}) == 1
    for outcome in found.values():
        assert outcome.value == outcome.bound
        assert outcome.details["relaxation"] <= outcome.value
    columns = {form: outcome.details["columns"] for form, outcome in found.items()}
    assert columns[MipForm.DISJUNCTIVE] < columns[MipForm.RANK_BASED]
    assert columns[MipForm.RANK_BASED] < columns[MipForm.TIME_INDEXED]


def test_a_relaxation_leaves_the_model_as_it_was(registry: Registry) -> None:
    model = ScheduleModel(make_rules(free_graph(4), registry)).pyomo
    variables = list(model.component_data_objects(pyo.Var))
    before = [(v.domain.name, v.bounds) for v in variables]
    found = sizes(model, SolveOptions(workers=1, products=MipProducts.RLT))
    assert model.component(NAME) is None
    assert [(v.domain.name, v.bounds) for v in variables] == before
    assert found["columns"] > len(variables)
