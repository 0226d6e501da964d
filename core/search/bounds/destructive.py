"""Destructive bounds: is there a schedule of at most T? Each T that is refuted is a bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import attrs

from parplan.search.bounds.lanes import find_lanes
from parplan.search.bounds.machine_exact import States, find_states
from parplan.search.bounds.propagation import (
    EffortSpentError,
    Spend,
    Windows,
    ending_by,
    shrink,
    widest,
)
from parplan.search.bounds.shaving import shave
from parplan.search.bounds.streams import MOST_MEMBERS, Streams


def refuted_makespans(
    streams: Streams,
    floor: int,
    ceiling: int | None,
    most_states: int,
    spend: Spend,
    *,
    shaving: bool = False,
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
    shaving
        Whether what shrinking windows does not refute is tried by shaving them, too.
    """
    states = states_of_machines(streams, most_states)
    if not states:
        return
    low = floor
    try:
        # What holds for a late end holds for every earlier one: first an end that may be reached.
        for step in count():
            end = low + (max(floor >> 6, 1) << step) if ceiling is None else ceiling - 1
            if end < low:
                return
            known = shrink(streams, widest(streams, states, end), spend)
            if known is not None:
                break
            yield (low := end + 1)
        assert known is not None  # the loop ends no other way
        for value in _bisected(streams, low, known, 2, shrink, spend):
            yield (low := value)
        if shaving:
            # Refuting costs much less than failing to: small steps up.
            yield from _bisected(streams, low, known, 4, _shrunk_and_shaved, spend)
    except EffortSpentError:
        return


def _bisected(
    streams: Streams,
    low: int,
    known: Windows,
    parts: int,
    refute: Callable[[Streams, Windows, Spend], Windows | None],
    spend: Spend,
) -> Iterator[int]:
    """Yield bounds above ``low`` until the horizon of windows that are not refuted is reached.

    Each step goes a part of the way to the horizon.
    """
    while low <= known.horizon:
        end = low + (known.horizon - low) // parts
        less = refute(streams, ending_by(streams, known, end), spend)
        if less is None:
            yield (low := end + 1)
        elif end == low:
            return
        else:
            known = less


def _shrunk_and_shaved(streams: Streams, windows: Windows, spend: Spend) -> Windows | None:
    known = shrink(streams, windows, spend)
    return None if known is None else shave(streams, known, spend)


def states_of_machines(streams: Streams, most: int) -> tuple[States, ...]:
    """Return the states of the machines that have at most so many; alike machines share them.

    Machines with more than ``MOST_MEMBERS`` streams are left out, too.
    """
    listed: dict[object, States | None] = {}
    found = []
    for machine in streams.machines:
        if len(machine.members) > MOST_MEMBERS:
            continue
        lanes = find_lanes(streams, machine)
        if lanes.key not in listed:
            listed[lanes.key] = find_states(lanes, most)
        states = listed[lanes.key]
        if states is not None:
            found.append(attrs.evolve(states, lanes=lanes))
    return tuple(found)
