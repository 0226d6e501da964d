"""Memory against time: which operators run in ways that keep less from forward to backward.

A way that saves memory costs time, so the one that saves the most bytes per tick lost goes first,
device by device, until what is under way at once fits. How much is under way is for the schedule
to decide; so several amounts are offered, and list schedules say which is worth it.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import TypeVar

from attrs import frozen

from parplan.search.placing.placement import Placement, Placer
from parplan.search.placing.savings import Saving
from parplan.search.placing.ways import Ways

AHEAD = (1.0, 1.5, 2.0, math.inf)
"""How many times the microbatches that an unhindered pipeline has under way there is to be room
for; infinity saves all that can be saved."""

T = TypeVar("T")


def economies(placer: Placer, placement: Placement) -> Iterator[Ways]:
    """Yield different ways for a placement: none saved, then room for more and more microbatches.

    Each device saves no more than it must, by an estimate of what it has under way; first with
    bytes that are moved elsewhere as far as the links can take them, then without moving any.
    """
    seen: set[Ways] = {()}
    yield ()
    if not placer.savings:
        return
    flow = _unhindered(placer, placement)
    for ahead, moving in product(AHEAD, (True, False)):
        ways = _roomy(placer, placement, flow, ahead, moving=moving)
        if any(ways) and ways not in seen:
            seen.add(ways)
            yield ways


Stay = tuple[int, int]
"""A block, and a device on which some placement group runs it."""


@frozen
class _Flow:
    """An unhindered pipeline.

    Attributes
    ----------
    period
        Ticks from the begin of one microbatch to that of the next, of whichever group.
    shares
        The part of all microbatches that each placement group has.
    sizes, under_way
        Microbatches that stay with a block on a device: in all, and at once.
    """

    period: float
    shares: tuple[float, ...]
    sizes: Mapping[Stay, int]
    under_way: Mapping[Stay, float]


def _unhindered(placer: Placer, placement: Placement) -> _Flow:
    """Return how many microbatches are between forward and backward of each block, unhindered.

    Blocks follow one another as in a chain; a microbatch is away from a block for as long as it and
    those after it take, and one microbatch is begun in each period of the busiest device, of each
    placement group in proportion to its size (Little's law).
    """
    workload = placer.problem.workload
    groups = [workload.group(k) for k in range(workload.microbatches)]
    busy: dict[int, float] = defaultdict(float)
    sizes: dict[Stay, int] = defaultdict(int)
    stays: dict[Stay, float] = defaultdict(float)
    shares = tuple(groups.count(g) / len(groups) for g in placer.groups)
    for g, row in enumerate(placement):
        stay = 0.0
        for block, device in reversed(list(enumerate(row))):
            load = shares[g] * placer.loads[g][block][device]
            stay += load
            busy[device] += load
            stays[block, device] += stay
            sizes[block, device] += groups.count(g)
    period = max(*busy.values(), 1.0)
    under_way = {where: max(stay / period, 1.0) for where, stay in stays.items()}
    return _Flow(period, shares, sizes, under_way)


def _roomy(
    placer: Placer, placement: Placement, flow: _Flow, ahead: float, *, moving: bool
) -> Ways:
    """Return the ways that leave each device room for ``ahead`` times what is under way.

    Links move no longer than a period for each microbatch, unless all is saved that can be.
    """
    held = {
        where: math.ceil(min(ahead * number - 1e-9, flow.sizes[where]))
        for where, number in flow.under_way.items()
    }
    missing = _missing(placer, held)
    homes = _home_blocks(placer)
    everything = math.isinf(ahead)
    taken: dict[int, Saving] = {}
    carried: dict[int, float] = {}
    for one in placer.savings:
        block = homes[one.coupled]
        devices = [row[block] for row in placement]
        before = taken.get(one.coupled)
        more = one.saved - (before.saved if before is not None else 0)
        lacks = any(missing[device] > 0 for device in devices)
        if more <= 0 or not (everything or lacks) or (one.moved and not moving):
            continue
        moves = _link_ticks(placer, one, devices, flow.shares)
        load = {link: carried.get(link, 0.0) + ticks for link, ticks in moves.items()}
        if everything or max(load.values(), default=0.0) <= flow.period:
            taken[one.coupled] = one
            for device in set(devices):
                missing[device] -= held[block, device] * more
            carried |= load
    return _ways_of(placer, taken.values())


def _missing(placer: Placer, held: Mapping[Stay, int]) -> dict[int, float]:
    """Return the bytes that each device lacks for the microbatches held; below zero is room."""
    found: dict[int, float] = {}
    for (block, device), count in held.items():
        usable = placer.problem.cluster.devices[device].usable_bytes
        found.setdefault(device, -math.inf if usable is None else -usable)
        found[device] += placer.parameter_bytes[block] + count * placer.saved_bytes[block]
    return found


def _link_ticks(
    placer: Placer, one: Saving, devices: Sequence[int], shares: Sequence[float]
) -> dict[int, float]:
    """Return how long a saving holds each link that can be full, both ways, per microbatch.

    Parameters
    ----------
    devices, shares
        Where the saving is made, and the part of all microbatches, of each placement group.
    """
    found: dict[int, float] = {}
    if not one.moved:
        return found
    problem = placer.problem
    for own, device, share in zip(placer.choices, devices, shares, strict=True):
        place = problem.alternatives[one.keeper][own[one.keeper][device][0]].devices[0]
        for ends in ((device, place), (place, device)):
            timing = problem.transfer_timing(one.moved, *ends)
            for hold in () if timing is None else timing.holds:
                capacity = problem.cluster.links[hold.link].capacity
                if capacity is not None:
                    ticks = share * hold.ticks / capacity
                    found[hold.link] = found.get(hold.link, 0.0) + ticks
    return found


def _home_blocks(placer: Placer) -> list[int]:
    """Return the block that the first member of each coupled operators is in."""
    return [placer.blocks.block_of[coupled.members[0]] for coupled in placer.coupled]


def _ways_of(placer: Placer, taken: Iterable[Saving]) -> Ways:
    """Return the ways in which these savings are made, and no others."""
    ways = [0] * len(placer.coupled)
    for one in taken:
        ways[one.coupled] = one.way
    return tuple(ways)


def least_savings(
    placer: Placer, placement: Placement, attempt: Callable[[Ways], T | None]
) -> T | None:
    """Return what an attempt gives with few savings: None if it fails with all of them.

    The best savings of each device are made, the same part of them everywhere; then as many fewer
    on each device as it can spare, one device after the other. The number of attempts is about
    (devices + 1) x log2(savings of a device).

    Parameters
    ----------
    attempt
        Returns a result for ways that fit, and None for those that do not.
    """
    rows: dict[int, list[Saving]] = {}
    homes = _home_blocks(placer)
    for one in placer.savings:
        rows.setdefault(placement[0][homes[one.coupled]], []).append(one)

    def tried(counts: Mapping[int, int]) -> T | None:
        return attempt(_ways_of(placer, _best(rows, counts)))

    most = max((len(row) for row in rows.values()), default=0)
    found = tried({device: len(row) for device, row in rows.items()}) if most else None
    if found is None:
        return None
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        result = tried({d: math.ceil(len(row) * middle / most) for d, row in rows.items()})
        low, high = (low, middle) if result is not None else (middle, high)
        found = result or found
    counts = {d: math.ceil(len(row) * high / most) for d, row in rows.items()}
    for device in rows:
        low, high = -1, counts[device]
        while high - low > 1:
            middle = (low + high) // 2
            result = tried({**counts, device: middle})
            low, high = (low, middle) if result is not None else (middle, high)
            found = result or found
        counts[device] = high
    return found


def _best(rows: Mapping[int, Sequence[Saving]], counts: Mapping[int, int]) -> Iterator[Saving]:
    """Yield the first savings of each device, for coupled operators the one that saves the most."""
    for device, row in rows.items():
        yield from sorted(row[: counts[device]], key=lambda s: s.saved)


def near_ways(
    placer: Placer, placement: Placement, ways: Ways, random_: random.Random
) -> Ways | None:
    """Return ways near by: on one device the next best saving is made, or the last one is not.

    None where no operators have a choice.
    """
    if not placer.coupled:
        return None
    current = list(ways or (0,) * len(placer.coupled))
    hosts = [placement[0][block] for block in _home_blocks(placer)]
    device = random_.choice(hosts)
    here = [s for s in placer.savings if hosts[s.coupled] == device]
    made = [s for s in here if current[s.coupled] == s.way]
    free = [s for s in here if current[s.coupled] == 0]
    which = random_.random()
    if made and which < 0.4:
        current[made[-1].coupled] = 0
    elif free and which < 0.8:
        current[free[0].coupled] = free[0].way
    else:
        number = random_.choice([n for n, host in enumerate(hosts) if host == device])
        current[number] = random_.randrange(len(placer.coupled[number].ways))
    found = tuple(current)
    return None if found == ways else found
