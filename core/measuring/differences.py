"""Where a recorded run left its plan: makespan, devices, operators, order, and the first delay.

Measured times are in the seconds of the plan: an emulated run that was ten times slower counts a
tenth. Both plan and step count from the start of their first work.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from itertools import pairwise

from attrs import frozen

from parplan.errors import InputError
from parplan.measuring.calibrating import WARM_UP, working_spans
from parplan.measuring.link_speeds import Message, messages_of
from parplan.measuring.recording import Recording, Span
from parplan.plans import Plan
from parplan.schedule import Schedule
from parplan.text import seconds_text

TOLERANCE = 0.01
"""Part of the planned makespan by which an action may start later without being late."""


@frozen
class Run:
    """One action, as planned and as it ran.

    Attributes
    ----------
    planned_start_s, start_s
        From the first start of the step; planned: that of the first of its operators.
    planned_s, seconds
        How long it takes; planned: the sum over its operators.
    """

    span: Span
    planned_start_s: float
    planned_s: float
    start_s: float
    seconds: float

    @property
    def late_s(self) -> float:
        """How much later it started than planned; negative where it started earlier."""
        return self.start_s - self.planned_start_s

    @property
    def planned_end_s(self) -> float:
        """When its operators would have ended, one after another."""
        return self.planned_start_s + self.planned_s

    @property
    def end_s(self) -> float:
        """When it ended."""
        return self.start_s + self.seconds

    def __str__(self) -> str:
        first, *others = self.span.operators
        more = f" and {len(others)} more" if others else ""
        where = "" if self.span.microbatch < 0 else f" microbatch {self.span.microbatch}"
        return f"{self.span.action}{where} of '{first}'{more} on {self.span.device}"


@frozen
class DeviceDifference:
    """The time of a device: at work, and the rest of the makespan.

    Attributes
    ----------
    late
        The first action that started late there; None if none did.
    """

    device: str
    planned_compute_s: float
    compute_s: float
    planned_waiting_s: float
    waiting_s: float
    late: Run | None


@frozen
class LinkDifference:
    """The time of messages from one device to another.

    Attributes
    ----------
    planned_s, seconds
        Medians; measured: over the messages that somebody already waited for when they were sent.
    samples
        Messages measured.
    total_s
        What these took longer than planned, in one step.
    """

    source: str
    target: str
    planned_s: float
    seconds: float
    samples: int
    total_s: float


@frozen
class WorkDifference:
    """The time of one kind of action: the same operators on the same device.

    Attributes
    ----------
    planned_s, seconds
        Medians over all microbatches and steps after the warm-up.
    samples
        Actions measured.
    total_s
        What all of them in one step took longer than planned.
    """

    device: str
    action: str
    operators: tuple[str, ...]
    planned_s: float
    seconds: float
    samples: int
    total_s: float


class Cause(StrEnum):
    """Why an action started late."""

    DEVICE = "device"
    INPUT = "input"
    MESSAGE = "message"
    PAUSE = "pause"


@frozen
class LateStart:
    """The first action that started late, and what it waited for.

    Attributes
    ----------
    blocker
        What ended last before it: an input, or what its device ran; None if nothing came before.
    """

    run: Run
    cause: Cause
    blocker: Run | None

    @property
    def reason(self) -> str:
        """What it waited for, in words."""
        blocker = self.blocker
        if blocker is None:
            return "nothing ran before it"
        took = f"took {seconds_text(blocker.seconds)} instead of {seconds_text(blocker.planned_s)}"
        gap = seconds_text(self.run.start_s - blocker.end_s)
        planned = seconds_text(max(0.0, self.run.planned_start_s - blocker.planned_end_s))
        return {
            Cause.DEVICE: f"its device was busy with {blocker}, which {took}",
            Cause.INPUT: f"it waited for {blocker}, which {took}",
            Cause.MESSAGE: f"the result of {blocker} was there {gap} later instead of {planned}",
            Cause.PAUSE: f"its device paused after {blocker} for {gap} instead of {planned}",
        }[self.cause]


@frozen
class OrderDifference:
    """The first place where a device left the planned order: what ran, and what was planned."""

    device: str
    ran: Run
    planned: Run


@frozen(eq=False)
class Differences:
    """Where a run left its plan.

    Attributes
    ----------
    planned_makespan_s, makespan_s
        Planned, and the median over the steps after the warm-up.
    step
        The step whose makespan is the median: devices, order and the late start are its own.
    devices
        In the cluster's order, those that ran anything.
    work, links
        The largest deviation of a step first; links as far as their messages could be timed.
    orders
        Of each device that left its order.
    late
        None if nothing started late.
    runs
        The actions of the step, by start.
    unrecorded
        Operators of the plan that the recording does not have.
    """

    plan: Plan
    planned_makespan_s: float
    makespan_s: float
    step: int
    devices: tuple[DeviceDifference, ...]
    work: tuple[WorkDifference, ...]
    links: tuple[LinkDifference, ...]
    orders: tuple[OrderDifference, ...]
    late: LateStart | None
    runs: tuple[Run, ...]
    unrecorded: int


def find_differences(
    plan: Plan, recording: Recording, warm_up: int = WARM_UP, tolerance: float = TOLERANCE
) -> Differences:
    """Return where a recorded run left its plan.

    Parameters
    ----------
    warm_up
        Steps that are left out at the beginning; one remains in any case.
    tolerance
        Part of the planned makespan by which an action may start later without being late.

    Raises
    ------
    InputError
        If the recording has no work, or work that the plan does not have.
    """
    planned = _Planned(plan.schedule)
    steps: dict[int, list[Run]] = {}
    spans = list(working_spans(recording, warm_up))
    if not spans:
        raise InputError("the recording has no work with operators")
    first = {
        step: min(s.start_s for s in spans if s.step == step) for step in {s.step for s in spans}
    }
    for span in spans:
        run = planned.run(span, first[span.step], recording.seconds_per_planned_second)
        steps.setdefault(span.step, []).append(run)
    lengths = {step: max(run.end_s for run in runs) for step, runs in steps.items()}
    step = min(
        lengths, key=lambda one: (abs(lengths[one] - statistics.median_low(lengths.values())), one)
    )
    runs = tuple(sorted(steps[step], key=lambda run: (run.start_s, run.span.device)))
    makespan = plan.schedule.makespan * plan.problem.tick_s
    return Differences(
        plan=plan,
        planned_makespan_s=makespan,
        makespan_s=statistics.median(lengths.values()),
        step=step,
        devices=tuple(_devices(planned, runs, makespan, lengths[step], tolerance * makespan)),
        work=tuple(_work(steps)),
        links=tuple(_links(plan, list(messages_of(recording, plan, spans)), len(steps))),
        orders=tuple(_orders(runs)),
        late=_late(planned, runs, tolerance * makespan),
        runs=runs,
        unrecorded=len(planned.names) - len({name for run in runs for name in run.span.operators}),
    )


class _Planned:
    """A plan, asked for actions by the names of their operators."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.problem = schedule.problem
        self.names = self.problem.graph.operator_index

    def rows(self, span: Span) -> list[int]:
        """Return the rows of the operators of a span."""
        found = []
        for name in span.operators:
            row = self.schedule.row_of.get((self.names.get(name, -1), span.microbatch))
            if row is None:
                raise InputError(
                    f"the recording has operator '{name}' for microbatch {span.microbatch}, which "
                    f"plan '{self.problem.name}' does not have; name the plan that ran"
                )
            found.append(row)
        return found

    def run(self, span: Span, first_s: float, scale: float) -> Run:
        """Return a span beside what was planned."""
        rows, tick_s = self.rows(span), self.problem.tick_s
        starts, ends = self.schedule.tasks.start[rows], self.schedule.ends[rows]
        return Run(
            span,
            int(starts.min()) * tick_s,
            int((ends - starts).sum()) * tick_s,
            (span.start_s - first_s) / scale,
            span.seconds / scale,
        )

    @cached_property
    def compute_s(self) -> Mapping[str, float]:
        """Seconds at work by device."""
        found: dict[str, float] = {}
        for view in self.schedule.task_views():
            for device in view.devices:
                seconds = (view.end - view.start) * self.problem.tick_s
                found[device] = found.get(device, 0.0) + seconds
        return found

    def inputs(self, run: Run, made_by: Mapping[tuple[str, int], Run]) -> Iterator[Run]:
        """Yield the actions whose results an action reads."""
        graph = self.problem.graph
        for name in run.span.operators:
            for t in graph.inputs[self.names[name]]:
                maker = graph.operators[graph.producers[t]].name
                for k in self.problem.read_microbatches(t, run.span.microbatch):
                    found = made_by.get((maker, k))
                    if found is not None and found is not run:
                        yield found


