"""The checker accepts what is valid and names what is not."""

from __future__ import annotations

from hypothesis import given
from parplan.checking import check_schedule
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.schedule import Schedule

from tests.strategies import schedules


@given(schedule=schedules())
def test_valid_schedules_pass(schedule: Schedule, registry: Registry) -> None:
    assert check_schedule(schedule, make_rules(schedule.problem, registry)) == ()
