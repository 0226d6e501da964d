"""A critical path: a chain of activities from time 0 to the makespan, without a pause.

Each step starts just when what it waits for happens, so nothing shorter has these activities one
after another. Where several things are waited for at once the chain follows one of them, first
what keeps it on the same device or link, and each step tells the others.
"""

from __future__ import annotations

import numpy as np
from attrs import frozen

from parplan.checking import check_schedule
from parplan.errors import InputError
from parplan.explaining.activities import Activities
from parplan.explaining.causes import Cause, Causes, Reason, inputs
from parplan.rules import Rules
from parplan.schedule import Schedule, Tasks, Transfers

FOLLOWED = (
    Reason.DEVICE,
    Reason.LINK,
    Reason.DATA,
    Reason.MEMORY,
    Reason.RESOURCE,
    Reason.LAG,
    Reason.FIFO,
)
"""Which cause the chain follows where there are several."""


@frozen
class Step:
    """A stretch of the chain: an activity, from its start until the next step can start.

    Attributes
    ----------
    activity
        As `parplan.explaining.activities` numbers it; -1 for a pause.
    name, place, kind
        What runs, on which devices or links, and the kind of its operator (``"transfer"`` or
        ``"pause"`` otherwise).
    start, until
        In ticks; ``until`` is the start of the next step, or the makespan.
    cause
        What it waited for: its event is what the step before ends with.
    ties
        What else it waited for, just as long.
    """

    activity: int
    name: str
    place: str
    kind: str
    start: int
    until: int
    cause: Cause
    ties: tuple[Cause, ...] = ()

    @property
    def ticks(self) -> int:
        """Its part of the makespan."""
        return self.until - self.start


def critical_path(schedule: Schedule, rules: Rules) -> tuple[Step, ...]:
    """Return the steps of a critical path of a valid schedule, first to last.

    They are contiguous and cover the makespan. A *pause* is time in which the next step could run
    and no declaration keeps it from it: its cause names the constraint that does so by code of its
    own, or says that nothing does.

    Raises
    ------
    InputError
        If the schedule breaks its rules, so that nothing in it is sure.
    """
    broken = check_schedule(schedule, rules)
    if broken:
        raise InputError(f"the plan breaks its rules: {broken[0].message}; plan again")
    return _Chain(Activities(schedule), rules).steps() if len(schedule.tasks) else ()


class _Chain:
    """The walk from the end of the schedule back to its start."""

    def __init__(self, activities: Activities, rules: Rules) -> None:
        self.activities, self.rules = activities, rules
        self.causes = Causes(activities, rules)
        self.seen: set[int] = set()

    def steps(self) -> tuple[Step, ...]:
        activities = self.activities
        makespan = activities.facts.makespan
        ending = np.flatnonzero(activities.ends[: activities.tasks] == makespan)
        last = max(
            ending.tolist(),
            key=lambda a: (activities.ends[a] - activities.starts[a], -a),
        )
        found: list[Step] = []
        activity, until = last, makespan
        while activity >= 0:
            self.seen.add(activity)
            cause, ties = self._cause(activity)
            start = int(activities.starts[activity])
            found.append(self._step(activity, until, cause, ties))
            if cause.reason in (Reason.RULE, Reason.CHOICE):
                ready = self._ready(activity)
                found.append(Step(-1, "", "", "pause", ready, start, self._arrived(activity)))
                start, cause = ready, found[-1].cause
            if cause.reason is Reason.RELEASE:
                found.append(Step(-1, "", "", "pause", 0, start, Cause(Reason.START, "start")))
            activity, until = cause.activity, start
        return tuple(reversed(found))

    def _step(self, activity: int, until: int, cause: Cause, ties: tuple[Cause, ...]) -> Step:
        activities = self.activities
        return Step(
            activity,
            activities.name(activity),
            activities.place(activity),
            activities.kind(activity),
            int(activities.starts[activity]),
            until,
            cause,
            ties,
        )

    # -- which cause -----------------------------------------------------------------------------

    def _cause(self, activity: int) -> tuple[Cause, tuple[Cause, ...]]:
        """Return the cause that the chain follows, and the others."""
        found = self.causes.of(activity)
        ends = [c for c in found if c.reason in (Reason.START, Reason.RELEASE)]
        if ends:
            return ends[0], tuple(c for c in found if c is not ends[0])
        open_ = [c for c in found if c.activity not in self.seen]
        if not open_:
            return self._undeclared(activity), found
        best = min(open_, key=lambda c: self._rank(activity, c))
        return best, tuple(c for c in found if c is not best)

    def _rank(self, activity: int, cause: Cause) -> tuple[bool, int, int]:
        back = self.activities.starts[activity] - self.activities.starts[cause.activity]
        return back <= 0, FOLLOWED.index(cause.reason), -int(back)

    def _undeclared(self, activity: int) -> Cause:
        """Return which constraint objects to an earlier start in code of its own, if any."""
        own = {c.name for c in self.rules.escape_hatches}
        if own:
            for violation in check_schedule(self._earlier(activity), self.rules):
                if violation.rule in own:
                    return Cause(Reason.RULE, violation.rule)
        return Cause(Reason.CHOICE, "nothing")

    def _earlier(self, activity: int) -> Schedule:
        """Return the schedule with one activity a tick earlier."""
        schedule, count = self.activities.schedule, self.activities.tasks
        t, x = schedule.tasks, schedule.transfers
        starts, moved = t.start.copy(), x.start.copy()
        column, row = (starts, activity) if activity < count else (moved, activity - count)
        column[row] -= 1
        return Schedule(
            schedule.problem,
            Tasks(t.operator, t.microbatch, t.alternative, starts),
            Transfers(x.tensor, x.microbatch, x.source, x.target, moved),
        )

    # -- pauses ----------------------------------------------------------------------------------

    def _ready(self, activity: int) -> int:
        """Return when the last input of an activity was there, and its microbatch released."""
        ends = self.activities.ends
        arrived = max((int(ends[a]) for _, a in inputs(self.activities, activity)), default=0)
        return max(arrived, self._release(activity))

    def _arrived(self, activity: int) -> Cause:
        """Return what an activity could start with: its last input or release, as a cause."""
        ends, graph = self.activities.ends, self.activities.facts.problem.graph
        brought = [
            Cause(Reason.DATA, graph.tensors[tensor].name, source)
            for tensor, source in inputs(self.activities, activity)
        ]
        last = max(brought, key=lambda c: int(ends[c.activity]), default=None)
        release = self._release(activity)
        if last is not None and ends[last.activity] >= release:
            return last
        return Cause(Reason.RELEASE, "release") if release else Cause(Reason.START, "start")

    def _release(self, activity: int) -> int:
        activities = self.activities
        if not activities.is_task(activity):
            return 0
        microbatch = int(activities.schedule.tasks.microbatch[activity])
        return activities.facts.problem.release(microbatch)
