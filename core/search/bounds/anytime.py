"""The bound of exact machines with all the time there is: larger and larger, until a deadline."""

from __future__ import annotations

from collections.abc import Iterator

from parplan import clock
from parplan.plans import Bound
from parplan.problem import Problem
from parplan.rules import Rules
from parplan.search.bounds.destructive import refuted_makespans
from parplan.search.bounds.instance import Assignment, compile_instance
from parplan.search.bounds.paths import find_windows
from parplan.search.bounds.propagation import EffortSpentError
from parplan.search.bounds.streams import MOST_TASKS, find_streams
from parplan.search.bounds.sure import Sure

MOST_STATES = 3_000_000
"""Of a machine that is kept exactly; one with more is left out."""


MOST_SETS = 100_000
"""The same where there is one microbatch: the states are then all sets of the machine's tasks, and
more of them gain less than a solver does in the same time."""


def machine_bounds(
    problem: Problem,
    rules: Rules,
    assignment: Assignment | None,
    known: float,
    target: float | None,
    deadline: float,
) -> Iterator[Bound]:
    """Yield lower bounds of the makespan, each better than the one before.

    They depend on the clock, so they are ``claimed``: a checker may need as long to find them.
    None is yielded where nothing surely runs on one machine.

    Parameters
    ----------
    assignment
        As in ``bounds_for_assignment``; the bounds then have the scope ``"assignment"``.
    known
        A bound to start from, in seconds.
    target
        The makespan of the best schedule known, in seconds; the bounds end there.
    deadline
        Instant of ``parplan.clock`` at which to end.
    """
    if problem.task_count > MOST_TASKS or clock.now() >= deadline:
        return
    streams = find_streams(Sure(find_windows(compile_instance(problem, rules, assignment))))
    if streams is None:
        return

    def spend(_: int) -> None:
        if clock.now() > deadline:
            raise EffortSpentError

    floor = max(round(known / problem.tick_s), 1)
    ceiling = None if target is None else round(target / problem.tick_s)
    scope = "problem" if assignment is None else "assignment"
    most = MOST_STATES if problem.workload.microbatches > 1 else MOST_SETS
    for ticks in refuted_makespans(streams, floor, ceiling, most, spend, shaving=True):
        yield Bound(ticks * problem.tick_s, scope, "exact machines, shaved", claimed=True)
