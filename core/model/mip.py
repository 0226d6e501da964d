"""Lowers recorded terms to linear rows and binaries, on a Block of their own, for any MIP solver.

How intervals of one resource keep apart is a form's matter (``parplan.model.mip_forms``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import frozen

from parplan.model.blocks import Definition, RuleBlock
from parplan.model.mip_forms.disjunctive import Disjunctive
from parplan.model.mip_forms.lowering import NAME as NAME
from parplan.model.mip_forms.lowering import Lowering
from parplan.model.mip_forms.rank_based import RankBased
from parplan.model.mip_forms.time_indexed import TimeIndexed
from parplan.options import MipForm, MipProducts
from parplan.system.collector import collector_paused

FORMS: Mapping[MipForm, type[Lowering]] = {
    form.form: form for form in (Disjunctive, RankBased, TimeIndexed)
}


@frozen(eq=False)
class Lowered:
    """What lowering has added to a model: its Block, and how its variables follow from others."""

    block: RuleBlock
    definitions: Sequence[tuple[Any, Definition]]


@contextmanager
def lowered(
    model: Any,
    form: MipForm = MipForm.DISJUNCTIVE,
    products: MipProducts = MipProducts.SEPARATE,
) -> Iterator[Lowered]:
    """Add a MIP form of the recorded terms to a Pyomo model, and take it away at the end.

    Raises
    ------
    SolverError
        If a term speaks of a time without finite bounds, is not known, is none that the form can
        take, or is too large for it.
    """
    lowering = FORMS[form](model, products)
    try:
        lowering.check_size()
        with collector_paused():
            lowering.lower()
        yield Lowered(lowering.block, lowering.definitions)
    finally:
        model.del_component(NAME)
