"""Simulated annealing on orders, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from parplan.search.sequences.kernel import (
    FAR,
    MAKESPAN,
    fits,
    judge,
    set_places,
    start_held,
)
from parplan.search.sequences.moves import draw, draw_real, draw_step, insert_along, undo
from parplan.search.sequences.ripples import (
    keep,
    measure_again,
    measure_rest,
    take_back,
    time_again,
)
from parplan.system.compiling import compiled, kernel_part, put_into


@kernel_part
def critical_visits(v: Any, order: Any, place: Any, starts: Any, dice: Any, found: Any) -> Any:
    """Write the positions at which a critical path waits for a machine; return how many.

    The path is drawn at random among those there are.
    """
    nodes = len(v.durations)
    makespan = np.int64(0)
    for n in range(nodes):
        if v.counted[n]:
            makespan = max(makespan, starts[n] + v.durations[n])
    i = np.int64(-1)
    seen = 0
    for n in range(nodes):
        if v.counted[n] and starts[n] + v.durations[n] == makespan:
            seen += 1
            if draw(dice, seen) == 0:
                i = np.int64(n)
    count = 0
    for _ in range(nodes):
        start = starts[i]
        following = np.int64(-1)
        at = np.int64(-1)
        seen = 0
        for k in range(v.arc_first[i], v.arc_first[i + 1]):
            if starts[v.arc_from[k]] + v.arc_delay[k] == start:
                seen += 1
                if draw(dice, seen) == 0:
                    following, at = v.arc_from[k], np.int64(-1)
        for k in range(v.visit_first[i], v.visit_first[i + 1]):
            q, p = v.visit_machine[k], place[k]
            if p > v.first[q]:
                n = order[p - 1]
                if starts[n] + v.durations[n] == start or starts[n] == start:
                    seen += 1
                    if draw(dice, seen) == 0:
                        following, at = n, p
        if following < 0:
            break
        if at >= 0:
            found[count] = at
            count += 1
        i = following
    return count


@kernel_part
def span_visits(
    v: Any, order: Any, place: Any, late: Any, into_first: Any, into: Any, dice: Any, found: Any
) -> Any:
    """Write the positions at which a longest span waits for a machine; return how many.

    The path goes from the first task of the machine with the longest span to the last of some
    machine, which would have to end later. It is drawn at random among those there are.

    Parameters
    ----------
    late
        Starts as ``longest_span`` has left them.
    """
    i = _span_begins(v, order, late, dice)
    count = 0
    for _ in range(len(v.durations)):
        following = np.int64(-1)
        at = np.int64(-1)
        seen = 0
        for k in range(into_first[i], into_first[i + 1]):
            n = into[k]
            for arc in range(v.arc_first[n], v.arc_first[n + 1]):
                if v.arc_from[arc] == i and late[i] + v.arc_delay[arc] == late[n]:
                    seen += 1
                    if draw(dice, seen) == 0:
                        following, at = n, np.int64(-1)
        for k in range(v.visit_first[i], v.visit_first[i + 1]):
            q, p = v.visit_machine[k], place[k] + 1
            if p < v.first[q + 1]:
                n = order[p]
                if late[i] + v.durations[i] == late[n] or late[i] == late[n]:
                    seen += 1
                    if draw(dice, seen) == 0:
                        following, at = n, p
        if following < 0:
            break
        if at >= 0:
            found[count] = at
            count += 1
        i = following
    return count


@kernel_part
def _span_begins(v: Any, order: Any, late: Any, dice: Any) -> Any:
    """Return the first task of a machine with the longest span; one at random if several have."""
    found = np.int64(0)
    longest = np.int64(-1)
    seen = 0
    for q in range(len(v.first) - 1):
        task = np.int64(-1)
        end = np.int64(0)
        for p in range(v.first[q], v.first[q + 1]):
            i = order[p]
            if v.counted[i]:
                for k in range(v.visit_first[i], v.visit_first[i + 1]):
                    if v.visit_machine[k] == q and v.visit_runs[k]:
                        end = max(end, late[i] + v.durations[i])
                        if task < 0:
                            task = i
        if task >= 0 and end - late[task] >= longest:
            seen = 1 if end - late[task] > longest else seen + 1
            longest = end - late[task]
            if draw(dice, seen) == 0:
                found = task
    return found


@kernel_part
def settle(v: Any, order: Any, place: Any, held: Any) -> Any:
    """Write places and prefix sums of a whole order; return whether it fits."""
    for q in range(len(v.first) - 1):
        set_places(v, order, place, q, v.first[q], v.first[q + 1])
    start_held(v, held)
    for q in range(len(v.first) - 1):
        if not fits(v, order, place, held, q, v.first[q], v.first[q + 1]):
            return False
    return True


@kernel_part
def propose(
    v: Any,
    edits: Any,
    order: Any,
    place: Any,
    held: Any,
    into_first: Any,
    into: Any,
    dice: Any,
    critical: Any,
    count: Any,
) -> Any:
    """Change the order by one random move; return whether it moved and memory suffices."""
    edits.used[0] = 0
    which = draw(dice, 100)
    critical_one = count > 0 and which < 75
    at = critical[draw(dice, count)] if critical_one else draw(dice, v.first[-1])
    steps = draw_step(dice, 12)
    repeats, length = 1, 1
    if count > 0 and which < 40:
        # What is late goes before what makes it wait, or that goes behind.
        if draw(dice, 2) == 0:
            steps = -steps
        else:
            at -= 1
    else:
        if draw(dice, 2) == 0:
            steps = -steps
        kind = draw(dice, 3)
        if kind == 1:
            repeats = 2 + draw_step(dice, 6) * draw_step(dice, 6)
        elif kind == 2:
            length = 2 + draw(dice, 6)
    return insert_along(
        v, edits, order, place, held, into_first, into, dice, at, steps, repeats, length
    )


@compiled
def anneal_orders(
    v: Any,
    scratch: Any,
    edits: Any,
    ripples: Any,
    order: Any,
    best: Any,
    dice: Any,
    rounds: Any,
    hot: Any,
    cold: Any,
    target: Any,
    criterion: Any,
    by_ripples: Any,
) -> Any:
    """Anneal for so many moves; ``order`` becomes the last, ``best`` the best order.

    Parameters
    ----------
    hot, cold
        Temperature in ticks at the beginning and at the end; geometric in between.
    target
        Stop at a figure this small.
    by_ripples
        Whether only what moves is timed again: see ``ripples.can_ripple``.

    Returns
    -------
    (figure of ``best``, moves tried, orders evaluated)
    """
    nodes = len(v.durations)
    place = np.zeros(len(v.visit_machine), dtype=np.int64)
    held = np.zeros(v.held_first[-1] + 1, dtype=np.float64)
    starts = np.zeros(nodes, dtype=np.int64)
    trial = np.zeros(nodes, dtype=np.int64)
    critical = np.zeros(nodes + 1, dtype=np.int64)
    late = np.zeros(nodes, dtype=np.int64)
    trial_late = np.zeros(nodes, dtype=np.int64)
    rest = np.zeros(nodes, dtype=np.int64)
    into_first, into = ripples.into_first, ripples.into
    settle(v, order, place, held)
    nothing = np.int64(-1)
    current = judge(v, scratch, order, trial, nothing, starts, late, FAR, criterion)
    if by_ripples:
        measure_rest(v, ripples, order, place, starts, rest)
    put_into(best, order)
    least = current
    count, age = 0, 0
    evaluated = 0
    temperature = hot
    cooling = (cold / hot) ** (1.0 / max(rounds, 1))
    done = 0
    while done < rounds and least > target:
        done += 1
        temperature *= cooling
        if age == 0:
            if criterion == MAKESPAN:
                count = critical_visits(v, order, place, starts, dice, critical)
            else:
                count = span_visits(v, order, place, late, into_first, into, dice, critical)
        age = (age + 1) % 16
        if not propose(v, edits, order, place, held, into_first, into, dice, critical, count):
            undo(v, edits, order, place, held)
            continue
        allowed = current - temperature * np.log(draw_real(dice))
        limit = np.int64(allowed)
        evaluated += 1
        if by_ripples:
            value = time_again(v, ripples, edits, order, place, starts, rest, limit)
        else:
            begin = FAR
            for n in range(edits.used[0]):
                for p in range(edits.low[n], edits.high[n]):
                    begin = min(begin, starts[order[p]])
            value = judge(v, scratch, order, starts, begin, trial, trial_late, limit, criterion)
        if value < 0 or value > allowed:
            take_back(ripples, starts)
            undo(v, edits, order, place, held)
            continue
        if by_ripples:
            keep(ripples)
            measure_again(v, ripples, edits, order, place, rest)
        else:
            starts, trial = trial, starts
            late, trial_late = trial_late, late
        current = value
        age = 0
        if value < least:
            least = value
            put_into(best, order)
    return least, done, evaluated
