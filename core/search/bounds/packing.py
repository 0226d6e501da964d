"""Whole blocks packed on unequal devices: what does not divide, and who must start late.

A block is all work that must share one device (operators kept together, all microbatches of a
group). It cannot be split, so the load of a device is a sum of whole blocks; and the first blocks
of different devices are different blocks, so at most one device starts with the first block.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from parplan.search.bounds.entries import entry_heads, exit_tails
from parplan.search.bounds.instance import Array
from parplan.search.bounds.paths import Windows
from parplan.search.bounds.usage import Usage

OPERATORS = 4000
"""Most operators for which blocks are packed."""

STATES = 100
"""Most combinations of counts of the classes but the largest; else classes are given up."""

PRECISION = 1e-5
"""The bisection ends at this part of the bound; its lower end is what is proven."""

ORDERS = 1200
"""Most combinations of used devices by kind that are followed in order of their starts."""


@frozen(eq=False)
class Blocks:
    """Blocks and device kinds.

    Attributes
    ----------
    loads
        Ticks of each block on a device of each kind, ``(blocks, kinds)``; infinite where it cannot.
    bytes
        What each block keeps resident there, likewise.
    heads, tails
        Least idle time of a device before it, if it is the first there; after it, if the last.
    counts, room
        Devices of each kind and what each can keep resident, ``(kinds,)``.
    """

    loads: Array
    bytes: Array
    heads: Array
    tails: Array
    counts: tuple[int, ...]
    room: Array


def find_blocks(windows: Windows, usage: Usage) -> Blocks | None:
    """Return the blocks of a problem; None if nothing is to be packed.

    That is so where each has one device, too: there, bounds of one machine say as much.
    Only items whose options are single devices count; leaving the others out is a relaxation.
    """
    instance = windows.instance
    machines = busiest_machines(windows, usage) if len(instance.choices) <= OPERATORS else {}
    if not machines:
        return None
    items = [i for i in range(len(usage.first)) if _packs(usage, i)]
    place = {option: (i, d) for i, item in enumerate(items) for option, d in _options(usage, item)}
    static = _static_rows(usage, place, len(instance.resources))
    loads, held = _amounts(windows, usage, place, machines, static)
    # A block without any load on some device may be anywhere at any time: it is left out.
    keep: NDArray[np.bool_] = np.less(loads.min(axis=1), np.inf) & np.greater(loads.min(axis=1), 0)
    if (np.isfinite(loads[keep]).sum(axis=1) == 1).all():
        return None
    heads, tails = _ends(
        windows, usage, [i for i, k in zip(items, keep, strict=True) if k], machines
    )
    room = np.full(loads.shape[1], np.inf)
    for d, row in static.items():
        room[d] = instance.resources[row - len(instance.resources)][1].capacity
    return _by_kind(loads[keep], held[keep], heads, tails, room)


def _amounts(
    windows: Windows,
    usage: Usage,
    place: dict[int, tuple[int, int]],
    machines: dict[int, int],
    static: dict[int, int],
) -> tuple[Array, Array]:
    """Return ticks and resident bytes of each item on each device, ``(items, devices)``."""
    instance = windows.instance
    count = 1 + max((i for i, _ in place.values()), default=-1)
    shape = (count, len(instance.problem.cluster.devices))
    loads, held = np.full(shape, np.inf), np.zeros(shape)
    for option, (i, d) in place.items():
        if np.isfinite(usage.option_heads[option]):
            loads[i, d] = 0.0
    for option, row, amount in zip(
        usage.option.tolist(), usage.row.tolist(), usage.amount.tolist(), strict=True
    ):
        if option in place:
            i, d = place[option]
            if row == machines.get(d):
                loads[i, d] += amount / instance.capacities[row]
            elif row == static.get(d):
                held[i, d] += amount
    return loads, held


def _ends(
    windows: Windows, usage: Usage, items: list[int], machines: dict[int, int]
) -> tuple[Array, Array]:
    """Return idle times before and after each item on each device, ``(items, devices)``."""
    instance = windows.instance
    members = {o for item in items for o in usage.members[item]}
    entry = entry_heads(windows, machines, members)
    leave = exit_tails(windows, machines, members)
    shape = (len(items), len(instance.problem.cluster.devices))
    heads, tails = np.full(shape, np.inf), np.full(shape, np.inf)
    for i, item in enumerate(items):
        for o in usage.members[item]:
            for a, choice in enumerate(instance.choices[o]):
                if len(choice.devices) == 1 and instance.ticks[o][:, a].any():
                    (d,) = choice.devices
                    heads[i, d] = min(heads[i, d], float(entry[o][:, a].min()))
                    tails[i, d] = min(tails[i, d], float(leave[o][:, a].min()))
    return heads, tails


def _packs(usage: Usage, item: int) -> bool:
    """Return whether all options of an item are single devices, each once."""
    groups = usage.devices[usage.first[item] : usage.last[item]]
    return all(len(g) == 1 for g in groups) and len(set(groups)) == len(groups)


def _options(usage: Usage, item: int) -> list[tuple[int, int]]:
    """Return (option, device) of an item."""
    span = range(int(usage.first[item]), int(usage.last[item]))
    return [(option, next(iter(usage.devices[option]))) for option in span]


def busiest_machines(windows: Windows, usage: Usage) -> dict[int, int]:
    """Return, per device, the resource of capacity one task that is used most."""
    instance = windows.instance
    single = np.array(
        [
            all(2 * v > c * (1 + 1e-9) for t in instance.amounts for v in t[:, r] if v > 0)
            for r, c in enumerate(instance.capacities)
        ],
        dtype=bool,
    )
    total: Counter[tuple[int, int]] = Counter()
    for option, row, amount in zip(
        usage.option.tolist(), usage.row.tolist(), usage.amount.tolist(), strict=True
    ):
        group = usage.devices[option]
        if row < len(single) and single[row] and len(group) == 1:
            total[next(iter(group)), row] += amount
    found: dict[int, int] = {}
    for (device, row), _ in total.most_common():
        found.setdefault(device, row)
    return found


def _static_rows(usage: Usage, place: dict[int, tuple[int, int]], count: int) -> dict[int, int]:
    """Return the row of resident bytes of each device; none where there are several."""
    rows: dict[int, set[int]] = {}
    for option, row in zip(usage.option.tolist(), usage.row.tolist(), strict=True):
        if row >= count and option in place:
            rows.setdefault(place[option][1], set()).add(row)
    return {d: next(iter(found)) for d, found in rows.items() if len(found) == 1}


def _by_kind(loads: Array, held: Array, heads: Array, tails: Array, room: Array) -> Blocks | None:
    """Return blocks with devices alike in load, bytes and room taken together."""
    if not len(loads):
        return None
    kinds: dict[bytes, list[int]] = {}
    for d in range(loads.shape[1]):
        if np.isfinite(loads[:, d]).any():
            key = loads[:, d].tobytes() + held[:, d].tobytes() + room[d].tobytes()
            kinds.setdefault(key, []).append(d)
    first = [members[0] for members in kinds.values()]
    return Blocks(
        loads[:, first],
        held[:, first],
        np.stack([heads[:, m].min(axis=1) for m in kinds.values()], axis=1),
        np.stack([tails[:, m].min(axis=1) for m in kinds.values()], axis=1),
        tuple(len(m) for m in kinds.values()),
        room[first],
    )


@frozen(eq=False)
class _Classes:
    """Blocks by class, the largest class first: loads and bytes ``(classes, kinds)``, counts."""

    loads: Array
    bytes: Array
    counts: tuple[int, ...]


def packing_bound(blocks: Blocks, least: int) -> int:
    """Return the least T at which whole blocks may fit on all devices, ``least`` or more.

    Device number k in the order of first blocks starts with block k or a later one, so it is idle
    for the least entry head among these; after its last task it is idle for the least exit tail of
    all blocks. The same with heads and tails exchanged; the better of the two counts.
    """
    mirrored = evolve(blocks, heads=blocks.tails, tails=blocks.heads)
    return max(_smallest_fit(side, least) for side in (blocks, mirrored))


def _smallest_fit(blocks: Blocks, least: int) -> int:
    classes = _classify(blocks)
    delays = _delays(blocks)
    low, high = least - 1, max(least, 1)
    for _ in range(60):
        if _fits(blocks, classes, delays, high):
            break
        low, high = high, 2 * high
    else:
        return least
    while high - low > 1 + PRECISION * low:
        middle = (low + high) // 2
        if _fits(blocks, classes, delays, middle):
            high = middle
        else:
            low = middle
    return low + 1


def _delays(blocks: Blocks) -> Array:
    """Return idle ticks of the k-th device to start, by kind, ``(k, kinds)``."""
    order = np.argsort(blocks.heads.min(axis=1), kind="stable")
    later = np.minimum.accumulate(blocks.heads[order][::-1], axis=0)[::-1]
    return np.asarray(later + blocks.tails.min(axis=0), dtype=float)


def _classify(blocks: Blocks) -> _Classes:
    """Return classes of equal blocks; a merged one has the least load and bytes of its members."""
    work = np.where(np.isfinite(blocks.loads), blocks.loads, 0.0).sum(axis=1)
    both = np.concatenate([blocks.loads, blocks.bytes], axis=1)
    order = np.lexsort([*both.T, work])
    both, work = both[order], work[order]
    groups: list[list[int]] = []
    for i in range(len(both)):
        if groups and np.array_equal(both[groups[-1][0]], both[i]):
            groups[-1].append(i)
        else:
            groups.append([i])
    sums = [float(work[g[0]]) for g in groups]
    while _states(groups) > STATES:
        _give_up_least(groups, sums)
    groups.sort(key=len, reverse=True)
    least = np.stack([both[g].min(axis=0) for g in groups])
    kinds = blocks.loads.shape[1]
    return _Classes(least[:, :kinds], least[:, kinds:], tuple(len(g) for g in groups))


def _give_up_least(groups: list[list[int]], sums: list[float]) -> None:
    """Leave a class out, or count the next larger one like it, whichever gives up less load."""
    left_out = [(sums[k] * len(g), k, False) for k, g in enumerate(groups)]
    merged = [
        ((sums[k + 1] - sums[k]) * len(groups[k + 1]), k, True) for k in range(len(groups) - 1)
    ]
    _, k, merge = min(left_out + merged)
    if merge:
        groups[k] += groups.pop(k + 1)
        sums.pop(k + 1)
    else:
        groups.pop(k)
        sums.pop(k)


def _states(groups: list[list[int]]) -> int:
    """Return the combinations of counts of all classes but the largest."""
    return math.prod(sorted(len(g) + 1 for g in groups)[:-1])


def _fits(blocks: Blocks, classes: _Classes, delays: Array, makespan: int) -> bool:
    """Return whether the blocks may fit: counts of the first class per counts of the others."""
    shape = tuple(n + 1 for n in classes.counts[1:])
    vectors = np.array(list(itertools.product(*(range(n) for n in shape))), dtype=np.int64)
    vectors = vectors.reshape(math.prod(shape), len(shape))
    kinds = range(len(blocks.counts))
    ordered = math.prod(n + 1 for n in blocks.counts) <= ORDERS
    start = np.full(len(vectors), -np.inf)
    start[0] = 0.0
    wanted = float(classes.counts[0])
    reached: dict[tuple[int, ...], Array] = {(0,) * len(blocks.counts): start}
    if not ordered:
        best = start
        for kind in kinds:
            adds = _device(blocks, classes, vectors, kind, makespan - delays[0, kind])
            for _ in range(blocks.counts[kind]):
                best = np.maximum(best, _combine(best, adds, shape))
        return bool(best[-1] >= wanted)
    cache: dict[tuple[int, int], Array] = {}
    for used in itertools.product(*(range(n + 1) for n in blocks.counts)):
        rank = sum(used)
        if rank:
            before = [
                (kind, reached[tuple(n - (k == kind) for k, n in enumerate(used))])
                for kind in kinds
                if used[kind]
            ]
            best = np.full(len(vectors), -np.inf)
            for kind, base in before:
                key = (kind, min(rank, len(delays)) - 1)
                if key not in cache:
                    time = makespan - delays[key[1], kind] if rank <= len(delays) else -1.0
                    cache[key] = _device(blocks, classes, vectors, kind, time)
                best = np.maximum(best, _combine(base, cache[key], shape))
            reached[used] = best
        if reached[used][-1] >= wanted:
            return True
    return False


def _device(
    blocks: Blocks, classes: _Classes, vectors: NDArray[np.int64], kind: int, time: float
) -> Array:
    """Return how many of the first class fit on a device beside given counts of the others."""
    loads, held = classes.loads[:, kind], classes.bytes[:, kind]
    with np.errstate(invalid="ignore"):
        used = np.where(vectors > 0, vectors * loads[1:], 0.0).sum(axis=1)
        kept = np.where(vectors > 0, vectors * held[1:], 0.0).sum(axis=1)
    left, free = time - used, blocks.room[kind] - kept
    number = np.full(len(vectors), float(classes.counts[0]))
    if loads[0] > 0:
        number = np.minimum(number, np.floor(np.maximum(left, -1.0) / loads[0] * (1 + 1e-12)))
    if held[0] > 0 and math.isfinite(blocks.room[kind]):
        number = np.minimum(number, np.floor(np.maximum(free, -1.0) / held[0] * (1 + 1e-12)))
    return np.where((left >= -1e-6) & (free >= -1e-6), np.maximum(number, 0.0), -np.inf)


def _combine(base: Array, adds: Array, shape: tuple[int, ...]) -> Array:
    """Return the best sums: ``max over u <= v of base[v - u] + adds[u]``."""
    if not shape:
        return base + adds
    one, two = base.reshape(shape), adds.reshape(shape)
    result = np.full(shape, -np.inf)
    for u in itertools.product(*(range(n) for n in shape)):
        if two[u] > -np.inf:
            target = tuple(slice(k, None) for k in u)
            source = tuple(slice(None, n - k) for k, n in zip(u, shape, strict=True))
            result[target] = np.maximum(result[target], one[source] + two[u])
    return result.ravel()
