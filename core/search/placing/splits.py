"""Contiguous splits: which devices follow one another along the model, and where to cut."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from parplan.search.placing.placement import Placement, Placer, Row

MOST_ORDERS = 24
"""Device orders tried at most: all permutations of up to four kinds."""

MOST_KINDS = 3
MOST_LEGS = {1: 6, 2: 5, 3: 4}
"""Longest word of legs by number of kinds; more kinds go one way only."""


def device_orders(placer: Placer, group: int = 0) -> list[tuple[int, ...]]:
    """Return orders of a placement group's devices: equal ones stay together, kinds in any order.

    A kind here is a run of devices of the cluster's list with the same kind. Slow devices are left
    out where there are fewer blocks than devices.
    """
    devices = placer.problem.cluster.devices
    usable = set().union(*placer.devices_of[group])
    runs = [
        tuple(d for d in run if d in usable)
        for _, run in itertools.groupby(range(len(devices)), key=lambda d: devices[d].kind)
    ]
    runs = [run for run in runs if run]
    orders: dict[tuple[int, ...], None] = {}
    for permutation in itertools.islice(itertools.permutations(runs), MOST_ORDERS):
        orders[tuple(d for run in permutation for d in run)] = None
    limit = len(placer.blocks)
    fastest = sorted(usable, key=lambda d: sum(row.get(d, np.inf) for row in placer.loads[group]))
    keep = set(fastest[:limit])
    return list(dict.fromkeys(tuple(d for d in order if d in keep) for order in orders))


def stage_patterns(placer: Placer, order: Sequence[int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield (name, device of each stage) of the ways to lead a pipeline over the devices.

    A way is a word of legs; a leg runs over all devices of one kind, there or back. One kind gives
    one-way, looping and V-shaped pipelines; several kinds also what mixes them, such as one way
    over the slow devices and a V over the fast ones.
    """
    devices = placer.problem.cluster.devices
    kinds = [tuple(run) for _, run in itertools.groupby(order, key=lambda d: devices[d].kind)]
    seen: set[tuple[int, ...]] = set()
    for word in _words(len(kinds)):
        stages = tuple(
            d for kind, back in word for d in (kinds[kind][::-1] if back else kinds[kind])
        )
        if stages in seen or (len(stages) > len(placer.blocks) and len(word) > len(kinds)):
            continue
        seen.add(stages)
        yield _name(word, [devices[kind[0]].kind for kind in kinds]), stages


Leg = tuple[int, bool]
"""(index of a kind, whether the leg runs backwards)."""


def _words(kinds: int) -> Iterator[tuple[Leg, ...]]:
    """Yield words of legs that use every kind, first there; short ones first."""
    if kinds > MOST_KINDS:
        yield tuple((kind, False) for kind in range(kinds))
        return
    for length in range(kinds, MOST_LEGS[kinds] + 1):
        for row in itertools.product(range(kinds), repeat=length):
            # The order of the kinds themselves is the caller's.
            if list(dict.fromkeys(row)) != list(range(kinds)):
                continue
            repeated = [i for i in range(length) if row[i] in row[:i]]
            for back in itertools.product((False, True), repeat=len(repeated)):
                turned = dict(zip(repeated, back, strict=True))
                yield tuple((kind, turned.get(i, False)) for i, kind in enumerate(row))


def _name(word: Sequence[Leg], kinds: Sequence[str]) -> str:
    if len(kinds) == 1:
        return (
            "one way" if len(word) == 1 else "legs " + "".join("<" if b else ">" for _, b in word)
        )
    return " ".join(f"{'<' if back else '>'}{kinds[kind]}" for kind, back in word)


def split(placer: Placer, stages: Sequence[int]) -> Placement | None:
    """Return ``split_row`` of the first placement group, for all groups."""
    row = split_row(placer, stages)
    return None if row is None else (row,) * len(placer.groups)


def split_row(placer: Placer, stages: Sequence[int], group: int = 0) -> Row | None:
    """Return the contiguous split over stages with the least largest load; None if none fits.

    Each stage must have room for its parameters.
    A device with several stages gives each the same share, so stage loads count that many times.
    Dynamic programming over cuts: O(stages x blocks^2), vectorised.
    """
    chunks = {d: stages.count(d) for d in set(stages)}
    costs = {d: _range_costs(placer, d, chunks[d], group) for d in chunks}
    cut = _least_largest([costs[device] for device in stages])
    return None if cut is None else tuple(stages[stage] for stage in cut)


