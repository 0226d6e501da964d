"""Streams of one machine as lanes: alike ones that nothing waits for are one.

Where the tasks of several streams take the same time and the same memory, and nothing waits for
them, it does not matter which of them runs next: only how many have run. So passes for weights of
all stages on a device are one *lane*, and the machine has far fewer states.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from parplan.search.bounds.streams import Index, Machine, Room, Streams


@frozen(eq=False)
class Lanes:
    """The k lanes of one machine.

    Attributes
    ----------
    streams
        Indices of the streams of each lane.
    tasks
        Indices of all tasks, lane by lane, ``(N,)``.
    counts, ticks
        Tasks of each lane, and how long one takes, ``(k,)``.
    before
        Pairs (some lanes, j): lane j has begun no more tasks than those have ended, together.
    rooms
        The memories, by lane.
    """

    streams: tuple[tuple[int, ...], ...]
    tasks: Index
    counts: Index
    ticks: Index
    before: tuple[tuple[tuple[int, ...], int], ...]
    rooms: tuple[Room, ...]

    @property
    def alone(self) -> NDArray[np.bool_]:
        """Whether each lane is one stream, ``(k,)``."""
        return np.array([len(some) == 1 for some in self.streams])

    @property
    def key(self) -> object:
        """Equal for lanes with the same states."""
        return self.counts.tobytes(), self.before, tuple(room.key for room in self.rooms)


def find_lanes(streams: Streams, machine: Machine) -> Lanes:
    """Return the lanes of a machine: its streams, alike ones that nothing waits for as one."""
    previous = _just_before(machine)
    groups: dict[object, list[int]] = {}
    for position, stream in enumerate(machine.members.tolist()):
        fills = tuple(_amounts(room, position) for room in machine.rooms)
        alike = (int(streams.ticks[stream]), fills)
        free = stream in streams.final and len(previous[position]) == 1
        groups.setdefault(alike if free else position, []).append(position)
    lanes = sorted(groups.values())
    lane_of = {position: lane for lane, some in enumerate(lanes) for position in some}
    heads = np.array([some[0] for some in lanes])
    members = [machine.members[some] for some in lanes]
    return Lanes(
        tuple(tuple(some.tolist()) for some in members),
        np.concatenate([streams.tasks_of(stream) for some in members for stream in some.tolist()]),
        np.array([streams.counts[some].sum() for some in members], dtype=np.int64),
        streams.ticks[machine.members[heads]],
        _between(machine, lanes, lane_of, previous),
        tuple(
            Room(room.begun[heads], room.ended[heads], room.running[heads], room.capacity)
            for room in machine.rooms
        ),
    )


def _amounts(room: Room, position: int) -> tuple[float, float, float]:
    return float(room.begun[position]), float(room.ended[position]), float(room.running[position])


def _just_before(machine: Machine) -> list[set[int]]:
    """Return the positions that come before each one with no other in between."""
    pairs = set(machine.before)
    found: list[set[int]] = [set() for _ in machine.members]
    for i, j in pairs:
        if not any((i, x) in pairs and (x, j) in pairs for x in range(len(found))):
            found[j].add(i)
    return found


def _between(
    machine: Machine,
    lanes: list[list[int]],
    lane_of: Mapping[int, int],
    previous: list[set[int]],
) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Return what each lane waits for: each of some lanes, or all of them together."""
    found: set[tuple[tuple[int, ...], int]] = set()
    for lane, some in enumerate(lanes):
        if len(some) == 1:
            found.update(((lane_of[i],), lane) for i, j in machine.before if j == some[0])
        else:
            waits = sorted(lane_of[i] for position in some for i in previous[position])
            found.add((tuple(waits), lane))
    return tuple(sorted(found))
