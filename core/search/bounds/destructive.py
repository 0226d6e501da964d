"""Destructive bounds: is there a schedule of at most T? Windows shrink until none is left.

Each task has a window for its start: its head, and T less its tail. Arcs between tasks shrink
them, and so does each machine, whose tasks must fit their windows in some order that its memory
allows. Where no window or no order is left, no schedule ends by T.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import attrs
import numba
import numpy as np
from attrs import frozen

from parplan.search.bounds.machine_exact import Slack, States, find_states, kept, tighten
from parplan.search.bounds.streams import Index, Machine, Streams

SWEEPS = 500
"""Most sweeps over the machines for one T; beyond them T is not refuted."""


class EffortSpentError(Exception):
    """No more effort may be spent on a bound."""


Spend = Callable[[int], None]
"""Told how many states were just visited; raises EffortSpentError when there were enough."""


def visits(most: int) -> Spend:
    """Return an effort of at most so many states visited: the same on every machine."""
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


def refuted_makespans(
    streams: Streams, floor: int, ceiling: int | None, most_states: int, spend: Spend
) -> Iterator[int]:
    """Yield makespans, each larger than the one before, such that no schedule is shorter.

    Ends when the next one cannot be refuted or the effort is spent.

    Parameters
    ----------
    floor
        A makespan such that no schedule is shorter.
    ceiling
        The makespan of some schedule, if one is known.
    most_states
        A machine with more states is left out.
    """
    streams, states = _with_states(streams, most_states)
    if not states:
        return
    low = floor
    try:
        # What holds for a late end holds for every earlier one: first an end that may be reached.
        for step in count():
            end = low + (max(floor >> 6, 1) << step) if ceiling is None else ceiling - 1
            if end < low:
                return
            known = _shrink(streams, _windows(streams, states, end), spend)
            if known is not None:
                break
            yield (low := end + 1)
        while low < known.horizon:
            end = (low + known.horizon) // 2
            less = _shrink(streams, _ending_by(streams, known, end), spend)
            if less is None:
                yield (low := end + 1)
            else:
                known = less
    except EffortSpentError:
        return


def _with_states(streams: Streams, most: int) -> tuple[Streams, tuple[States, ...]]:
    """Return the machines whose states can be listed, and these; alike machines share them."""
    listed: dict[object, States | None] = {}
    found = []
    for machine in streams.machines:
        counts = streams.counts[machine.members]
        key = (counts.tobytes(), machine.key)
        if key not in listed:
            listed[key] = find_states(machine, counts, most)
        found.append(listed[key])
    pairs = [(m, s) for m, s in zip(streams.machines, found, strict=True) if s is not None]
    machines = tuple(machine for machine, _ in pairs)
    return attrs.evolve(streams, machines=machines), tuple(states for _, states in pairs)


def _windows(streams: Streams, states: tuple[States, ...], end: int) -> Windows:
    """Return the windows of schedules that end by ``end``, from heads and tails alone."""
    latest = np.repeat(end - streams.tails - streams.ticks, streams.counts)
    return Windows(end, states, np.repeat(streams.heads, streams.counts), latest)


def _ending_by(streams: Streams, known: Windows, end: int) -> Windows:
    """Return what is known of schedules that end by ``end``, earlier than what is known."""
    latest = np.repeat(end - streams.tails - streams.ticks, streams.counts)
    return Windows(end, known.states, known.earliest, np.minimum(known.latest, latest))


def _shrink(streams: Streams, windows: Windows, spend: Spend) -> Windows | None:
    """Return the windows shrunk until nothing changes; None if none is left."""
    earliest, latest = windows.earliest.copy(), windows.latest.copy()
    machines = list(enumerate(zip(streams.machines, windows.states, strict=True)))
    tasks = [_tasks(streams, machine) for machine in streams.machines]
    seen: list[tuple[Index, Index] | None] = [None] * len(machines)
    slack: list[Slack | None] = [None] * len(machines)
    for _ in range(SWEEPS):
        changed = False
        for m, (machine, states) in machines:
            if not _follow(streams.before, streams.after, streams.lags, earliest, latest):
                return None
            now = earliest[tasks[m]], latest[tasks[m]]
            last = seen[m]
            if last and all(np.array_equal(a, b) for a, b in zip(now, last, strict=True)):
                continue
            spend(len(states.done))
            slack[m] = found = tighten(streams, machine, states, earliest, latest)
            if not found.feasible:
                return None
            changed = changed or found.tighter
            seen[m] = earliest[tasks[m]], latest[tasks[m]]
        if not changed:
            break
        machines.reverse()
    left = tuple(
        states if found is None else kept(states, found)
        for states, found in zip(windows.states, slack, strict=True)
    )
    return Windows(windows.horizon, left, earliest, latest)


def _tasks(streams: Streams, machine: Machine) -> Index:
    """Return the tasks of a machine's members."""
    rows = zip(streams.first[machine.members], streams.counts[machine.members], strict=True)
    return np.concatenate([np.arange(first, first + number) for first, number in rows])


@numba.njit(cache=True)  # type: ignore[untyped-decorator]  # numba is untyped
def _follow(before: Any, after: Any, lags: Any, earliest: Any, latest: Any) -> bool:
    """Shrink windows along arcs, in place; return whether each task has a window left."""
    for x in range(len(before)):
        earliest[after[x]] = max(earliest[after[x]], earliest[before[x]] + lags[x])
    for x in range(len(before) - 1, -1, -1):
        latest[before[x]] = min(latest[before[x]], latest[after[x]] - lags[x])
    return bool((earliest <= latest).all())