def _devices(
    planned: _Planned,
    runs: Sequence[Run],
    planned_makespan: float,
    makespan: float,
    tolerance_s: float,
) -> Iterator[DeviceDifference]:
    ran = _by_device(runs)
    for device in planned.problem.cluster.devices:
        if device.name in ran:
            ought = planned.compute_s.get(device.name, 0.0)
            took = sum(run.seconds for run in ran[device.name])
            late = next((run for run in ran[device.name] if run.late_s > tolerance_s), None)
            yield DeviceDifference(
                device.name, ought, took, planned_makespan - ought, makespan - took, late
            )


def _links(plan: Plan, messages: Sequence[Message], steps: int) -> list[LinkDifference]:
    planned: dict[tuple[str, str], list[float]] = {}
    for view in plan.schedule.transfer_views():
        seconds = (view.arrival - view.start) * plan.problem.tick_s
        planned.setdefault((view.source, view.target), []).append(seconds)
    found = []
    for pair, ought in planned.items():
        took = [m.seconds for m in messages if (m.source, m.target) == pair]
        if took:
            median = statistics.median(ought)
            more = sum(took) - median * len(took)
            found.append(
                LinkDifference(*pair, median, statistics.median(took), len(took), more / steps)
            )
    return sorted(found, key=lambda one: -abs(one.total_s))


