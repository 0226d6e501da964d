"""Warm-up memory of whole blocks that may go to one device or another.

Before its first backward pass a device can do no more forward passes than its memory holds, and the
first blocks of different devices are different blocks: some device has to begin with a block whose
backward passes come late. See docs/explanation/bounds.md, "warm-up of blocks".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from attrs import frozen

from parplan.declarations import Resident, ResidentParameters
from parplan.search.bounds.forced import least_bytes, surely_reads
from parplan.search.bounds.instance import Array, Instance, is_step
from parplan.search.bounds.one_machine import ROUNDING
from parplan.search.bounds.packing import OPERATORS, busiest_machines
from parplan.search.bounds.paths import Windows
from parplan.search.bounds.usage import Usage

BLOCKS = 500
"""Most items for which this bound is computed; the effort grows with their square."""


@frozen(eq=False)
class AlikeBlocks:
    """Blocks as if all were alike: each figure is the most favourable one of any block and device.

    Attributes
    ----------
    waits
        Of each block the earliest start of a task that another one of the block comes before, as
        early as in any copy of the block; in ascending order.
    load
        Ticks of a block.
    opening, saved
        Ticks of a task that opens a block's work on a microbatch, and bytes held from its start
        until some later task of the block has ended.
    parameters
        Bytes that a block keeps resident; its copies, in other placement groups, share them.
    copies
        Most copies of a block.
    devices, room
        How many there are, and the bytes of the largest.
    last
        Least time from the end of any task to the end of the schedule.
    """

    waits: Array
    load: float
    opening: float
    saved: float
    parameters: float
    copies: int
    devices: int
    room: float
    last: float


def block_warm_up_bound(windows: Windows, usage: Usage, least: int) -> int:
    """Return the better of warm-up and cool-down of whole blocks, ``least`` or more.

    Parameters
    ----------
    usage
        Items of whole groups; those count that use single devices.
    """
    sides = (find_alike_blocks(windows, usage, backward=backward) for backward in (False, True))
    return max([least, *(least_makespan(side, least) for side in sides if side is not None)])


def least_makespan(blocks: AlikeBlocks, least: int) -> int:
    """Return the least T, ``least`` or more, at which the devices may take all blocks."""
    low, high = least, max(least, 1)
    # One device that has the blocks one after the other ends by then, if they fit in its memory.
    longest = blocks.waits[-1] + blocks.last + len(blocks.waits) * blocks.load
    while high < longest and not fits(blocks, high):
        low, high = high + 1, 2 * high
    while low < high:
        middle = (low + high) // 2
        if fits(blocks, middle):
            high = middle
        else:
            low = middle + 1
    return low


def fits(blocks: AlikeBlocks, makespan: float) -> bool:
    """Return whether as many blocks as there are may end by ``makespan``.

    ``most[x]`` blocks fit on the devices so far if x of them begin with a block of which they have
    a copy, too.
    """
    apart = _capacity(blocks, makespan, sharing=False)
    sharing = _capacity(blocks, makespan, sharing=True)
    most = np.full(blocks.devices + 1, -np.inf)
    most[0] = 0.0
    for device in range(blocks.devices):
        taken = device + np.arange(blocks.devices + 1)
        alone = most + apart[np.minimum(taken, len(apart) - 1)]
        shared = most[:-1] + sharing[np.minimum(taken[:-1] + 1, len(sharing) - 1)]
        most = np.maximum(alone, np.concatenate([[-np.inf], shared]))
    return bool(most.max() >= len(blocks.waits))


def _capacity(blocks: AlikeBlocks, makespan: float, *, sharing: bool) -> Array:
    """Return how many blocks a device takes, by the number of the last one taken as a first one.

    The last entry is for devices that are left without a block to begin with.
    """
    number = np.arange(1, len(blocks.waits) + 1)
    distinct = -(-number // blocks.copies) if sharing else 1 + -(-(number - 1) // blocks.copies)
    left = blocks.room - distinct * blocks.parameters
    openings = np.floor(np.maximum(left, 0.0) / blocks.saved * (1 + 1e-12))
    rest = number * blocks.load - openings * blocks.opening
    ends = blocks.waits[:, None] + rest + blocks.last
    latest = makespan * (1 + ROUNDING) + 1e-6
    fitting = (ends <= latest) & (left >= 0)
    fitting &= number * blocks.load + blocks.last <= makespan + 1e-6
    return np.append(fitting.sum(axis=1), 0).astype(float)


# -- what is read off a problem --------------------------------------------------------------------


@frozen
class _Memory:
    """A resource that holds all tensors and parameters of a device, and what a byte takes of it."""

    room: float
    per_byte: float
    per_parameter_byte: float


@frozen
class _Block:
    """One block, with the most favourable figures of any device."""

    wait: float
    load: float
    opening: float
    saved: float
    last: float


def find_alike_blocks(windows: Windows, usage: Usage, *, backward: bool) -> AlikeBlocks | None:
    """Return the blocks of a problem; None where memory does not limit how they begin.

    That is so where each has one device, too: there, bounds of one machine say as much.
    Backward: with time reversed, tasks close the work on a microbatch instead of opening it.
    """
    instance = windows.instance
    usable = np.isfinite(usage.option_heads)
    some_free = usable.sum() > len(usage.first)
    if not some_free or len(usage.first) > BLOCKS or len(instance.choices) > OPERATORS:
        return None
    machines = busiest_machines(windows, usage)
    memories = [_memory(instance, device) for device in machines]
    known = [memory for memory in memories if memory is not None]
    if not machines or len(known) < len(memories):
        return None
    found = []
    for i in range(len(usage.first)):
        places = {
            usage.devices[option]
            for option in range(int(usage.first[i]), int(usage.last[i]))
            if usable[option]
        }
        if all(len(place) == 1 and place <= machines.keys() for place in places):
            block = _one_block(windows, usage.members[i], usage.columns[i], machines, backward)
            if block is not None:
                # What runs once per step is in the block of one placement group only.
                of_step = (is_step(instance.problem.graph, o) for o in usage.members[i])
                pairs = zip(usage.members[i], of_step, strict=True)
                found.append((tuple(o for o, step in pairs if not step), block))
    if not found:
        return None
    waits: dict[tuple[int, ...], float] = {}
    for copied, block in found:
        waits[copied] = min(block.wait, waits.get(copied, np.inf))
    blocks = [block for _, block in found]
    return AlikeBlocks(
        np.sort([waits[copied] for copied, _ in found]),
        min(block.load for block in blocks),
        max(block.opening for block in blocks),
        min(block.saved for block in blocks) * min(memory.per_byte for memory in known),
        min(_own_parameters(instance, copied) for copied in waits)
        * min(memory.per_parameter_byte for memory in known),
        max(Counter(copied for copied, _ in found).values()),
        len(machines),
        max(memory.room for memory in known),
        min(block.last for block in blocks),
    )


def _memory(instance: Instance, device: int) -> _Memory | None:
    """Return the resource that holds whatever is on a device; None if there is no such one."""
    name = instance.problem.cluster.devices[device].name
    for _, resource in instance.resources:
        tensors = [
            demand.amount
            for demand in resource.demands
            if isinstance(demand, Resident) and demand.device == name and demand.tensors is None
        ]
        parameters = [
            demand.amount
            for demand in resource.demands
            if isinstance(demand, ResidentParameters)
            and demand.device == name
            and demand.groups is None
        ]
        if tensors:
            return _Memory(resource.capacity, sum(tensors), sum(parameters))
    return None


def _one_block(
    windows: Windows,
    members: tuple[int, ...],
    columns: tuple[int, ...],
    machines: Mapping[int, int],
    backward: bool,
) -> _Block | None:
    """Return a block; None if it has no load, or nothing is held for what opens it."""
    instance = windows.instance
    graph, mine = instance.problem.graph, set(members)
    inside = [
        (t, reader, producer) if backward else (t, producer, reader)
        for t, producer in enumerate(graph.producers)
        if producer in mine
        for reader in graph.consumers[t]
        if reader in mine
    ]
    bound = {after for _, _, after in inside}
    near, far = (windows.tail, windows.head) if backward else (windows.head, windows.tail)
    wait = last = saved = np.inf
    load = opening = 0.0
    for o in members:
        step = is_step(graph, o)
        for row in (0,) if step else columns:
            least, most = _work(windows, o, row, machines)
            load += least * instance.columns_of(o)[row].count
            last = min(last, float(far[o][row]))
            if o in bound:
                wait = min(wait, float(near[o][row]))
            elif most > 0:
                opening = max(opening, most)
                saved = min(saved, 0.0 if step else _saved(windows, inside, o, row))
    if not (load > 0 and 0 < saved < np.inf and wait < np.inf):
        return None
    return _Block(wait, load, opening, saved, last)


def _work(
    windows: Windows, operator: int, row: int, machines: Mapping[int, int]
) -> tuple[float, float]:
    """Return the least and the most work of a task, in ticks of its device's machine."""
    instance = windows.instance
    table = instance.amounts[instance.use[operator]]
    found = [
        ticks * table[a, machines[device]] / instance.capacities[machines[device]]
        for a, (choice, ticks, head) in enumerate(
            zip(
                instance.choices[operator],
                instance.ticks[operator][row],
                windows.heads[operator][row],
                strict=True,
            )
        )
        if head < np.inf
        for device in choice.devices
        if device in machines
    ]
    return min(found), max(found)


