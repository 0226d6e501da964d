"""Stages on groups of devices: for models whose operators run on several devices at once.

Blocks in their order are cut into stages; each has a group of devices of its own, on which all of
its operators run together (tensor or data parallelism). Groups lie side by side in the order of the
cluster's devices, so those that a cluster or a mode names have to be runs of that order to count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from parplan.scheduling.network import Assignment
from parplan.search.placing.placement import Placer

MOST_STAGES = 32
"""Stages that a model is cut into at most."""

MOST_BLOCKS = 500
"""Blocks of the largest model that is cut so: tables grow with their square."""


Neighbours = tuple[int, int]
"""The first of some neighbouring devices, and the one behind the last."""

Rows = Mapping[int, int]
"""The alternative of each operator that can run on some devices."""


@frozen(eq=False)
class Gang:
    """Neighbouring devices, and what blocks take on them.

    Attributes
    ----------
    first, end
        Its devices are those from ``first`` up to, but not including, ``end``.
    rows
        The alternative of each operator there, or none where an operator cannot run there.
    ticks
        Of each block, for one microbatch; infinite where it cannot run there.
    bytes
        Of the parameters of each block, on each device.
    """

    first: int
    end: int
    rows: Rows
    ticks: NDArray[np.float64]
    bytes: NDArray[np.float64]


def gang_assignments(placer: Placer) -> Iterator[tuple[str, Assignment]]:
    """Yield (name, assignment) of the best cuts into each number of stages, the best first.

    Best is what has the least largest load where devices have room for the parameters of a stage:
    once with every operator in its fastest mode on the group of its stage, or all of a stage in
    their lightest modes; and once with one mode, by its name, for all operators of a stage. Nothing
    where operators have no groups of several devices, or blocks are too many.
    O(stages x groups x names of modes x blocks^2).
    """
    operators = placer.problem.graph.operators
    if len(placer.blocks) > MOST_BLOCKS:
        return
    if all(mode.devices == 1 for operator in operators for mode in operator.modes):
        return
    ways = list(_ways(placer))
    found: list[tuple[float, str, list[Stage]]] = []
    for how, chosen in (("", _each_by_itself), (", in one mode each", _alike)):
        gangs = [_gang(placer, devices, rows) for devices, rows in chosen(ways)]
        found += [(load, how, stages) for load, stages in _cuts(placer, gangs)]
    seen: list[Assignment] = []
    for _, how, stages in sorted(found, key=lambda cut: cut[0]):
        assignment = _assignment(placer, stages)
        if assignment not in seen:
            seen.append(assignment)
            name = "one stage" if len(stages) == 1 else f"{len(stages)} stages"
            yield f"{name} on groups of devices{how}", assignment


Stage = tuple[Gang, int, int]
"""A gang with its first block, and the one behind its last."""


@frozen
class _Way:
    """An alternative on neighbouring devices.

    Attributes
    ----------
    row
        Its position among those of its operator.
    name
        Of its mode.
    ticks
        Of its operator for each microbatch of a step.
    bytes
        Of parameters, on each device.
    """

    devices: Neighbours
    operator: int
    row: int
    name: str
    ticks: float
    bytes: int


def _ways(placer: Placer) -> Iterator[_Way]:
    """Yield what is allowed on neighbouring devices."""
    problem, graph = placer.problem, placer.problem.graph
    for o, alternatives in enumerate(problem.alternatives):
        runs = len(problem.microbatches_of(o)) / problem.workload.microbatches
        held = [sum(graph.parameter_bytes(o, m).values())
                for m in range(len(graph.operators[o].modes))]  # fmt: skip
        for row in placer.rules.allowed_by_group[o][0]:
            alternative = alternatives[row]
            first, end = min(alternative.devices), max(alternative.devices) + 1
            if end - first == len(alternative.devices):
                name = graph.operators[o].modes[alternative.mode].name
                ticks = problem.ticks(o, alternative, 0) * runs
                yield _Way((first, end), o, row, name, ticks, held[alternative.mode])


def _each_by_itself(ways: Sequence[_Way]) -> Iterator[tuple[Neighbours, Rows]]:
    """Yield the fastest mode of each operator on every group, and its lightest."""
    for light in (False, True):
        best: dict[Neighbours, dict[int, tuple[float, float, int]]] = {}
        for way in ways:
            ranks = (way.bytes, way.ticks) if light else (way.ticks, way.bytes)
            known = best.setdefault(way.devices, {})
            found = (*ranks, way.row)
            known[way.operator] = min(known.get(way.operator, found), found)
        for devices, rows in sorted(best.items()):
            yield devices, {o: row for o, (*_, row) in rows.items()}


def _alike(ways: Sequence[_Way]) -> Iterator[tuple[Neighbours, Rows]]:
    """Yield the modes of one name on every group."""
    found: dict[tuple[Neighbours, str], dict[int, int]] = {}
    for way in ways:
        found.setdefault((way.devices, way.name), {})[way.operator] = way.row
    for (devices, _), rows in sorted(found.items()):
        yield devices, rows


def _gang(placer: Placer, devices: Neighbours, rows: Rows) -> Gang:
    """Return a group of devices with a row of alternatives."""
    problem, graph = placer.problem, placer.problem.graph
    ticks = np.zeros(len(placer.blocks))
    held = np.zeros(len(placer.blocks))
    for block, members in enumerate(placer.blocks.members):
        sizes: dict[int, int] = {}
        for o in members:
            if o not in rows:
                ticks[block] = np.inf
                break
            alternative = problem.alternatives[o][rows[o]]
            runs = len(problem.microbatches_of(o)) / problem.workload.microbatches
            ticks[block] += problem.ticks(o, alternative, 0) * runs
            for group, size in graph.parameter_bytes(o, alternative.mode).items():
                sizes[group] = max(sizes.get(group, 0), size)
        held[block] = sum(sizes.values())
    return Gang(*devices, rows, ticks, held)


def _cuts(placer: Placer, gangs: Sequence[Gang]) -> list[tuple[float, list[Stage]]]:
    """Return (largest load, stages) of the best cut into each number of stages."""
    count, devices = len(placer.blocks), len(placer.problem.cluster.devices)
    tables = [_stage_ticks(placer, gang) for gang in gangs]
    best = np.full((devices + 1, count + 1), np.inf)
    best[:, 0] = 0.0
    came: list[NDArray[np.int64]] = []
    found: list[tuple[float, list[Stage]]] = []
    for _ in range(min(devices, count, MOST_STAGES)):
        then = np.full_like(best, np.inf)
        from_gang = np.full(best.shape, -1, dtype=np.int64)
        from_block = np.full(best.shape, -1, dtype=np.int64)
        for g, (gang, table) in enumerate(zip(gangs, tables, strict=True)):
            worst = np.maximum(best[gang.first][:, None], table)
            begin = worst.argmin(axis=0)
            load = worst[begin, np.arange(count + 1)]
            better = load < then[gang.end]
            then[gang.end][better] = load[better]
            from_gang[gang.end][better] = g
            from_block[gang.end][better] = begin[better]
        # Devices may be left out between two stages.
        for d in range(1, devices + 1):
            skip = then[d - 1] < then[d]
            then[d][skip] = then[d - 1][skip]
            from_gang[d][skip] = from_gang[d - 1][skip]
            from_block[d][skip] = from_block[d - 1][skip]
        came.append(np.stack([from_gang, from_block]))
        best = then
        best[:, 0] = np.inf
        if np.isfinite(best[devices, count]):
            found.append((float(best[devices, count]), _stages(gangs, came, devices, count)))
    return found


def _stages(
    gangs: Sequence[Gang], came: Sequence[NDArray[np.int64]], devices: int, blocks: int
) -> list[Stage]:
    stages: list[Stage] = []
    for table in reversed(came):
        gang, begin = gangs[int(table[0, devices, blocks])], int(table[1, devices, blocks])
        stages.append((gang, begin, blocks))
        devices, blocks = gang.first, begin
    return stages[::-1]


def _stage_ticks(placer: Placer, gang: Gang) -> NDArray[np.float64]:
    """Ticks of blocks i..j-1 on a gang as ``[i, j]``; infinite where they cannot be there."""
    count = len(placer.blocks)
    finite = np.where(np.isfinite(gang.ticks), gang.ticks, 0.0)
    sums = np.concatenate([[0.0], np.cumsum(finite)])
    barred = np.concatenate([[0], np.cumsum(~np.isfinite(gang.ticks))])
    held = np.concatenate([[0.0], np.cumsum(gang.bytes)])
    table: NDArray[np.float64] = sums[None, :] - sums[:, None]
    table[barred[None, :] > barred[:, None]] = np.inf
    rooms = [
        d.usable_bytes
        for d in placer.problem.cluster.devices[gang.first : gang.end]
        if d.usable_bytes is not None
    ]
    if rooms:
        table[held[None, :] - held[:, None] > min(rooms)] = np.inf
    table[np.tril_indices(count + 1)] = np.inf
    return table


def _assignment(placer: Placer, stages: Sequence[Stage]) -> Assignment:
    found: dict[tuple[int, int], int] = {}
    for gang, begin, end in stages:
        for block in range(begin, end):
            for o in placer.blocks.members[block]:
                for group in placer.groups:
                    found[o, group] = gang.rows[o]
    return found
