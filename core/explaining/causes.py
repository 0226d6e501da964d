"""What holds an activity up: everything but for which it could start one tick earlier.

All of it is read off the schedule. An input holds an activity up if it is there just when the
activity starts; a resource does if, one tick earlier, its level and what the activity takes would
exceed the capacity: then whatever lets go of it at that tick is the cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from functools import cached_property
from itertools import pairwise

import numpy as np
from attrs import frozen

from parplan.checking.columns import Whole
from parplan.declarations import (
    Demand,
    Moving,
    Order,
    Receiving,
    Resident,
    ResidentParameters,
    Resource,
    Running,
    Sending,
    TimeLag,
)
from parplan.explaining.activities import Activities, Index, Spans
from parplan.rules import Rules
from parplan.ticks import ticks_up

# Sums of amounts that are not whole may be this far off, relative to the capacity.
ROUNDING = 1e-9


class Reason(StrEnum):
    """Why an activity waits.

    ``RESOURCE`` is a declared resource that is neither engine, link nor memory; ``LAG`` a time lag
    or an order; ``RULE`` a constraint's own code; ``CHOICE`` means that nothing holds it up.
    """

    DEVICE = "device"
    LINK = "link"
    DATA = "data"
    MEMORY = "memory"
    RESOURCE = "resource"
    LAG = "lag"
    FIFO = "fifo"
    RELEASE = "release"
    START = "start"
    RULE = "rule"
    CHOICE = "choice"


@frozen
class Cause:
    """One thing that holds an activity up.

    Attributes
    ----------
    what
        Name of the tensor, resource or rule that is waited for.
    activity
        With whose event the wait ends; -1 for a release and for the start of the schedule.
    """

    reason: Reason
    what: str
    activity: int = -1


@frozen(eq=False)
class Causes:
    """What holds the activities of one schedule up, under the rules of its problem."""

    activities: Activities
    rules: Rules

    def of(self, activity: int) -> tuple[Cause, ...]:
        """Return all causes: each by itself keeps the activity from starting a tick earlier.

        Empty where nothing that a rule declares holds it up: then it waits of the schedule's free
        will, or for what a constraint says in code of its own.
        """
        found = [*self._data(activity), *self._held_up(activity), *self._lags.get(activity, ())]
        if self.activities.is_task(activity):
            found += self._release(activity)
        elif self.activities.facts.problem.cluster.fifo:
            found += self._overtaken(activity)
        if self.activities.starts[activity] == 0:
            found.append(Cause(Reason.START, "start"))
        return tuple(dict.fromkeys(found))

    # -- data and releases -----------------------------------------------------------------------

    def _data(self, activity: int) -> Iterator[Cause]:
        activities = self.activities
        start = activities.starts[activity]
        for tensor, source in inputs(activities, activity):
            if activities.ends[source] == start:
                name = activities.facts.problem.graph.tensors[tensor].name
                yield Cause(Reason.DATA, name, source)

    def _release(self, task: int) -> Iterator[Cause]:
        problem = self.activities.facts.problem
        release = problem.release(int(self.activities.schedule.tasks.microbatch[task]))
        if 0 < release == self.activities.starts[task]:
            yield Cause(Reason.RELEASE, "release")

    # -- resources -------------------------------------------------------------------------------

    def _held_up(self, activity: int) -> Iterator[Cause]:
        begun, owner = self._begun
        for number in dict.fromkeys(owner[begun.rows(activity)].tolist()):
            _, resource = self.rules.resources[number]
            spans = self.activities.spans(resource)
            mine = spans.begun_by(activity)
            mine = mine[(spans.end[mine] > spans.start[mine]) & (spans.amount[mine] > 0)]
            for tick in sorted(set(spans.start[mine].tolist())):
                taken = float(spans.amount[mine[spans.start[mine] == tick]].sum())
                limit = resource.capacity * (1 + ROUNDING)
                if spans.before(tick) - self._would_end(spans, tick, activity) + taken > limit:
                    reason = reason_of(resource)
                    for other in self._letting_go(spans, tick, activity):
                        yield Cause(reason, resource.name, other)

    @cached_property
    def _begun(self) -> tuple[Index, Whole]:
        """Return an index of what activities begin to hold, and of which resource each row is.

        Only what may have had to wait: most of what holds memory finds plenty of it.
        """
        spans = [self.activities.spans(resource) for _, resource in self.rules.resources]
        starters = [span.starter[span.scarce] for span in spans]
        owner = np.repeat(np.arange(len(starters)), [len(column) for column in starters])
        return Index.of(np.concatenate([*starters, np.zeros(0, dtype=np.int64)])), owner

    def _would_end(self, spans: Spans, tick: int, activity: int) -> float:
        """Return what would be given back a tick earlier too, since the activity itself ends it."""
        rows = spans.ending_at(tick)
        mine = rows[(spans.ender[rows] == activity) & (spans.start[rows] < tick)]
        return float(spans.amount[mine].sum())

    def _letting_go(self, spans: Spans, tick: int, activity: int) -> Iterator[int]:
        """Yield whoever gives some of a resource back at a tick."""
        for row in spans.ending_at(tick).tolist():
            if spans.start[row] == tick or spans.amount[row] == 0:
                continue
            ender, life = int(spans.ender[row]), int(spans.tensor[row])
            for other in (ender,) if life < 0 else self.activities.last_users(life):
                if other != activity:
                    yield other

    # -- lags and orders -------------------------------------------------------------------------

    @cached_property
    def _lags(self) -> dict[int, list[Cause]]:
        """Causes by what rules say of two operators, for each task that they hold up."""
        found: dict[int, list[Cause]] = {}
        declared = [*self.rules.of(TimeLag)]
        for rule, order in self.rules.of(Order):
            declared += [(rule, TimeLag(a, b)) for a, b in pairwise(order.operators)]
        usage, problem = self.activities.usage, self.activities.facts.problem
        for rule, lag in declared:
            index = problem.graph.operator_index
            first, last = usage.pairs(index[lag.before], index[lag.after], lag.offset)
            earliest = usage.edge(first, lag.before_edge) + ticks_up(lag.seconds, problem.tick_s)
            tight = usage.edge(last, lag.after_edge) == earliest
            for before, after in zip(first[tight].tolist(), last[tight].tolist(), strict=True):
                found.setdefault(after, []).append(Cause(Reason.LAG, rule, before))
        return found

    # -- first in, first out ---------------------------------------------------------------------

    def _overtaken(self, activity: int) -> Iterator[Cause]:
        """Yield transfers of the same device pair, made earlier, that start at the same tick."""
        activities, x = self.activities, self.activities.schedule.transfers
        row = activity - activities.tasks
        made = activities.facts.ends[activities.facts.moves.producer]
        pair = (x.source == x.source[row]) & (x.target == x.target[row])
        rivals = np.flatnonzero(pair & (made < made[row]) & (x.start == x.start[row]))
        for rival in rivals.tolist():
            yield Cause(Reason.FIFO, "first in, first out", activities.tasks + rival)


def inputs(activities: Activities, activity: int) -> Iterator[tuple[int, int]]:
    """Yield each tensor (index) that an activity waits for, with the activity that brings it."""
    if activities.is_task(activity):
        yield from activities.inputs(activity)
        return
    row = activity - activities.tasks
    producer = activities.facts.moves.producer[row]
    yield int(activities.schedule.transfers.tensor[row]), int(producer)


def reason_of(resource: Resource) -> Reason:
    """Return what waiting for a resource is called: for a device's engine, a link, memory."""
    if any(isinstance(d, Resident | ResidentParameters) for d in resource.demands):
        return Reason.MEMORY
    if all(isinstance(d, Moving) for d in resource.demands):
        return Reason.LINK
    if all(_holds_an_engine(d) for d in resource.demands):
        return Reason.DEVICE
    return Reason.RESOURCE


def _holds_an_engine(demand: Demand) -> bool:
    return isinstance(demand, Sending | Receiving) or (
        isinstance(demand, Running) and demand.engine is not None
    )