def split_along(
    placer: Placer,
    stages: Sequence[int],
    blocks: Sequence[int],
    ends: Sequence[int] = (),
    group: int = 0,
) -> Row | None:
    """Return ``split_row`` of blocks in another order than their own.

    Parameters
    ----------
    stages
        Devices, each once.
    blocks
        All blocks, in the order that is cut.
    ends
        Positions in that order which no stage reaches across.
    """
    tables = []
    for device in stages:
        table = _range_costs(placer, device, 1, group, blocks)
        for end in ends:
            table[:end, end + 1 :] = np.inf
        tables.append(table)
    cut = _least_largest(tables)
    if cut is None:
        return None
    device_of = {block: stages[stage] for block, stage in zip(blocks, cut, strict=True)}
    return tuple(device_of[block] for block in range(len(blocks)))


def balanced_stages(placer: Placer, hosts: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
    """Return the stage of each block, with the least largest load; None if no split fits.

    As ``split_row``, for every placement group at once: a stage is as slow as on the slowest device
    that hosts it, and must fit on each.

    Parameters
    ----------
    hosts
        Device of each stage, for each placement group.
    """
    chunks = Counter(device for row in hosts for device in row)
    tables = [
        np.maximum.reduce(
            [
                _range_costs(placer, device, chunks[device], group)
                for group, device in enumerate(devices)
            ]
        )
        for devices in zip(*hosts, strict=True)
    ]
    return _least_largest(tables)


def _least_largest(tables: Sequence[NDArray[np.float64]]) -> tuple[int, ...] | None:
    """Return the stage of each block where the largest ``tables[stage][i, j]`` is least."""
    count = len(tables[0]) - 1
    best = np.full(count + 1, np.inf)
    best[0] = 0.0
    cuts: list[NDArray[np.int64]] = []
    for costs in tables:
        table = np.maximum(best[:, None], costs)
        cuts.append(table.argmin(axis=0))
        best = table.min(axis=0)
    if not np.isfinite(best[count]):
        return None
    found = [0] * count
    end = count
    for stage in reversed(range(len(tables))):
        start = int(cuts[stage][end])
        found[start:end] = [stage] * (end - start)
        end = start
    return tuple(found)


def uniform_stages(blocks: int, stages: int) -> tuple[int, ...]:
    """Return the stage of each block where every stage has as many blocks, as nearly as can be."""
    edges = [round(blocks * s / stages) for s in range(stages + 1)]
    return tuple(s for s in range(stages) for _ in range(edges[s], edges[s + 1]))


def uniform_split(placer: Placer, stages: Sequence[int]) -> Placement | None:
    """Return the split people start from: as many blocks on each stage, whatever they cost."""
    row = [stages[s] for s in uniform_stages(len(placer.blocks), len(stages))]
    if any(d not in placer.devices_of[0][b] for b, d in enumerate(row)):
        return None
    return (tuple(row),) * len(placer.groups)


def _range_costs(
    placer: Placer, device: int, chunks: int, group: int, blocks: Sequence[int] | None = None
) -> NDArray[np.float64]:
    """Load of blocks i..j-1 on a device, times its chunks, as ``[i, j]``; inf where impossible.

    The blocks come in their own order unless another is given.
    """
    count = len(placer.blocks)
    order = range(count) if blocks is None else blocks
    rows, held = placer.loads[group], placer.parameter_bytes
    loads = np.array([rows[block].get(device, np.inf) for block in order])
    sums = np.concatenate([[0.0], np.cumsum(np.where(np.isfinite(loads), loads, 0.0))])
    barred = np.concatenate([[0], np.cumsum(~np.isfinite(loads))])
    bytes_held = np.concatenate(
        [[0.0], np.cumsum(np.array([held[block] for block in order], dtype=float))]
    )
    table: NDArray[np.float64] = (sums[None, :] - sums[:, None]) * chunks
    table[(barred[None, :] - barred[:, None]) > 0] = np.inf
    usable = placer.problem.cluster.devices[device].usable_bytes
    if usable is not None:
        table[(bytes_held[None, :] - bytes_held[:, None]) * chunks > usable] = np.inf
    table[np.tril_indices(count + 1)] = np.inf
    return table


def shifted_cuts(row: NDArray[np.int64], random_: random.Random) -> NDArray[np.int64] | None:
    """Return a row with one cut, or a range of them, shifted by one block; None without cuts.

    A shifted range hands load from the stage at one end to the stage at the other. Stages of one
    block are never shifted away.
    """
    cuts = np.flatnonzero(row[:-1] != row[1:])
    if not len(cuts):
        return None
    first = random_.randrange(len(cuts))
    last = first if random_.random() < 0.4 else random_.randrange(len(cuts))
    chosen = cuts[min(first, last) : max(first, last) + 1]
    new = row.copy()
    if random_.random() < 0.5:
        new[chosen + 1] = row[chosen]
    else:
        new[chosen] = row[chosen + 1]
    kept = np.count_nonzero(new[:-1] != new[1:])
    return new if kept == len(cuts) else row
