"""Priority rules of the list scheduler: how urgent each activity is, and how far to run ahead."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from attrs import field, frozen

from parplan.graph import Kind
from parplan.problem import STEP
from parplan.search.network import Network

CLASSES: Mapping[Kind, str] = {
    Kind.FORWARD: "forward",
    Kind.BACKWARD: "backward",
    Kind.BACKWARD_INPUT: "backward",
    Kind.BACKWARD_WEIGHT: "weight",
}


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
    """

    slope: float = 1.0
    offsets: Mapping[str, float] = field(factory=dict)
    ahead: float = math.inf
    extra: int = 1
    stage_extra: Mapping[int, int] = field(factory=dict)
    stage_offsets: Mapping[tuple[int, str], float] = field(factory=dict)


@frozen(eq=False)
class Profile:
    """Figures of a network that all rules share.

    Attributes
    ----------
    heads
        Earliest start of each activity if its microbatch were alone.
    period
        Ticks of one microbatch on the busiest resource of capacity one.
    """

    heads: Sequence[int]
    microbatches: Sequence[int]
    classes: Sequence[str]
    period: float


def profile(network: Network) -> Profile:
    """Return the profile of a network; linear in activities and arcs."""
    count = len(network)
    microbatches = [m for _, m in network.tasks] + [m for _, m, _, _ in network.transfers]
    operators = network.problem.graph.operators
    classes = [CLASSES.get(operators[o].kind, "") for o, _ in network.tasks]
    classes += [""] * len(network.transfers)
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
    return Profile(heads, microbatches, classes, max(period, 1.0))


def priorities(
    network: Network, shared: Profile, rule: PriorityRule, stage_of: Sequence[int]
) -> list[float]:
    """Return the urgency of each activity under a rule.

    Parameters
    ----------
    stage_of
        Stage of each operator.
    """
    urgencies = []
    cache: dict[int, float] = {}
    for task, (operator, m) in enumerate(network.tasks):
        if operator not in cache:
            kind = shared.classes[task]
            offset = rule.offsets.get(kind, 0.0)
            offset += rule.stage_offsets.get((stage_of[operator], kind), 0.0)
            cache[operator] = offset * shared.period
        head = rule.slope * shared.heads[task]
        urgencies.append(max(m, 0) * shared.period + head + cache[operator])
    count = len(network.tasks)
    urgencies += [
        max(m, 0) * shared.period + rule.slope * head
        for m, head in zip(shared.microbatches[count:], shared.heads[count:], strict=True)
    ]
    return urgencies


def window_arcs(
    network: Network, shared: Profile, rule: PriorityRule, stages: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return arcs that limit how many microbatches are between the ends of each stage.

    Parameters
    ----------
    stages
        (first, last) operator of each stage: ``first`` of microbatch k waits for ``last`` of
        microbatch k - window.
    """
    if math.isinf(rule.ahead):
        return []
    arcs = []
    count = network.problem.workload.microbatches
    group = network.problem.workload.group
    for stage, (first, last) in enumerate(stages):
        one = network.task_index[first, 0]
        two = network.task_index[last, 0]
        stay = shared.heads[two] + network.durations[two] - shared.heads[one]
        window = math.ceil(rule.ahead * stay / shared.period) + rule.extra
        window = max(1, window + rule.stage_extra.get(stage, 0))
        for g in range(network.problem.workload.group_count):
            own = [k for k in range(count) if group(k) == g]
            arcs += [
                (network.task_index[last, before], network.task_index[first, after])
                for before, after in zip(own, own[window:], strict=False)
            ]
    return arcs
