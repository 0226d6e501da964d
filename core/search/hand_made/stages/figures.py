"""What blocks take and keep, as sums up to every place where a model may be cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from parplan.pipelines.pipeline import PassKind
from parplan.problem import STEP, Problem
from parplan.scheduling.priorities import CLASSES
from parplan.scheduling.tables import Real, Whole
from parplan.search.placing.placement import Placer

PASSES = {"forward": PassKind.F, "backward": PassKind.B, "weight": PassKind.W}

KINDS = {kind: number for number, kind in enumerate(PassKind)}
"""F, B, W: the order in every table of passes."""

FORWARD, BACKWARD, WEIGHT = (KINDS[kind] for kind in (PassKind.F, PassKind.B, PassKind.W))

PROBE_BYTES = 1 << 30
"""Size of the transfer from which the time per byte between two devices is told."""


class BlockFigures(NamedTuple):
    """Sums over the blocks before each cut; cut c lies before block c. Times in ticks.

    Figures are of one microbatch of scale 1 in the first mode of every operator; a stage from cut i
    to cut j takes the difference of two entries.

    Attributes
    ----------
    passes
        ``(3, groups, devices, blocks + 1)``: time of F, B and W.
    barred
        ``(groups, devices, blocks + 1)``: how many blocks cannot run there.
    steps
        ``(devices, blocks + 1)``: time of what runs once per step.
    until_backward, until_weight, between
        ``(blocks + 1,)``: bytes that are kept from F to B, from F to W, and from B to W.
    parameters, weights
        ``(blocks + 1,)``: bytes of parameter groups, and of the weights in them, which further
        versions take again.
    crossing
        ``(2, blocks + 1)``: bytes that F passes on, and B back, across each cut. No sum.
    latency, per_byte
        ``(devices, devices)``: time of a transfer; inf without a route.
    usable
        ``(devices,)`` bytes; inf where there is no limit.
    """

    passes: Real
    barred: Whole
    steps: Real
    until_backward: Real
    until_weight: Real
    between: Real
    parameters: Real
    weights: Real
    crossing: Real
    latency: Real
    per_byte: Real
    usable: Real


def block_figures(placer: Placer) -> BlockFigures:
    """Return the figures of a problem's blocks; O(operators x devices)."""
    passes, barred, steps = _times(placer)
    until_backward, until_weight, between = _kept(placer)
    parameters, weights = _parameters(placer)
    latency, per_byte = _transfers(placer.problem)
    devices = placer.problem.cluster.devices
    return BlockFigures(
        passes=_sums(passes),
        barred=_sums(barred).astype(np.int64),
        steps=_sums(steps),
        until_backward=_sums(until_backward),
        until_weight=_sums(until_weight),
        between=_sums(between),
        parameters=_sums(parameters),
        weights=_sums(weights),
        crossing=_crossing(placer),
        latency=latency,
        per_byte=per_byte,
        usable=np.array([np.inf if d.usable_bytes is None else d.usable_bytes for d in devices]),
    )


def _sums(rows: Real) -> Real:
    """Return sums over the last axis from its beginning, one more than there are entries."""
    start = np.zeros((*rows.shape[:-1], 1))
    found: Real = np.concatenate([start, np.cumsum(rows, axis=-1)], axis=-1)
    return found


def _times(placer: Placer) -> tuple[Real, Real, Real]:
    """Return passes, blocks barred and once-per-step work, by device and block."""
    devices, blocks = len(placer.problem.cluster.devices), len(placer.blocks)
    passes = np.zeros((3, len(placer.groups), devices, blocks))
    barred = np.ones((len(placer.groups), devices, blocks))
    steps = np.zeros((devices, blocks))
    for group in placer.groups:
        for block, members in enumerate(placer.blocks.members):
            for device in placer.devices_of[group][block]:
                barred[group, device, block] = 0.0
                for o in members:
                    ticks = _unscaled_ticks(placer, group, o, device)
                    if not _is_step(placer.problem, o):
                        passes[KINDS[_pass_of(placer.problem, o)], group, device, block] += ticks
                    elif group == 0:
                        steps[device, block] += ticks
    return passes, barred, steps


def _is_step(problem: Problem, operator: int) -> bool:
    return problem.microbatches_of(operator).start == STEP


