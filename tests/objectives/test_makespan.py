"""The time of one flushed step."""

from __future__ import annotations

import attrs

from parplan.objectives.makespan import Makespan
from tests.examples import chain, placed


def test_makespan_is_the_end_of_the_last_task_in_seconds() -> None:
    problem = attrs.evolve(chain(3, seconds=0.5, microbatches=2), tick_s=0.25)
    assert Makespan().value(placed(problem)) == 3.0
