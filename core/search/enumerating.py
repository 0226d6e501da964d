"""The step that enumerates: where a problem is tasks with delays and no more, all of its orders."""

from __future__ import annotations

from parplan.plans import Bound
from parplan.search.enumeration.delay_graph import LATEST, as_delay_graph
from parplan.search.enumeration.racing import Race
from parplan.search.enumeration.schedules import schedule_of
from parplan.search.objective_bounds import is_makespan
from parplan.search.run import Run

SOURCE = "enumeration"
"""What schedules and bounds of this step go by."""


def enumerate_schedules(run: Run, until: float) -> None:
    """Enumerate the schedules of a small problem of tasks with delays, if it is one.

    It leaves a bound in any case. Other problems are left as they are
    (``enumeration.delay_graph.as_delay_graph`` says which), and so are those in which every
    operator has one place: what decides makespans knows more of these.
    """
    if run.placer.is_fixed or not (run.is_open and is_makespan(run.problem)):
        return
    graph = as_delay_graph(run.problem, run.rules)
    if graph is None:
        return
    run.incumbent.tell(SOURCE)
    known = run.incumbent.schedule
    race = Race.of(graph, LATEST if known is None else known.makespan - 1)
    for sequence in race.run(until):
        run.incumbent.offer(schedule_of(run.problem, run.rules.allowed, sequence), SOURCE)
        if not run.is_open:
            return
    shortest = race.least * run.problem.tick_s
    run.incumbent.add_bounds([Bound(shortest, "problem", SOURCE, claimed=True)])
