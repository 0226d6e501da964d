"""The incumbent takes only what passes the check, and tells whatever it drops."""

from __future__ import annotations

import attrs
import pytest

from parplan.contracts import Progress
from parplan.plans import Bound
from parplan.problem import Rule
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.schedule import Schedule
from parplan.search.incumbent import Incumbent
from tests.examples import chain, placed


def _incumbent(schedule: Schedule, registry: Registry) -> tuple[Incumbent, list[Progress]]:
    told: list[Progress] = []
    return Incumbent(make_rules(schedule.problem, registry), told.append), told


def _later(schedule: Schedule, ticks: int) -> Schedule:
    tasks = attrs.evolve(schedule.tasks, start=schedule.tasks.start + ticks)
    moves = attrs.evolve(schedule.transfers, start=schedule.transfers.start + ticks)
    return attrs.evolve(schedule, tasks=tasks, transfers=moves)


def test_a_wrong_schedule_is_dropped_and_told(registry: Registry) -> None:
    right = placed(chain(2))
    wrong = attrs.evolve(right, tasks=attrs.evolve(right.tasks, start=[0, 0]))
    incumbent, told = _incumbent(right, registry)
    assert not incumbent.offer(wrong, "somebody")
    assert incumbent.schedule is None
    assert incumbent.rejections()[0]["found_by"] == "somebody"
    assert "a schedule of somebody was dropped" in told[-1].message
    assert incumbent.offer(right, "another")
    assert (incumbent.values, incumbent.found_by) == ((2.0,), "another")


def test_only_what_is_better_is_taken(registry: Registry) -> None:
    schedule = placed(chain(2))
    incumbent, _ = _incumbent(schedule, registry)
    assert incumbent.offer(_later(schedule, 3), "first")
    assert not incumbent.offer(_later(schedule, 3), "same")
    assert not incumbent.offer(_later(schedule, 4), "worse")
    assert incumbent.offer(schedule, "better")
    assert [by for _, _, by in incumbent.history] == ["first", "better"]


def test_later_objectives_decide_where_the_first_are_equal(registry: Registry) -> None:
    problem = attrs.evolve(chain(2, devices=2), objectives=(Rule("traffic"), Rule("makespan")))
    together, apart = placed(problem), placed(problem, o1="g1")
    incumbent, _ = _incumbent(together, registry)
    assert incumbent.offer(apart, "apart")
    assert incumbent.offer(_later(together, 5), "together, late")  # no traffic, but longer
    assert incumbent.offer(together, "together")
    assert not incumbent.offer(apart, "apart again")
    assert incumbent.values == (0.0, 2.0)


@pytest.mark.parametrize("claimed", [True, False])
def test_a_bound_beyond_the_incumbent_is_dropped(claimed: bool, registry: Registry) -> None:
    schedule = placed(chain(2))
    incumbent, told = _incumbent(schedule, registry)
    incumbent.offer(schedule, "list")
    incumbent.add_bounds([Bound(1.5, source="honest"), Bound(2.5, source="liar", claimed=claimed)])
    assert [b.source for b in incumbent.bounds] == ["honest"]
    assert incumbent.failures == [("liar", "its bound of 2.5 is refuted by a plan of 2")]
    assert any(news.stage == "liar" and "refuted" in news.message for news in told)
    assert incumbent.gap == 0.25


def test_a_bound_is_dropped_when_a_later_plan_refutes_it(registry: Registry) -> None:
    schedule = placed(chain(2))
    incumbent, _ = _incumbent(schedule, registry)
    incumbent.offer(_later(schedule, 3), "late")
    incumbent.add_bounds([Bound(4.0, source="liar", claimed=True)])
    assert incumbent.gap == pytest.approx(0.2)
    incumbent.offer(schedule, "better")
    assert incumbent.bound is None
    assert incumbent.gap == float("inf")


def test_bounds_of_a_restriction_never_enter_the_gap(registry: Registry) -> None:
    schedule = placed(chain(2))
    incumbent, _ = _incumbent(schedule, registry)
    incumbent.offer(schedule, "list")
    incumbent.add_bounds([Bound(2.0, scope="this placement")])
    assert incumbent.bound is None


def test_bounds_of_what_is_maximised_are_above(registry: Registry) -> None:
    problem = attrs.evolve(chain(2), objectives=(Rule("throughput"),))
    schedule = placed(problem)
    incumbent, _ = _incumbent(schedule, registry)
    assert incumbent.offer(schedule, "list")
    value = incumbent.values[0]
    incumbent.add_bounds([Bound(value * 2), Bound(value * 1.5), Bound(value / 2, source="liar")])
    assert incumbent.bound is not None
    assert incumbent.bound.value == value * 1.5
    assert [stage for stage, _ in incumbent.failures] == ["liar"]


def test_a_solvers_own_news_never_hide_what_is_proven(registry: Registry) -> None:
    schedule = placed(chain(2))
    incumbent, told = _incumbent(schedule, registry)
    incumbent.offer(schedule, "list")
    incumbent.add_bounds([Bound(1.5)])
    incumbent.hear("solver", None, 1.0)
    assert (told[-1].incumbent, told[-1].bound) == (2.0, 1.5)
    incumbent.hear("solver", 1.9, None)
    assert (told[-1].incumbent, told[-1].bound) == (1.9, 1.5)


def test_nothing_is_told_where_nobody_listens(registry: Registry) -> None:
    schedule = placed(chain(1))
    incumbent = Incumbent(make_rules(schedule.problem, registry))
    incumbent.offer(schedule, "list")
    incumbent.hear("solver", 1.0, 1.0)
    incumbent.fail("stage", "went wrong")
    assert incumbent.failures == [("stage", "went wrong")]
