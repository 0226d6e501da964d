"""Simulated annealing on orders by a statistic of the makespan over scenarios, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from parplan.search.sequences.annealing_kernel import critical_visits, propose, settle
from parplan.search.sequences.kernel import FAR, fits, propagate
from parplan.search.sequences.moves import draw, draw_real, undo
from parplan.system.compiling import compiled, kernel_part, put_into


@kernel_part
def take_scenario(v: Any, times: Any, s: Any) -> None:
    """Give a view the times of one scenario, in place."""
    durations, delays = times
    for i in range(len(v.durations)):
        v.durations[i] = durations[s, i]
    for k in range(len(v.arc_delay)):
        v.arc_delay[k] = delays[s, k]


@compiled
def judge(v: Any, scratch: Any, order: Any, times: Any, weights: Any, starts: Any) -> Any:
    """Return the statistic of the makespan over all scenarios; negative in a deadlock.

    Parameters
    ----------
    times
        Durations of nodes and delays of arcs, ``(scenarios, nodes)`` and ``(scenarios, arcs)``.
    weights
        What the makespans count, the shortest first.
    """
    lengths = np.empty(len(weights), dtype=np.float64)
    for s in range(len(weights)):
        take_scenario(v, times, s)
        makespan = propagate(v, scratch, order, starts, np.int64(-1), starts, FAR)
        if makespan < 0:
            return -1.0
        lengths[s] = makespan
    return np.sum(np.sort(lengths) * weights)


@compiled
def anneal_by_scenarios(
    v: Any,
    scratch: Any,
    edits: Any,
    into_first: Any,
    into: Any,
    order: Any,
    best: Any,
    dice: Any,
    rounds: Any,
    hot: Any,
    cold: Any,
    times: Any,
    weights: Any,
) -> Any:
    """Anneal for so many moves; ``order`` becomes the last, ``best`` the best order.

    Moves aim at the critical path of a scenario drawn at random. Returns (statistic of ``best``,
    orders evaluated); ``v`` is left with the times of some scenario.
    """
    nodes = len(v.durations)
    place = np.zeros(len(v.visit_machine), dtype=np.int64)
    held = np.zeros(v.held_first[-1] + 1, dtype=np.float64)
    starts = np.full(nodes, -1, dtype=np.int64)
    critical = np.zeros(nodes + 1, dtype=np.int64)
    settle(v, order, place, held)
    value = judge(v, scratch, order, times, weights, starts)
    put_into(best, order)
    least = value
    count, age, evaluated = 0, 0, 0
    temperature = hot
    cooling = (cold / hot) ** (1.0 / max(rounds, 1))
    for _ in range(rounds):
        temperature *= cooling
        if age == 0:
            take_scenario(v, times, draw(dice, len(weights)))
            propagate(v, scratch, order, starts, np.int64(-1), starts, FAR)
            count = critical_visits(v, order, place, starts, dice, critical)
        age = (age + 1) % 16
        if not propose(v, edits, order, place, held, into_first, into, dice, critical, count):
            undo(v, edits, order, place, held)
            continue
        found = judge(v, scratch, order, times, weights, starts)
        evaluated += 1
        if found < 0 or found > value - temperature * np.log(draw_real(dice)):
            undo(v, edits, order, place, held)
            continue
        for n in range(edits.used[0]):
            fits(v, order, place, held, edits.machine[n], edits.low[n], edits.high[n])
        value = found
        age = 0
        if value < least:
            least = value
            put_into(best, order)
    return least, evaluated