def _saved(windows: Windows, inside: list[tuple[int, int, int]], operator: int, row: int) -> float:
    """Return the bytes that are held between a task that opens its block and later ones of it.

    Parameters
    ----------
    inside
        Tensors within the block, with the operator at the near and at the far end of each. One
        that several operators share at the near end counts in equal parts.
    """
    graph, total = windows.instance.problem.graph, 0.0
    far_ends: dict[int, list[int]] = {}
    for t, near, far in inside:
        if near == operator and not is_step(graph, far):
            far_ends.setdefault(t, []).append(far)
    for t, ends in far_ends.items():
        readers = ends if graph.producers[t] == operator else [operator]
        if any(surely_reads(windows, t, reader, row) for reader in readers):
            total += least_bytes(windows, t, row) / len({n for u, n, _ in inside if u == t})
    return total


def _own_parameters(instance: Instance, operators: tuple[int, ...]) -> float:
    """Return the bytes of parameters that no other operator reads."""
    graph = instance.problem.graph
    others = {
        name
        for o, operator in enumerate(graph.operators)
        if o not in operators and not is_step(graph, o)
        for name in operator.parameters
    }
    sizes: dict[str, float] = {}
    for o in operators:
        for name in set(graph.operators[o].parameters) - others:
            index = graph.parameter_index[name]
            modes = {choice.mode for choice in instance.choices[o]}
            size = min(float(graph.parameter_bytes(o, mode)[index]) for mode in modes)
            sizes[name] = max(size, sizes.get(name, 0.0))
    return sum(sizes.values())
