"""From recordings of runs to measured costs.

An action runs several operators in one go. Their seconds are the shares, among all that add up to
what was measured of every set of operators that ran together, which are closest to the plan (in
the sense of Kullback and Leibler): one set alone is shared in proportion to the planned seconds,
and an operator that some recording has alone keeps its own time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from parplan.errors import InputError
from parplan.graph import Mode
from parplan.measuring.link_speeds import Message, link_speeds, messages_of
from parplan.measuring.measured_costs import EVERY_KIND, MeasuredCosts, MeasuredSeconds
from parplan.measuring.recording import WAIT, Recording, Span
from parplan.plans import Plan
from parplan.problem import Problem
from parplan.text import plain

WARM_UP = 1
"""Steps left out at the beginning of each recording, where it has more."""

NORMAL = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

ROUNDS = 1_000
EXACT = 1e-9
"""Rounds of sharing at most, and the relative error of all sums at which they end."""


@frozen
class Member:
    """An operator in one of its modes on a kind of device."""

    operator: str
    mode: str
    kind: str


Group = tuple[Member, ...]
"""Operators that ran together."""


@frozen
class Measurement:
    """The time of one set of operators that ran together: median, and coefficient of variation."""

    seconds: float
    spread: float
    samples: int


def measured(samples: Sequence[float]) -> Measurement:
    """Return median and spread of samples; neither follows a few that are far off.

    The spread is 1.4826 times the median absolute deviation, over the median: the coefficient of
    variation, where samples are normal (Rousseeuw, Croux: Alternatives to the median absolute
    deviation, JASA 88, 1993).
    """
    values = np.array(samples)
    median = float(np.median(values))
    deviation = float(np.median(np.abs(values - median)))
    spread = NORMAL * deviation / median if median > 0 else 0.0
    return Measurement(median, spread, len(values))


def calibrate(
    recordings: Sequence[Recording], plan: Plan | None = None, warm_up: int = WARM_UP
) -> MeasuredCosts:
    """Return what recordings say of the costs of operators, and of messages between devices.

    Parameters
    ----------
    recordings
        Of any plans with the operators and devices of ``plan``. More of them, with other operators
        together, tell apart what one leaves to the plan.
    plan
        Says the kinds of the devices, the modes, and what operators that ran together have of
        their time. Without it every action must be of one operator, and counts for all kinds.
    warm_up
        Steps that are left out at the beginning of each recording; one remains in any case.

    Raises
    ------
    InputError
        If there is no work to measure, or a recording names what the plan does not have, or has
        several operators in one action and there is no plan.
    """
    samples: dict[Group, list[float]] = {}
    messages: list[Message] = []
    context = _Context(plan)
    for recording in recordings:
        spans = list(working_spans(recording, warm_up))
        for span in spans:
            scale = recording.seconds_per_planned_second * context.slowdown(span)
            samples.setdefault(context.group(span), []).append(span.seconds / scale)
        if plan is not None:
            messages += messages_of(recording, plan, spans)
    if not samples:
        raise InputError("the recordings have no work with operators")
    versions = {name: text for one in recordings for name, text in one.versions.items()}
    operators = measured_operators(samples, context.planned)
    return MeasuredCosts(_source(recordings), operators, link_speeds(messages), versions)


def measured_operators(
    samples: Mapping[Group, Sequence[float]], planned: Callable[[Member], float]
) -> tuple[MeasuredSeconds, ...]:
    """Return the seconds of operators, from those of the groups in which they ran.

    Parameters
    ----------
    planned
        Tells the seconds that an operator should take: how those of a group share its time.
    """
    groups = {group: measured(seconds) for group, seconds in samples.items()}
    members = list(dict.fromkeys(member for group in groups for member in group))
    number = {member: i for i, member in enumerate(members)}
    seconds = shares(
        [[number[member] for member in group] for group in groups],
        [group.seconds for group in groups.values()],
        [planned(member) for member in members],
    )
    clearest = _clearest(groups)
    return tuple(
        MeasuredSeconds(
            *(member.operator, member.mode, member.kind),
            float(found),
            groups[clearest[member]].spread,
            groups[clearest[member]].samples,
            len(clearest[member]) - 1,
        )
        for member, found in zip(members, seconds, strict=True)
    )


def working_spans(recording: Recording, warm_up: int) -> Iterator[Span]:
    """Yield the spans with operators at work, from after the steps that warm up."""
    steps = recording.steps
    counted = set(steps[min(warm_up, max(len(steps) - 1, 0)) :])
    for span in recording.spans:
        if span.action != WAIT and span.operators and span.step in counted:
            yield span


def shares(
    groups: Sequence[Sequence[int]], sums: Sequence[float], prior: Sequence[float]
) -> NDArray[np.float64]:
    """Return amounts that add up to ``sums`` over ``groups`` and are as close to ``prior`` as can.

    Multiplicative rounds (SMART; Byrne: Iterative image reconstruction algorithms based on
    cross-entropy minimization, IEEE Transactions on Image Processing 2, 1993, equation 3): each
    amount is multiplied by the geometric mean of sum over current sum among its groups. They
    converge to the closest amounts in the sense of Kullback and Leibler, and where sums contradict
    one another to those that fit best. One group alone takes one round.

    Parameters
    ----------
    groups
        Indices of amounts; every amount is in one group at least.
    """
    amounts = np.array(prior, dtype=np.float64)
    rows = [np.array(group, dtype=np.int64) for group in groups]
    for row in rows:
        if not amounts[row].any():  # nothing says how to share
            amounts[row] = 1.0
    for row, total in zip(rows, sums, strict=True):
        if total == 0:
            amounts[row] = 0.0
    counts = np.bincount(np.concatenate(rows), minlength=len(amounts))
    for _ in range(ROUNDS):
        change = np.zeros_like(amounts)
        for row, total in zip(rows, sums, strict=True):
            current = float(amounts[row].sum())
            if total > 0 and current > 0:
                change[row] += math.log(total / current)
        amounts *= np.exp(change / counts)
        if np.abs(change).max() <= EXACT:
            break
    return amounts


def _clearest(groups: Mapping[Group, Measurement]) -> dict[Member, Group]:
    """Return the group that says most of each member: the smallest, then the most sampled."""
    found: dict[Member, Group] = {}
    for group in sorted(groups, key=lambda one: (len(one), -groups[one].samples)):
        for member in group:
            found.setdefault(member, group)
    return found


def _source(recordings: Sequence[Recording]) -> str:
    told = Counter(
        plain(f"{one.source or 'a recording'}{f' on {one.date}' if one.date else ''}")
        for one in recordings
    )
    return "; ".join(
        text if count == 1 else f"{text} ({count} runs)" for text, count in told.items()
    )


class _Context:
    """What a plan says of the spans of its runs; without a plan, that nothing is known."""

    def __init__(self, plan: Plan | None) -> None:
        self._problem = None if plan is None else plan.problem
        self._modes = {} if plan is None else _modes(plan)

    def group(self, span: Span) -> Group:
        """Return the operators of a span, in their modes on the kind of its device."""
        if self._problem is None:
            if len(span.operators) > 1:
                raise InputError(
                    f"'{span.operators[0]}' and '{span.operators[1]}' were recorded in one action; "
                    "name the plan that ran, which says how they share it (--plan)"
                )
            return (Member(span.operators[0], "", EVERY_KIND),)
        kind = self._problem.cluster.devices[self._device(span.device)].kind
        return tuple(Member(name, self._mode(name).name, kind) for name in span.operators)

    def planned(self, member: Member) -> float:
        """Return the planned seconds of a member at scale 1."""
        if self._problem is None:
            return 1.0
        return self._mode(member.operator).seconds_on(member.kind) or 0.0

    def slowdown(self, span: Span) -> float:
        """Return how much longer a span takes than at scale 1 on a device of full speed."""
        if self._problem is None:
            return 1.0
        slow = self._problem.cluster.devices[self._device(span.device)].slowdown
        engines = {e for name in span.operators for e in self._mode(name).engines}
        factor = max((slow.get(engine, 1.0) for engine in engines), default=1.0)
        return factor * self._problem.workload.scale(span.microbatch)

    def _device(self, name: str) -> int:
        assert self._problem is not None
        found = self._problem.cluster.device_index.get(name)
        if found is None:
            raise InputError(
                f"the recording has a device '{name}' that plan '{self._problem.name}' does not "
                "have; name the plan that ran"
            )
        return found

    def _mode(self, operator: str) -> Mode:
        assert self._problem is not None
        found = self._modes.get(operator)
        if found is None:
            raise InputError(
                f"the recording has an operator '{operator}' that plan '{self._problem.name}' does "
                "not have; name the plan that ran"
            )
        return found


def _modes(plan: Plan) -> dict[str, Mode]:
    """Return the mode in which a plan runs each operator (that of its first task)."""
    problem: Problem = plan.problem
    found: dict[str, Mode] = {}
    for row, o in enumerate(plan.schedule.tasks.operator.tolist()):
        operator = problem.graph.operators[o]
        if operator.name not in found:
            found[operator.name] = operator.modes[plan.schedule.alternative(row).mode]
    return found