def _work(steps: Mapping[int, Sequence[Run]]) -> list[WorkDifference]:
    alike: dict[tuple[str, str, tuple[str, ...]], list[Run]] = {}
    for runs in steps.values():
        for run in runs:
            key = (run.span.device, run.span.action, run.span.operators)
            alike.setdefault(key, []).append(run)
    found = [
        WorkDifference(
            *key,
            statistics.median(run.planned_s for run in runs),
            statistics.median(run.seconds for run in runs),
            len(runs),
            sum(run.seconds - run.planned_s for run in runs) / len(steps),
        )
        for key, runs in alike.items()
    ]
    return sorted(found, key=lambda one: -abs(one.total_s))


def _by_device(runs: Sequence[Run]) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.span.device, []).append(run)
    return found


def _orders(runs: Sequence[Run]) -> Iterator[OrderDifference]:
    for device, ran in _by_device(runs).items():
        ought = sorted(ran, key=lambda run: run.planned_start_s)  # stable: ties as they ran
        for one, other in zip(ran, ought, strict=True):
            if one is not other:
                yield OrderDifference(device, one, other)
                break


def _late(planned: _Planned, runs: Sequence[Run], tolerance_s: float) -> LateStart | None:
    late = next((run for run in runs if run.late_s > tolerance_s), None)
    if late is None:
        return None
    made_by = {(name, run.span.microbatch): run for run in runs for name in run.span.operators}
    before = {two.span: one for ran in _by_device(runs).values() for one, two in pairwise(ran)}
    blockers = list(planned.inputs(late, made_by))
    if late.span in before:
        blockers.append(before[late.span])
    blocker = max(blockers, key=lambda run: run.end_s, default=None)
    if blocker is None:
        return LateStart(late, Cause.PAUSE, None)
    here = blocker.span.device == late.span.device
    if 2 * (blocker.end_s - blocker.planned_end_s) >= late.late_s:  # most of the delay is older
        return LateStart(late, Cause.DEVICE if here else Cause.INPUT, blocker)
    return LateStart(late, Cause.PAUSE if here else Cause.MESSAGE, blocker)
