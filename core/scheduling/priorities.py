"""Priority rules of the list scheduler: how urgent each activity is, and how far to run ahead."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from attrs import field, frozen

from parplan.graph import Kind
from parplan.problem import STEP
from parplan.scheduling.list_scheduler import NO_ARCS, Arcs
from parplan.scheduling.network import Network
from parplan.scheduling.tables import Flags, Real, Whole

CLASSES: Mapping[Kind, str] = {
    Kind.FORWARD: "forward",
    Kind.BACKWARD: "backward",
    Kind.BACKWARD_INPUT: "backward",
    Kind.BACKWARD_WEIGHT: "weight",
}


KINDS = ("forward", "backward", "weight", "")


@frozen
class PriorityRule:
    """Urgency = ``microbatch x period + slope x head + offset of the kind``; lowest goes first.

    With all slopes 1 and no offsets this is the time at which the activity would run in a steady
    pipeline. Times of ``offsets`` are in periods.

    Attributes
    ----------
    slope
        Weight of the head (earliest start within one microbatch).
    offsets
        For ``"forward"``, ``"backward"``, ``"weight"``; others count as 0.
    ahead
        How many times the unhindered stay of a microbatch on a stage it may stay there before the
        next one has to wait; infinity for no limit. This is what keeps memory in bounds.
    extra
        Microbatches that a stage may hold beyond that.
    stage_extra
        The same for single stages, on top.
    stage_offsets
        Offsets of (stage, kind), in periods, on top of ``offsets``.
    slopes
        Weight of the head for single kinds, instead of ``slope``.
    until
        ``"backward"``: a stay ends with the backward pass, so that weights may wait as long as
        memory allows; empty: with the last pass.
    patient
        Kinds that wait for more urgent passes that are known to come before they would have ended.
    """

    slope: float = 1.0
    offsets: Mapping[str, float] = field(factory=dict)
    ahead: float = math.inf
    extra: int = 1
    stage_extra: Mapping[int, int] = field(factory=dict)
    stage_offsets: Mapping[tuple[int, str], float] = field(factory=dict)
    slopes: Mapping[str, float] = field(factory=dict)
    until: str = ""
    patient: frozenset[str] = frozenset()


@frozen(eq=False)
class Profile:
    """Figures of a network that all rules share.

    Attributes
    ----------
    heads
        Earliest start of each activity if its microbatch were alone.
    microbatches
        Of each activity; 0 for what is done once per step.
    classes
        Index into ``KINDS``; the last stands for all other kinds, and for transfers.
    operators
        Of each task; 0 for transfers.
    period
        Ticks of one microbatch on the busiest resource of capacity one.
    """

    heads: Whole
    microbatches: Whole
    classes: Whole
    operators: Whole
    period: float


def profile(network: Network) -> Profile:
    """Return the profile of a network; linear in activities and arcs."""
    count = len(network)
    microbatches = [m for _, m in network.tasks] + [m for _, m, _, _ in network.transfers]
    operators = network.problem.graph.operators
    classes = [KINDS.index(CLASSES.get(operators[o].kind, "")) for o, _ in network.tasks]
    classes += [KINDS.index("")] * len(network.transfers)
    heads = [0] * count
    waiting = [0] * count
    for i, arcs in enumerate(network.successors):
        for after, _ in arcs:
            if microbatches[after] == microbatches[i] or STEP in (
                microbatches[after],
                microbatches[i],
            ):
                waiting[after] += 1
    stack = [i for i in range(count) if waiting[i] == 0]
    while stack:
        i = stack.pop()
        for after, delay in network.successors[i]:
            if microbatches[after] != microbatches[i] and STEP not in (
                microbatches[after],
                microbatches[i],
            ):
                continue
            heads[after] = max(heads[after], heads[i] + delay)
            waiting[after] -= 1
            if waiting[after] == 0:
                stack.append(after)
    load: dict[int, int] = {}
    for i, amounts in enumerate(network.amounts):
        for r, _ in amounts:
            if network.capacities[r] == 1:
                load[r] = load.get(r, 0) + network.durations[i]
    period = max(load.values(), default=1) / max(network.problem.workload.microbatches, 1)
    tasks = [o for o, _ in network.tasks] + [0] * len(network.transfers)
    return Profile(
        np.array(heads, dtype=np.int64),
        np.maximum(np.array(microbatches, dtype=np.int64), 0),
        np.array(classes, dtype=np.int64),
        np.array(tasks, dtype=np.int64),
        max(period, 1.0),
    )


def priorities(shared: Profile, rule: PriorityRule, stage_of: Sequence[int]) -> Real:
    """Return the urgency of each activity under a rule.

    Parameters
    ----------
    stage_of
        Stage of each operator.
    """
    stages = np.asarray(stage_of)
    offsets = np.zeros((int(stages.max()) + 1, len(KINDS)))
    for kind, offset in rule.offsets.items():
        offsets[:, KINDS.index(kind)] = offset
    for (stage, kind), offset in rule.stage_offsets.items():
        if stage < len(offsets):
            offsets[stage, KINDS.index(kind)] += offset
    shift = offsets[stages[shared.operators], shared.classes]
    slopes = np.array([rule.slopes.get(kind, rule.slope) for kind in KINDS])[shared.classes]
    urgency: Real = (shared.microbatches + shift) * shared.period + slopes * shared.heads
    return urgency


def waiting_kinds(shared: Profile, rule: PriorityRule) -> Flags:
    """Return which activities are patient under a rule."""
    kinds = np.array([kind in rule.patient for kind in KINDS])
    found: Flags = kinds[shared.classes]
    return found


def window_arcs(
    network: Network, shared: Profile, rule: PriorityRule, stages: Sequence[tuple[int, int]]
) -> Arcs:
    """Return arcs that limit how many microbatches are between the ends of each stage.

    Parameters
    ----------
    stages
        (first, last) operator of each stage: ``first`` of microbatch k waits for ``last`` of
        microbatch k - window.
    """
    if math.isinf(rule.ahead):
        return NO_ARCS
    workload = network.problem.workload
    groups = [
        np.array([k for k in range(workload.microbatches) if workload.group(k) == g])
        for g in range(workload.group_count)
    ]
    before, after = [], []
    for stage, (first, last) in enumerate(stages):
        # Tasks of one operator are numbered by their microbatches.
        one, two = network.task_index[first, 0], network.task_index[last, 0]
        stay = int(shared.heads[two]) + network.durations[two] - int(shared.heads[one])
        window = math.ceil(rule.ahead * stay / shared.period) + rule.extra
        window = max(1, window + rule.stage_extra.get(stage, 0))
        for own in groups:
            before.append(two + own[: max(len(own) - window, 0)])
            after.append(one + own[window:])
    if not before:
        return NO_ARCS
    return np.concatenate(before), np.concatenate(after)
