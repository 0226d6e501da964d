"""Windows for the starts of all tasks, shrunk by arcs and by exact machines until nothing changes.

Each task has a window for its start: its head, and the horizon less its tail. Arcs between tasks
shrink them, and so does each machine, whose tasks must fit their windows in some order that its
memory allows. Where no window or no order is left, no schedule ends by the horizon.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
from attrs import frozen

from parplan.search.bounds.machine_exact import Slack, States, kept, tighten
from parplan.search.bounds.streams import Index, Streams
from parplan.system.compiling import compiled

SWEEPS = 500
"""Most sweeps over the machines; windows may still shrink beyond them, they hold all the same."""


class EffortSpentError(Exception):
    """No more effort may be spent on a bound."""


Spend = Callable[[int], None]
"""Told how many ways out of states are visited next; raises EffortSpentError after enough."""


def visits(most: int) -> Spend:
    """Return an effort of at most so many ways visited: the same on every host."""
    left = most

    def spend(visited: int) -> None:
        nonlocal left
        left -= visited
        if left < 0:
            raise EffortSpentError

    return spend


@frozen(eq=False)
class Windows:
    """What is known of every schedule that ends by ``horizon``.

    Attributes
    ----------
    states
        Of each machine: its states that some order fitting the windows goes through.
    earliest, latest
        Window of the start of each task, ``(E,)``.
    """

    horizon: int
    states: tuple[States, ...]
    earliest: Index
    latest: Index


def widest(streams: Streams, states: tuple[States, ...], horizon: int) -> Windows:
    """Return windows from heads and tails alone."""
    latest = np.repeat(horizon - streams.tails - streams.ticks, streams.counts)
    return Windows(horizon, states, np.repeat(streams.heads, streams.counts), latest)


def ending_by(streams: Streams, known: Windows, horizon: int) -> Windows:
    """Return what is known of the schedules that end by an earlier horizon."""
    latest = np.minimum(known.latest, widest(streams, known.states, horizon).latest)
    return attrs.evolve(known, horizon=horizon, latest=latest)


def within(windows: Windows, task: int, earliest: int, latest: int) -> Windows:
    """Return the windows with that of one task replaced."""
    low, high = windows.earliest.copy(), windows.latest.copy()
    low[task], high[task] = earliest, latest
    return attrs.evolve(windows, earliest=low, latest=high)


def shrink(streams: Streams, windows: Windows, spend: Spend) -> Windows | None:
    """Return the windows shrunk until nothing changes; None if none is left."""
    earliest, latest = windows.earliest.copy(), windows.latest.copy()
    machines = list(enumerate(windows.states))
    seen: list[tuple[Index, Index] | None] = [None] * len(machines)
    slack: list[Slack | None] = [None] * len(machines)
    for _ in range(SWEEPS):
        changed = False
        for m, states in machines:
            if not follow(streams.before, streams.after, streams.lags, earliest, latest):
                return None
            tasks = states.lanes.tasks
            now = earliest[tasks], latest[tasks]
            last = seen[m]
            if last and all(np.array_equal(a, b) for a, b in zip(now, last, strict=True)):
                continue
            spend(states.after.size)
            slack[m] = found = tighten(states, earliest, latest)
            if not found.feasible:
                return None
            changed = changed or found.tighter
            seen[m] = earliest[tasks], latest[tasks]
        if not changed:
            break
        machines.reverse()
    left = tuple(
        states if found is None else kept(states, found)
        for states, found in zip(windows.states, slack, strict=True)
    )
    return Windows(windows.horizon, left, earliest, latest)


@compiled
def follow(before: Any, after: Any, lags: Any, earliest: Any, latest: Any) -> bool:
    """Shrink windows along arcs, in place; return whether each task has a window left.

    Where arcs do not stand in the order of times, call it until nothing changes.
    """
    for x in range(len(before)):
        earliest[after[x]] = max(earliest[after[x]], earliest[before[x]] + lags[x])
    for x in range(len(before) - 1, -1, -1):
        latest[before[x]] = min(latest[before[x]], latest[after[x]] - lags[x])
    return bool((earliest <= latest).all())
