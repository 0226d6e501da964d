"""Alike streams as one lane lose nothing on their machine, and never refute what has an order."""

from __future__ import annotations

import random

import attrs
import numpy as np
import pytest

from parplan.search.bounds.lanes import find_lanes
from parplan.search.bounds.machine_exact import find_states, tighten
from parplan.search.bounds.streams import Machine, Room, Streams
from tests.search.bounds.test_machine_exact import all_orders


def two_chains(rng: random.Random) -> Streams:
    """Two streams on one machine, each followed by one of two alike streams, and their memory."""
    counts = np.full(4, 2)
    room = Room(
        np.array([1.0, 1.0, 0.0, 0.0]),
        np.array([0.0, 0.0, 1.0, 1.0]),
        np.zeros(4),
        float(rng.randint(1, 3)),
    )
    last = rng.randint(1, 3)
    ticks = np.array([rng.randint(1, 3), rng.randint(1, 3), last, last])
    none, nothing = np.zeros(0, dtype=np.int64), np.zeros(4, dtype=np.int64)
    machine = Machine(np.arange(4), ((0, 2), (1, 3)), (room,))
    first = np.cumsum(counts) - counts
    return Streams(counts, ticks, first, nothing, nothing, none, none, none, (machine,))


def test_alike_streams_that_nothing_waits_for_are_one_lane() -> None:
    streams = two_chains(random.Random(1))
    (machine,) = streams.machines
    lanes = find_lanes(streams, machine)
    assert lanes.streams == ((0,), (1,), (2, 3))
    assert lanes.before == (((0, 1), 2),)
    assert lanes.counts.tolist() == [2, 2, 4]
    waited_for = attrs.evolve(
        streams, before=np.array([6]), after=np.array([0]), lags=np.array([1])
    )
    assert len(find_lanes(waited_for, machine).streams) == 4
    longer = attrs.evolve(streams, ticks=streams.ticks + np.array([0, 0, 0, 1]))
    assert len(find_lanes(longer, machine).streams) == 4


@pytest.mark.parametrize("narrow", [False, True])
def test_a_lane_leaves_what_all_orders_of_its_streams_leave(narrow: bool) -> None:
    rng, refuted, equal = random.Random(7), 0, 0
    for _ in range(60):
        streams = two_chains(rng)
        (machine,) = streams.machines
        earliest = np.array([rng.randint(0, 12) for _ in range(4)] + [0] * 4)
        latest = earliest + np.array([rng.randint(0, 16) for _ in range(4)] + [40] * 4)
        if narrow:
            earliest[4:] = [rng.randint(0, 12) for _ in range(4)]
            latest[4:] = earliest[4:] + [rng.randint(4, 16) for _ in range(4)]
        expected = all_orders(streams, earliest.tolist(), latest.tolist())
        states = find_states(find_lanes(streams, machine), 10**4)
        assert states is not None
        low, high = earliest.copy(), latest.copy()
        slack = tighten(states, low, high)
        if not narrow:
            assert slack.feasible is bool(expected)
        if not expected:
            refuted += not slack.feasible
            continue
        assert slack.feasible
        least = [min(w[x][0] for w in expected) for x in range(4)]
        most = [max(w[x][1] for w in expected) for x in range(4)]
        assert (low[:4] <= least).all()
        assert (high[:4] >= most).all()
        assert (low[4:] == earliest[4:]).all()
        equal += low[:4].tolist() == least and high[:4].tolist() == most
        assert narrow or (low[:4].tolist() == least and high[:4].tolist() == most)
    assert refuted > 5
    assert equal > (0 if narrow else 5)
