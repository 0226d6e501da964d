"""The exact model starts from what is known: the proven bound, the incumbent, and the form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import pytest

from parplan import clock
from parplan.contracts import (
    Answer,
    Availability,
    Capability,
    Report,
    SolveOptions,
    Solver,
    Termination,
)
from parplan.errors import InputError
from parplan.options import MipForm, MipProducts, SearchOptions
from parplan.plans import Bound
from parplan.registry import Registered, Registry
from parplan.rules import make_rules
from parplan.search.exact import choose, solve
from parplan.search.incumbent import Incumbent
from tests.examples import chain, placed


class Listener(Solver):
    """Takes note of what it is asked, and finds nothing."""

    name: ClassVar[str] = "listener"
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.MIP})

    def __init__(self) -> None:
        self.makespans: list[tuple[int, int]] = []
        self.options: list[SolveOptions] = []

    def probe(self) -> Availability:
        return Availability(True)

    def solve(
        self,
        model: Any,
        options: SolveOptions,
        warm_start: Mapping[str, float] | None = None,
        report: Report | None = None,
    ) -> Answer:
        self.makespans.append(model.makespan.bounds)
        self.options.append(options)
        return Answer(Termination.TIME_LIMIT, self.name)


def test_a_solver_is_told_bound_incumbent_and_form(registry: Registry) -> None:
    listener = Listener()
    registry = attrs.evolve(
        registry, solvers={"listener": Registered("listener", listener, "tests")}
    )
    problem = chain(3, devices=2, microbatches=2)
    rules = make_rules(problem, registry)
    incumbent = Incumbent(rules, None)
    schedule = placed(problem)
    assert incumbent.offer(schedule, "somebody")
    incumbent.add_bounds([Bound(4 * problem.tick_s, "problem", "a proof")])
    options = SearchOptions(
        solver="listener", mip_form=MipForm.RANK_BASED, mip_products=MipProducts.RLT
    )
    engine = choose(problem, rules, registry, options)
    solve(rules, registry, options, engine, incumbent, clock.now() + 60.0)
    assert listener.makespans[0] == (4, schedule.makespan)
    assert listener.options[0].form is MipForm.RANK_BASED
    assert listener.options[0].products is MipProducts.RLT


def test_a_form_is_not_for_a_solver_of_intervals(registry: Registry) -> None:
    problem = chain(2)
    options = SearchOptions(solver="cp-sat", mip_products=MipProducts.COMPACT)
    with pytest.raises(InputError, match="'cp-sat' has no forms of a MIP"):
        choose(problem, make_rules(problem, registry), registry, options)
    with pytest.raises(InputError, match="'rank' is none of disjunctive, rank-based"):
        SearchOptions(mip_form="rank")  # type: ignore[arg-type]  # as a user may write it
