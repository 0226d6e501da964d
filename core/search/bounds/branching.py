"""A schedule by branching on the orders of exact machines, the surest first.

However a machine orders its tasks, after so many of them it is in exactly one of its states. So
one state of a number of tasks is tried, and all windows are shrunk; if nothing is left, it is one
of the others. The state with the most time to spare is tried, first where the next best has
the least: there is hardly a choice. When every machine has one order, its earliest times are a
schedule; when nothing is left to try, there is none (after Smith and Cheng, "Slack-based heuristics
for constraint satisfaction scheduling", 1993).
"""

from __future__ import annotations

import random

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from parplan.search.bounds.decision import Decision
from parplan.search.bounds.machine_exact import States, only, tighten
from parplan.search.bounds.propagation import Spend, Windows, follow, shrink
from parplan.search.bounds.streams import EVER, Index, Streams

Rows = NDArray[np.bool_]

PATIENCE = 30
"""Dead ends after which branching starts anew, with other choices."""

NOISE = 0.5
"""Part by which the slack of a state is changed at random, where branching starts anew."""

BOLDNESS = 4
"""Times as many choices are made at once as long as that goes well; else one at a time."""


@frozen(eq=False)
class Choice:
    """States of one machine, by numbers of tasks done: those tried, and the others.

    Attributes
    ----------
    dropped
        Which states are left out, for each number of tasks, the surest first.
    picked
        The state that is tried where there is one choice.
    """

    machine: int
    dropped: tuple[Index, ...]
    picked: int


@frozen(eq=False)
class Branch:
    """What is left to try: some windows, in which the one state is left out if there is one."""

    windows: Windows
    machine: int = -1
    picked: int = -1


def decide_by_orders(streams: Streams, windows: Windows, spend: Spend) -> Decision:
    """Return whether a schedule ends by the horizon of windows that ``shrink`` returned.

    Every machine's states must be listed. Goes on until that is decided.

    Raises
    ------
    EffortSpentError
        If ``spend`` does.
    """
    assert len(windows.states) == len(streams.machines)
    noise, source = 0.0, random.Random(0)
    while True:
        found = _descend(streams, windows, spend, source, noise)
        if found is not None:
            return found
        noise = NOISE


def _descend(
    streams: Streams, windows: Windows, spend: Spend, source: random.Random, noise: float
) -> Decision | None:
    """Return what one descent decides; None after too many dead ends."""
    branches: list[Branch] = []
    together, bold, dead_ends = 1, True, 0
    while True:
        spend(0)
        windows, choice = _next(windows, source, noise)
        if choice is None:
            return Decision(_starts(streams, windows), refuted=False)
        dropped = choice.dropped[:together]
        tried = _without(streams, windows, choice.machine, np.concatenate(dropped), spend)
        if tried is None and len(dropped) > 1:
            together = 1
            continue
        branches.append(
            Branch(windows, choice.machine, choice.picked) if len(dropped) == 1 else Branch(windows)
        )
        together = together * BOLDNESS if bold else 1
        while tried is None:
            if not branches:
                return Decision(None, refuted=True)
            dead_ends += 1
            if dead_ends > PATIENCE:
                return None
            branch = branches.pop()
            together = 1
            if branch.picked < 0:
                # Some of many choices was wrong: from there, one at a time.
                tried, bold = branch.windows, False
            else:
                picked = np.array([branch.picked])
                tried = _without(streams, branch.windows, branch.machine, picked, spend)
        windows = tried


def _next(windows: Windows, source: random.Random, noise: float) -> tuple[Windows, Choice | None]:
    """Return the windows with the states that fit them, and the surest choices of one machine."""
    left, best, choice = [], np.inf, None
    for machine, states in enumerate(windows.states):
        slack = tighten(states, windows.earliest.copy(), windows.latest.copy())
        alive = slack.free <= slack.due
        states = only(states, alive)
        left.append(states)
        spare = np.minimum(slack.due, windows.horizon)[alive] - slack.free[alive]
        level = states.done.sum(axis=1)
        if len(level) == level[-1] + 1:
            continue
        if noise:
            spare = spare * np.array([1 + noise * source.random() for _ in spare])
        order = np.lexsort((-spare, level))
        starts = np.flatnonzero(np.diff(level[order], prepend=-1))
        sizes = np.diff(starts, append=len(order))
        open_ = starts[sizes > 1]
        second = spare[order[open_ + 1]]
        if second.min() >= best:
            continue
        best = float(second.min())
        ends = open_ + sizes[sizes > 1]
        surest = np.argsort(second, kind="stable").tolist()
        dropped = tuple(order[open_[i] + 1 : ends[i]] for i in surest)
        choice = Choice(machine, dropped, int(order[open_[surest[0]]]))
    return attrs.evolve(windows, states=tuple(left)), choice


def _without(
    streams: Streams, windows: Windows, machine: int, dropped: Index, spend: Spend
) -> Windows | None:
    """Return the windows without some states of a machine; None if none are left."""
    alive: Rows = np.ones(len(windows.states[machine].done), dtype=np.bool_)
    alive[dropped] = False
    states = list(windows.states)
    states[machine] = _connected(states[machine], alive)
    return shrink(streams, attrs.evolve(windows, states=tuple(states)), spend)


def _connected(states: States, alive: Rows) -> States:
    """Return some states; the first and the last stay, so that a machine without any is refuted."""
    alive[0] = alive[-1] = True
    return only(states, alive)


def _starts(streams: Streams, windows: Windows) -> Index:
    """Return the earliest starts of all tasks in the only order that each machine has left."""
    before, after, lags = [streams.before], [streams.after], [streams.lags]
    for states in windows.states:
        lanes = states.lanes
        first = np.cumsum(lanes.counts) - lanes.counts
        lane = np.argmax(np.diff(states.done, axis=0), axis=1)
        rank = states.done[np.arange(len(lane)), lane]
        tasks = lanes.tasks.copy()
        for i in np.flatnonzero(~lanes.alone):
            # Alike tasks run in the order in which they become ready.
            own = slice(first[i], first[i] + lanes.counts[i])
            tasks[own] = tasks[own][np.argsort(windows.earliest[tasks[own]], kind="stable")]
        row = tasks[first[lane] + rank]
        before.append(row[:-1])
        after.append(row[1:])
        lags.append(lanes.ticks[lane[:-1]])
    arcs = [np.concatenate(parts).astype(np.int64) for parts in (before, after, lags)]
    starts = np.repeat(streams.heads, streams.counts)
    never = np.full(len(starts), EVER)
    known = starts - 1
    while not np.array_equal(known, starts) and starts.max() <= windows.horizon:
        known = starts.copy()
        follow(arcs[0], arcs[1], arcs[2], starts, never.copy())
    return starts
