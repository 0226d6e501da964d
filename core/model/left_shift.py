"""Makes a schedule as early as its own sequences allow: how coarse times become fine ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from attrs import frozen

from parplan.model.blocks import Value
from parplan.model.terms import (
    Before,
    Cumulative,
    Interval,
    Literal,
    NoOverlap,
    Time,
    recorded,
    split,
)
from parplan.rules import Rules
from parplan.schedule import Schedule


@frozen
class Arc:
    """``later >= earlier + lag``, over variable names; an earlier of None is time zero."""

    earlier: str | None
    later: str
    lag: int


def left_shift(rules: Rules, schedule: Schedule) -> Schedule:
    """Return the schedule with everything as early as its own sequences allow.

    Kept are the alternatives, the sources of transfers, the order on each resource (of starts,
    where several share one) and the order on first-in-first-out pairs. Times are longest paths
    over these arcs, found in ``passes x arcs`` steps, mostly two or three passes. A schedule whose
    arcs form a cycle of positive length breaks its own rules; it is returned as it is. Rows that
    escape hatches put on times are not seen: check the result.
    """
    from parplan.model.extraction import read_schedule, reader, warm_start
    from parplan.model.schedule_model import ScheduleModel

    tasks, group = schedule.tasks, schedule.problem.workload.group
    columns = (tasks.operator, tasks.microbatch, tasks.alternative)
    rows = zip(*(c.tolist() for c in columns), strict=True)
    model = ScheduleModel(rules, None, {(o, group(m)): a for o, m, a in rows})
    values = warm_start(model, schedule)
    value = reader(values)
    arcs = [arc for _, term in recorded(model.pyomo) for arc in _arcs(term, value)]
    first: dict[str, int] = {}
    for task in model.tasks.values():
        first[task.start.name] = task.start.lb
    for made in model.transport.made.values():
        first[made.start.name] = made.start.lb
        variable, constant = split(made.arrival)
        if variable is not made.start:
            lag = round(value(made.arrival) - value(made.start)) - constant
            arcs.append(Arc(made.start.name, variable.name, lag))
    times = longest_paths(arcs, first, {name: round(v) for name, v in values.items()})
    if times is None:
        return schedule
    return read_schedule(model, reader({**values, **times}))


def longest_paths(
    arcs: Iterable[Arc], first: dict[str, int], now: dict[str, int]
) -> dict[str, int] | None:
    """Return the least times that satisfy all arcs; None if there are none.

    Parameters
    ----------
    first
        Earliest time of each variable; 0 where there is none.
    now
        Times of a schedule, whose order saves passes.
    """
    times = dict(first)
    ordered = sorted(arcs, key=lambda arc: now[arc.earlier] if arc.earlier else -1)
    for _ in range(len(now) + 2):
        changed = False
        for arc in ordered:
            since = times.get(arc.earlier, 0) if arc.earlier else 0
            if since + arc.lag > times.get(arc.later, 0):
                times[arc.later] = since + arc.lag
                changed = True
        if not changed:
            return times
    return None


def _arcs(term: Any, value: Value) -> Iterator[Arc]:
    if isinstance(term, Before):
        if _there(term.first.presence, value) and _there(term.second.presence, value):
            yield from _arc(term.first.end, term.second.start, term.delay)
    elif isinstance(term, NoOverlap | Cumulative):
        shared = isinstance(term, Cumulative)
        there = []
        for interval in term.intervals:
            if not _there(interval.presence, value):
                continue
            if value(interval.start) < value(interval.end):
                there.append(interval)
            elif interval.size is None:
                # It takes nothing as long as it lasts nothing, so it must stay so.
                yield from _arc(interval.end, interval.start, 0)
        there.sort(key=lambda i: (value(i.start), value(i.end)))
        yield from _sequence(there, value, shared=shared)


def _sequence(intervals: list[Interval], value: Value, *, shared: bool) -> Iterator[Arc]:
    """Yield arcs that keep apart what is apart: each to the next that starts after its end.

    Starts keep their order too where several intervals may overlap, so that the next one speaks
    for all after it.
    """
    follower = 0
    ends = sorted(range(len(intervals)), key=lambda n: (value(intervals[n].end), n))
    for n in ends:
        while follower < len(intervals) and (
            value(intervals[follower].start) < value(intervals[n].end)
        ):
            follower += 1
        later = max(follower, n + 1)
        if later < len(intervals):
            yield from _arc(intervals[n].end, intervals[later].start, 0)
    if shared:
        for one, two in pairwise(intervals):
            yield from _arc(one.start, two.start, 0)


def _arc(earlier: Time, later: Time, delay: int) -> Iterator[Arc]:
    (u, a), (v, b) = split(earlier), split(later)
    if v is not None and u is not v:
        yield Arc(None if u is None else u.name, v.name, a + delay - b)


def _there(presence: Literal, value: Value) -> bool:
    return presence is None or value(presence) > 0.5