def _pass_of(problem: Problem, operator: int) -> PassKind:
    return PASSES[CLASSES.get(problem.graph.operators[operator].kind, "forward")]


def _unscaled_ticks(placer: Placer, group: int, operator: int, device: int) -> float:
    """Return the ticks of an operator's first mode on a device, for a microbatch of scale 1."""
    problem = placer.problem
    if _is_step(problem, operator) and group > 0:
        return 0.0
    alternative = problem.alternatives[operator][placer.choices[group][operator][device][0]]
    first = problem.microbatches_of(operator).start
    scale = 1.0 if first == STEP else problem.workload.scale(first)
    return problem.ticks(operator, alternative, first) / scale


def _kept(placer: Placer) -> Real:
    """Return the bytes that each block keeps from F to B, from F to W, and from B to W.

    A tensor counts for every block that reads it in a later pass: a stage that receives one keeps a
    copy of its own.
    """
    found = np.zeros((3, len(placer.blocks)))
    for tensor, made, block, last in _later_reads(placer):
        row = 2 if made is PassKind.B else 1 if last is PassKind.W else 0
        found[row, block] += placer.problem.graph.tensors[tensor].bytes
    return found


def _later_reads(placer: Placer) -> Iterator[tuple[int, PassKind, int, PassKind]]:
    """Yield (tensor, pass that makes it, block that reads it in a later pass, last such pass)."""
    problem = placer.problem
    for t, producer in enumerate(problem.graph.producers):
        if _is_step(problem, producer):
            continue
        made = _pass_of(problem, producer)
        last: dict[int, PassKind] = {}
        for consumer in problem.graph.consumers[t]:
            read = _pass_of(problem, consumer)
            if not _is_step(problem, consumer) and KINDS[read] > KINDS[made]:
                block = placer.blocks.block_of[consumer]
                last[block] = max(last.get(block, read), read, key=KINDS.__getitem__)
        for block, read in last.items():
            yield t, made, block, read


def _parameters(placer: Placer) -> tuple[Real, Real]:
    """Return the bytes of the parameter groups that each block reads, and of their weights."""
    graph = placer.problem.graph
    found = np.zeros((2, len(placer.blocks)))
    for block, members in enumerate(placer.blocks.members):
        sizes: dict[str, int] = {}
        for o in members:
            shard = graph.operators[o].modes[0].parameter_bytes or {}
            for name in graph.operators[o].parameters:
                whole = graph.parameters[graph.parameter_index[name]].bytes
                sizes[name] = max(sizes.get(name, 0), shard.get(name, whole))
        for name, size in sizes.items():
            group = graph.parameters[graph.parameter_index[name]]
            part = group.weight_bytes / group.bytes if group.bytes else 0.0
            found[:, block] += size, size * part
    return found[0], found[1]


def _crossing(placer: Placer) -> Real:
    """Return the bytes that F hands forward, and B hands back, across each cut."""
    problem, block_of = placer.problem, placer.blocks.block_of
    changes = np.zeros((2, len(placer.blocks) + 2))
    for t, producer in enumerate(problem.graph.producers):
        made, here = _pass_of(problem, producer), block_of[producer]
        readers = [
            block_of[c]
            for c in problem.graph.consumers[t]
            if not _is_step(problem, c) and _pass_of(problem, c) is made
        ]
        if _is_step(problem, producer) or not readers:
            continue
        size = problem.graph.tensors[t].bytes
        if made is PassKind.F and max(readers) > here:
            changes[0, [here + 1, max(readers) + 1]] += size, -size
        elif made is PassKind.B and min(readers) < here:
            changes[1, [min(readers) + 1, here + 1]] += size, -size
    found: Real = np.cumsum(changes, axis=1)[:, :-1]
    return found


def _transfers(problem: Problem) -> tuple[Real, Real]:
    """Return the latency and the ticks per byte of each pair of devices."""
    count = len(problem.cluster.devices)
    latency, per_byte = np.zeros((count, count)), np.zeros((count, count))
    for source in range(count):
        for target in range(count):
            none = problem.transfer_timing(0, source, target)
            much = problem.transfer_timing(PROBE_BYTES, source, target)
            if source == target:
                continue
            if none is None or much is None:
                latency[source, target] = np.inf
            else:
                latency[source, target] = none.arrival
                per_byte[source, target] = (much.arrival - none.arrival) / PROBE_BYTES
    return latency, per_byte
