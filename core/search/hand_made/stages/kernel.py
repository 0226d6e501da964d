"""Times and memory of a recipe's passes over stages, and annealing of cuts by them; compiled.

Judging a split takes some nanoseconds per pass. What it leaves out: collectives and engines beside
the busiest, links that several transfers share, and bytes that a pass needs only while it runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from parplan.scheduling.tables import Real, Whole
from parplan.system.compiling import compiled, kernel_part

PENALTY = 20.0
"""How many times itself a makespan grows for each device's memory that is missing."""

BARRED = 100.0
"""What a block on a device that cannot run it counts as, in such memories."""

TEMPERATURE = 0.02
"""How much worse, relatively, a step may be at the start with a chance of 1/e."""


@compiled
def timing_order(firsts: Whole, own: Whole, handed: Whole) -> Whole:
    """Return passes so that each comes after what it waits for; without those that never can.

    Parameters
    ----------
    firsts
        ``(devices + 1,)``: passes of device d are ``firsts[d]`` up to ``firsts[d + 1]``, in order.
    own, handed
        Passes that each one waits for besides the one before it on its device; -1 for none.
    """
    pointers = firsts[:-1].copy()
    done = np.zeros(len(own), dtype=np.bool_)
    found = np.empty(len(own), dtype=np.int64)
    count, before = 0, -1
    while count != before:
        before = count
        for device in range(len(pointers)):
            while pointers[device] < firsts[device + 1]:
                one = pointers[device]
                if (own[one] >= 0 and not done[own[one]]) or (
                    handed[one] >= 0 and not done[handed[one]]
                ):
                    break
                done[one] = True
                found[count] = one
                count += 1
                pointers[device] += 1
    return found[:count]


@compiled
def judge(blocks: Any, passes: Any, hosts: Whole, versions: Whole, cuts: Whole) -> Any:
    """Return (makespan in ticks, memory that is missing as parts of a device's, summed).

    Parameters
    ----------
    blocks, passes
        ``BlockFigures`` and ``PassTable``.
    hosts
        ``(groups, stages)``: device of each stage.
    versions
        ``(stages,)``: copies of the weights that each stage keeps.
    cuts
        ``(stages + 1,)``, from 0 to the number of blocks.
    """
    # Loops and no array expressions: these would double the time of compiling.
    devices, groups, stages = len(blocks.usable), hosts.shape[0], hosts.shape[1]
    level, peak = np.zeros(devices), np.zeros(devices)
    free, steps = np.zeros(devices), np.zeros(devices)
    sent = np.zeros((2, groups, stages))  # until when transfers to a stage hold their link
    ends = np.empty(len(passes.kind))
    missing = 0.0
    for s in range(stages):
        low, high = cuts[s], cuts[s + 1]
        resident = blocks.parameters[high] - blocks.parameters[low]
        resident += (versions[s] - 1) * (blocks.weights[high] - blocks.weights[low])
        steps[hosts[0, s]] += blocks.steps[hosts[0, s], high] - blocks.steps[hosts[0, s], low]
        for g in range(groups):
            d = hosts[g, s]
            missing += BARRED * (blocks.barred[g, d, high] - blocks.barred[g, d, low])
            shared = False
            for other in range(g):
                shared = shared or hosts[other, s] == d
            if not shared:
                level[d] += resident
    for i in range(len(passes.kind)):
        kind, s, g, scale = passes.kind[i], passes.stage[i], passes.group[i], passes.scale[i]
        d, low, high = hosts[g, s], cuts[s], cuts[s + 1]
        start = max(free[d], passes.release[i])
        if passes.own[i] >= 0:
            start = max(start, ends[passes.own[i]])
        if passes.handed[i] >= 0:
            arrival = ends[passes.handed[i]]
            source = hosts[g, s - 1] if kind == 0 else hosts[g, s + 1]
            if source != d:
                size = blocks.crossing[kind, low if kind == 0 else high] * scale
                sent[kind, g, s] = (
                    max(arrival, sent[kind, g, s]) + blocks.per_byte[source, d] * size
                )
                arrival = sent[kind, g, s] + blocks.latency[source, d]
            start = max(start, arrival)
        ticks = blocks.passes[kind, g, d, high] - blocks.passes[kind, g, d, low]
        ends[i] = free[d] = start + ticks * scale
        until_weight = (blocks.until_weight[high] - blocks.until_weight[low]) * scale
        until_backward = (blocks.until_backward[high] - blocks.until_backward[low]) * scale
        between = (blocks.between[high] - blocks.between[low]) * scale
        if kind == 0:
            level[d] += until_backward + until_weight
        elif kind == 1:
            level[d] += between
        peak[d] = max(peak[d], level[d])
        if kind == 1:
            level[d] -= until_backward
        elif kind == 2:
            level[d] -= until_weight + between
    makespan = 0.0
    for d in range(devices):
        makespan = max(makespan, free[d] + steps[d])
        if peak[d] > blocks.usable[d]:
            missing += peak[d] / blocks.usable[d] - 1.0
    return makespan, missing


@compiled
def annealed(
    blocks: Any, passes: Any, hosts: Whole, versions: Whole, cuts: Whole, moves: Real
) -> Whole:
    """Return the best cuts met by simulated annealing; every stage keeps a block.

    A move shifts one cut, or a range of them, by one block.

    Parameters
    ----------
    moves
        ``(steps, 4)`` uniform random numbers: a step's range, direction and acceptance.
    """
    inner = len(cuts) - 2
    current, best = cuts.copy(), cuts.copy()
    if inner < 1:
        return best
    makespan, missing = judge(blocks, passes, hosts, versions, current)
    cost = least = makespan * (1 + PENALTY * missing)
    steps = len(moves)
    for step in range(steps):
        one = 1 + int(moves[step, 0] * inner)
        # Twice as many numbers as cuts: half of the moves shift a single one.
        other = 1 + int(moves[step, 1] * 2 * inner)
        first, last = (min(one, other), max(one, other)) if other <= inner else (one, one)
        shift = 1 if moves[step, 2] < 0.5 else -1
        if (
            current[first] + shift <= current[first - 1]
            or current[last] + shift >= current[last + 1]
        ):
            continue
        _shift(current, first, last, shift)
        makespan, missing = judge(blocks, passes, hosts, versions, current)
        found = makespan * (1 + PENALTY * missing)
        temperature = TEMPERATURE * least * (1 - step / steps) ** 2
        if found <= cost or moves[step, 3] < np.exp((cost - found) / temperature):
            cost = found
            if cost < least:
                least = cost
                for i in range(len(cuts)):
                    best[i] = current[i]
        else:
            _shift(current, first, last, -shift)
    return best


@kernel_part
def _shift(cuts: Whole, first: int, last: int, by: int) -> None:
    for i in range(first, last + 1):
        cuts[i] += by
