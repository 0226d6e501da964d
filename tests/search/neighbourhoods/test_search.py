"""Parts of a schedule done again: whatever is found is a plan, and better; anyone may say which."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parplan import clock
from parplan.checking import check_schedule
from parplan.contracts import Freedom, Neighbourhood, SolveOptions, Termination
from parplan.errors import InfeasibleError, PluginError
from parplan.hooks import hookimpl
from parplan.model.schedule_model import ModelOptions, ScheduleModel
from parplan.options import SearchOptions
from parplan.plans import Bound
from parplan.plugins.manager import load_registry
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import Rules, make_rules
from parplan.schedule import Schedule
from parplan.search.incumbent import Incumbent
from parplan.search.neighbourhoods.freezing import frozen_model
from parplan.search.neighbourhoods.search import search_neighbourhoods
from tests.differential.generators import declarations, examples, small_problems
from tests.differential.solving import by_cp_sat, by_highs, optimum, with_declared
from tests.search.assigning.test_loop import diamond

OPTIONS = SolveOptions(time_limit_s=30.0, workers=1)


def _first(rules: Rules) -> Schedule | None:
    """Return any schedule, with pauses where the solver leaves them; None if there is none."""
    try:
        model = ScheduleModel(rules, ModelOptions())
    except InfeasibleError:
        return None
    answer = by_cp_sat(model, SolveOptions(time_limit_s=30.0, gap=0.99, workers=1))
    return model.extract(answer.values) if answer.values else None


@settings(max_examples=examples(25), suppress_health_check=list(HealthCheck))
@given(data=st.data(), problem=small_problems(5, 3, 8))
def test_what_is_not_freed_stays_and_what_is_found_is_a_plan(
    data: st.DataObject, problem: Problem
) -> None:
    registry = load_registry(installed=False)
    drawn = data.draw(declarations(problem)) if data.draw(st.booleans()) else ()
    rules = with_declared(problem, registry, drawn)
    schedule = _first(rules)
    if schedule is None:
        return
    name = data.draw(st.sampled_from(sorted(registry.neighbourhoods)))
    random, size = Random(data.draw(st.integers(0, 99))), data.draw(st.integers(1, 6))
    freedom = registry.neighbourhoods[name].value.free((schedule,), rules, size, random)
    if freedom is None:
        return
    model = frozen_model(rules, schedule, freedom, 1, schedule.makespan)
    answer = by_cp_sat(model, OPTIONS)
    assert answer.termination is Termination.OPTIMAL  # the schedule itself is among its own
    found = model.extract(answer.values)
    assert check_schedule(found, rules) == ()
    assert found.makespan <= schedule.makespan
    group = problem.workload.group
    for key, row in schedule.row_of.items():
        new = int(found.tasks.alternative[found.row_of[key]])
        old = int(schedule.tasks.alternative[row])
        assert new == old or new in freedom.choices[key[0], group(key[1])]


class Everything(Neighbourhood):
    """Frees all there is."""

    name: ClassVar[str] = "everything"

    def free(
        self, elite: Sequence[Schedule], rules: Rules, size: int, random: Random
    ) -> Freedom | None:
        """Return all alternatives of all operators."""
        rows = rules.allowed_by_group
        return Freedom({(o, h): r for o, by in enumerate(rows) for h, r in enumerate(by)})


class Broken(Everything):
    """Raises."""

    name: ClassVar[str] = "broken"

    def free(
        self, elite: Sequence[Schedule], rules: Rules, size: int, random: Random
    ) -> Freedom | None:
        """Raise."""
        raise KeyError("elite")


class Plugin:
    """A third party's plugin."""

    def __init__(self, neighbourhood: Neighbourhood) -> None:
        self.neighbourhood = neighbourhood

    @hookimpl
    def parplan_neighbourhoods(self) -> list[Neighbourhood]:
        """Give it."""
        return [self.neighbourhood]


def _improved(registry: Registry, names: set[str]) -> Incumbent:
    rules = make_rules(diamond(), registry)
    incumbent = Incumbent(rules)
    slow = ScheduleModel(rules, assignment=dict.fromkeys([(o, 0) for o in range(4)], 1))
    incumbent.offer(slow.extract(by_highs(slow, OPTIONS).values), "all on the slow device")
    least = optimum(rules, by_cp_sat)
    assert least is not None
    incumbent.add_bounds([Bound(float(least))])
    kinds = {k: v for k, v in registry.neighbourhoods.items() if k in names}
    options, until = SearchOptions(time_limit_s=60.0, workers=1), clock.now() + 60.0
    solver = registry.solvers["highs"].value
    search_neighbourhoods(rules, kinds, solver, options, incumbent, (), until)
    return incumbent


def test_a_plugin_of_others_finds_what_it_frees() -> None:
    registry = load_registry([Plugin(Everything())], installed=False)
    incumbent = _improved(registry, {"everything"})
    assert incumbent.gap == 0
    assert incumbent.found_by == "neighbourhood everything"
    assert incumbent.rejected == []


def test_an_error_of_a_neighbourhood_names_it() -> None:
    registry = load_registry([Plugin(Broken())], installed=False)
    with pytest.raises(PluginError, match="KeyError") as caught:
        _improved(registry, {"broken"})
    assert (caught.value.plugin, caught.value.hook) == ("broken", "free")
