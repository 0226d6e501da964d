"""Bounds of the longest span: what one device can do between its own first start and last end.

A span begins with the device's own first task, so nothing that leads up to it counts; what counts
is the way from one of its tasks through other devices to another one of its own. Each machine is
kept exactly, with its memory, and everything else is replaced by such ways.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
from numpy.typing import NDArray

from parplan.problem import Problem
from parplan.rules import Rules
from parplan.search.bounds.combine import MOST_STATES, MOST_VISITS
from parplan.search.bounds.destructive import refuted_makespans
from parplan.search.bounds.instance import compile_instance
from parplan.search.bounds.paths import find_windows
from parplan.search.bounds.propagation import visits
from parplan.search.bounds.streams import Machine, Streams, find_streams
from parplan.search.bounds.sure import Sure

NO_WAY = -(2**60)
"""Length of a way where there is none."""


def span_bounds(problem: Problem, rules: Rules) -> Iterator[tuple[str, int]]:
    """Yield (name, ticks): no schedule has a shorter longest span of a device.

    Raises
    ------
    InfeasibleError
        If an operator can run nowhere.
    """
    sure = Sure(find_windows(compile_instance(problem, rules, None)))
    streams = find_streams(sure)
    if streams is None:
        return
    ways = _ways(streams)
    alone = [_alone(streams, ways, m) for m in streams.machines if _on_one_device(sure, m)]
    best = max((int((one.counts * one.ticks).sum()) for one in alone), default=0)
    if best:
        yield "busiest device", best
    spend, exact = visits(MOST_VISITS), best
    for one in alone:
        exact = max(refuted_makespans(one, exact, None, MOST_STATES, spend), default=exact)
    if exact > best:
        yield "exact devices", exact


def _on_one_device(sure: Sure, machine: Machine) -> bool:
    """Return whether all members of a machine surely run on one device, the same."""
    instance, places = sure.instance, sure.places.sure
    devices = [places[o][row] for o in instance.order for row in range(len(instance.columns_of(o)))]
    return bool(frozenset.intersection(*(devices[i] for i in machine.members)))


def _ways(streams: Streams) -> NDArray[np.int64]:
    """Return the longest way from the k-th start of one stream to the k-th of another, ``(S, S)``.

    Only streams with as many tasks count; ``NO_WAY`` where there is none.
    """
    size = len(streams.counts)
    stream_of = np.repeat(np.arange(size), streams.counts)
    number = np.arange(len(stream_of)) - streams.first[stream_of]
    source, target = stream_of[streams.before], stream_of[streams.after]
    direct = (source != target) & (number[streams.before] == number[streams.after])
    direct &= streams.counts[source] == streams.counts[target]
    found = np.full((size, size), NO_WAY, dtype=np.int64)
    np.maximum.at(found, (source[direct], target[direct]), streams.lags[direct])
    for middle in range(size):  # Floyd and Warshall; streams are listed in a topological order
        through = found[:, middle, None] + found[None, middle, :]
        found = np.maximum(found, np.where(through > NO_WAY // 2, through, NO_WAY))
    return found


def _alone(streams: Streams, ways: NDArray[np.int64], machine: Machine) -> Streams:
    """Return the streams of one machine alone, with the ways between them as arcs."""
    members = machine.members
    counts, ticks = streams.counts[members], streams.ticks[members]
    first = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    before, after, lags = [], [], []
    for i, count in enumerate(counts.tolist()):
        before.append(first[i] + np.arange(count - 1))
        after.append(first[i] + np.arange(1, count))
        lags.append(np.zeros(count - 1, dtype=np.int64))
        for j in np.flatnonzero(ways[members[i], members] > NO_WAY // 2).tolist():
            before.append(first[i] + np.arange(count))
            after.append(first[j] + np.arange(count))
            lags.append(np.full(count, ways[members[i], members[j]]))
    joined = [np.concatenate(parts).astype(np.int64) for parts in (before, after, lags)]
    own = ways[np.ix_(members, members)]
    heads = np.maximum(own, 0).max(axis=0)
    tails = np.maximum(own + ticks[None, :] - ticks[:, None], 0).max(axis=1)
    here = np.arange(len(members), dtype=np.int64)
    order = np.argsort(joined[0], kind="stable")
    return Streams(
        counts,
        ticks,
        first,
        heads,
        tails,
        joined[0][order],
        joined[1][order],
        joined[2][order],
        (attrs.evolve(machine, members=here),),
    )
