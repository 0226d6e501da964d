"""A makespan decided for a problem: a bound above it, or the starts of a schedule that meets it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from attrs import frozen

from parplan import clock
from parplan.plans import Bound
from parplan.problem import Problem
from parplan.rules import Rules
from parplan.search.bounds.branching import decide_by_orders
from parplan.search.bounds.decision import Decision, decide, grain
from parplan.search.bounds.destructive import states_of_machines
from parplan.search.bounds.instance import Assignment, Instance, compile_instance, is_step
from parplan.search.bounds.paths import find_windows
from parplan.search.bounds.propagation import EffortSpentError, Windows, shrink, widest
from parplan.search.bounds.streams import Index, Streams, find_streams
from parplan.search.bounds.sure import Sure

MOST_STATES = 3_000_000
"""Of a machine that is kept exactly; one with more only bounds what CP-SAT is given."""


ORDERS_SHARE = 0.6
"""Part of the time for branching on orders; CP-SAT has what it leaves."""


@frozen(eq=False)
class Verdict:
    """What became known of a makespan; nothing if the time was too short.

    Attributes
    ----------
    bound
        A bound above the makespan, if no schedule meets it.
    starts
        The start in ticks of each (operator, microbatch) of a schedule that meets it, if one was
        found: -1 for what runs once per step. Rules other than precedence, single machines and
        memory on them may still forbid it.
    """

    bound: Bound | None = None
    starts: Mapping[tuple[int, int], int] | None = None


def decide_makespan(
    problem: Problem,
    rules: Rules,
    assignment: Assignment | None,
    makespan: float,
    deadline: float,
    workers: int = 1,
) -> Verdict:
    """Decide whether a schedule is at most ``makespan`` seconds long.

    Parameters
    ----------
    assignment
        As in ``bounds_for_assignment``; the bound then has the scope ``"assignment"``.
    deadline
        Instant of ``parplan.clock`` at which to end.
    workers
        Threads of CP-SAT.
    """
    instance = compile_instance(problem, rules, assignment)
    streams = find_streams(Sure(find_windows(instance)))
    if streams is None:
        return Verdict()

    def spend(_: int) -> None:
        if clock.now() > deadline:
            raise EffortSpentError

    unit = grain(streams)
    horizon = round(makespan / problem.tick_s) // unit * unit
    states = states_of_machines(streams, MOST_STATES)
    scope = "problem" if assignment is None else "assignment"
    value = (horizon + unit) * problem.tick_s
    try:
        windows = shrink(streams, widest(streams, states, horizon), spend)
    except EffortSpentError:
        return Verdict()
    if windows is None:
        return Verdict(Bound(value, scope, "exact machines", claimed=True))
    by_orders = _by_orders(streams, windows, deadline)
    decision = by_orders or _by_solver(streams, windows, deadline, workers)
    if decision is None:
        return Verdict()
    if decision.refuted:
        way = "branched" if by_orders else "CP-SAT"
        return Verdict(Bound(value, scope, f"exact machines, {way}", claimed=True))
    if decision.starts is None:
        return Verdict()
    return Verdict(starts=_by_task(instance, streams, decision.starts))


def _by_orders(streams: Streams, windows: Windows, deadline: float) -> Decision | None:
    """Branch on orders for a part of the time, if those of all machines can be listed."""
    if len(windows.states) < len(streams.machines):
        return None
    now = clock.now()
    until = now + ORDERS_SHARE * (deadline - now)

    def spend(_: int) -> None:
        if clock.now() > until:
            raise EffortSpentError

    try:
        return decide_by_orders(streams, windows, spend)
    except EffortSpentError:
        return None


def _by_solver(
    streams: Streams, windows: Windows, deadline: float, workers: int
) -> Decision | None:
    """Let CP-SAT decide in the time that is left, if it is installed."""
    try:
        return decide(streams, windows, deadline - clock.now(), workers)
    except ImportError:
        return None


def _by_task(instance: Instance, streams: Streams, starts: Index) -> dict[tuple[int, int], int]:
    """Return starts by operator and microbatch: alike ones in the order of their numbers."""
    workload, problem = instance.problem.workload, instance.problem
    members: dict[tuple[int, float, int], list[int]] = {}
    for k in range(workload.microbatches):
        key = (workload.group(k), workload.scale(k), problem.release(k))
        members.setdefault(key, []).append(k)
    # Columns are these classes, in the same order.
    alike = list(members.values())
    found: dict[tuple[int, int], int] = {}
    stream = 0
    for o in instance.order:
        rows = [[-1]] if is_step(problem.graph, o) else alike
        for row in rows:
            first = int(streams.first[stream])
            mine = np.sort(starts[first : first + len(row)]).tolist()
            found.update(((o, k), start) for k, start in zip(row, mine, strict=True))
            stream += 1
    return found
