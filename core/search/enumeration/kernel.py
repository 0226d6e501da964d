"""The enumeration, compiled: the same decisions as ``plain.PlainEnumeration``.

Depth first: at depth d, d tasks are placed, each behind all that was placed before on its device.
Row d of the arrays of ``Progress`` is the state there, so that nothing is ever undone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from parplan.search.enumeration.delay_graph import NEVER, Whole
from parplan.search.enumeration.tables import Flags, Tables
from parplan.system.compiling import compiled, kernel_part

MOST_REMEMBERED = 1 << 21
"""States that are remembered at once; where there is no place left, the later one stays."""

EARLY = 1 << 10
"""How much more an earlier start counts than a longer tail, where chances are ordered."""

PLACES = 4
"""Places that a state may stand in."""


class Progress(NamedTuple):
    """Where an enumeration stands; arrays that the kernel changes.

    Attributes
    ----------
    free
        When each device has ended what is placed on it, by depth, ``(n + 1, D)``.
    ready
        When what each task reads from placed parents is on each device, ``(n + 1, n, D)``.
    waiting
        Parents of each task that are not placed, by depth, ``(n + 1, n)``.
    placed
        Whether each task is placed, ``(n,)``.
    path
        (task, device) by depth, ``(n, 2)``.
    tasks, devices, chances, tried
        What may be placed next, by depth: ``(n + 1, n D)`` twice, how many, and how many of them
        have been tried.
    seen
        Two independent hashes of each state that was looked into, ``(MOST_REMEMBERED, 2)``.
    best
        (task, device) by depth of the best schedule found, ``(n, 2)``.
    counts
        Depth (-1 when all is done), limit (makespans above it do not count), states looked into,
        whether ``best`` is filled.
    """

    free: Whole
    ready: Whole
    waiting: Whole
    placed: Flags
    path: Whole
    tasks: Whole
    devices: Whole
    chances: Whole
    tried: Whole
    seen: Whole
    best: Whole
    counts: Whole


DEPTH, LIMIT, STATES, FOUND = range(4)
"""Places in ``Progress.counts``. The limit may be lowered between two calls, never raised."""

NEW = -1
"""Of a state's chances so many have been tried before it is looked into."""


def begin(tables: Tables, limit: int, remembered: int = MOST_REMEMBERED) -> Progress:
    """Return an enumeration of all schedules of at most ``limit`` ticks that has not begun.

    Parameters
    ----------
    remembered
        A power of two.
    """
    count, devices = tables.durations.shape
    waiting = np.zeros((count + 1, count), dtype=np.int64)
    waiting[0] = np.diff(tables.parent_first)
    tried = np.full(count + 1, NEW, dtype=np.int64)

    def zeros(*shape: int) -> Whole:
        return np.zeros(shape, dtype=np.int64)

    return Progress(
        free=zeros(count + 1, devices),
        ready=zeros(count + 1, count, devices),
        waiting=waiting,
        placed=np.zeros(count, dtype=np.bool_),
        path=zeros(count, 2),
        tasks=zeros(count + 1, count * devices),
        devices=zeros(count + 1, count * devices),
        chances=zeros(count + 1),
        tried=tried,
        seen=zeros(remembered, 2),
        best=zeros(count, 2),
        counts=np.array([0, limit, 0, 0], dtype=np.int64),
    )


def advance(tables: Tables, progress: Progress, states: int) -> bool:
    """Look into at most so many further states; return whether all is done."""
    return bool(_advance(tables, progress, states))


@compiled
def _advance(tables: Any, progress: Any, states: int) -> bool:
    count, devices = tables.durations.shape
    counts, placed = progress.counts, progress.placed
    starts = np.empty((count, devices), dtype=np.int64)
    least = np.empty(count, dtype=np.int64)
    hashes = np.empty((devices, 2), dtype=np.int64)
    until = counts[STATES] + states
    while counts[DEPTH] >= 0 and counts[STATES] < until:
        depth, limit = counts[DEPTH], counts[LIMIT]
        chance = progress.tried[depth]
        progress.tried[depth] += 1
        if chance == NEW:
            counts[STATES] += 1
            progress.chances[depth] = 0
            if depth == count:
                _keep(progress.free, progress.path, progress.best, counts)
            elif _find_starts(tables, progress, depth, starts, least) and _work_fits(
                tables.by_tail, tables.tails, tables.least, placed, limit, starts
            ):
                _hash_devices(placed, starts, hashes)
                if not _was_seen(tables.alike, progress.seen, limit, hashes):
                    waiting = progress.waiting[depth]
                    first = _first_in_fixed_order(
                        tables.covers, tables.least, tables.twin, placed, waiting, starts
                    )
                    _list_chances(tables, progress, depth, first, starts, hashes)
        elif chance < progress.chances[depth]:
            task, device = progress.tasks[depth, chance], progress.devices[depth, chance]
            if _place(tables, progress, depth, task, device) + tables.tails[task] <= limit:
                placed[task] = True
                counts[DEPTH] = depth + 1
                progress.tried[depth + 1] = NEW
        else:
            counts[DEPTH] = depth - 1
            if depth > 0:
                placed[progress.path[depth - 1, 0]] = False
    return bool(counts[DEPTH] < 0)


@kernel_part
def _keep(free: Any, path: Any, best: Any, counts: Any) -> None:
    """Keep a complete schedule within the limit; from now on only shorter ones count."""
    count, makespan = len(path), 0
    for device in range(free.shape[1]):
        makespan = max(makespan, free[count, device])
    if makespan > counts[LIMIT]:  # its first tasks were placed when the limit was larger
        return
    for depth in range(count):
        best[depth, 0], best[depth, 1] = path[depth, 0], path[depth, 1]
    counts[LIMIT], counts[FOUND] = makespan - 1, 1


@kernel_part
def _place(tables: Any, progress: Any, depth: int, task: int, device: int) -> Any:
    """Make the state at ``depth + 1`` from the one at ``depth``; return the end of the task."""
    count, devices = tables.durations.shape
    for other in range(devices):
        progress.free[depth + 1, other] = progress.free[depth, other]
    for other in range(count):
        progress.waiting[depth + 1, other] = progress.waiting[depth, other]
        for k in range(devices):
            progress.ready[depth + 1, other, k] = progress.ready[depth, other, k]
    progress.path[depth, 0], progress.path[depth, 1] = task, device
    start = max(progress.free[depth, device], progress.ready[depth, task, device])
    end = start + tables.durations[task, device]
    progress.free[depth + 1, device] = end
    for k in range(tables.child_first[task], tables.child_first[task + 1]):
        child, edge = tables.child[k], tables.child_edge[k]
        progress.waiting[depth + 1, child] -= 1
        for other in range(devices):
            arrival = end + tables.delays[edge, device, other]
            if arrival > progress.ready[depth + 1, child, other]:
                progress.ready[depth + 1, child, other] = arrival
    return end


@kernel_part
def _find_starts(tables: Any, progress: Any, depth: int, starts: Any, least: Any) -> bool:
    """Fill in the earliest start of each task on each device; return whether all can end in time.

    A start from which the limit cannot be met is NEVER.
    """
    count, devices = starts.shape
    limit = progress.counts[LIMIT]
    for device in range(devices):
        if progress.free[depth, device] > limit:  # placed when the limit was larger
            return False
    for task in range(count):
        if progress.placed[task]:
            continue
        head = max(tables.heads[task], _after_parents(tables, progress.placed, least, task))
        earliest = NEVER
        for device in range(devices):
            start = max(head, progress.free[depth, device], progress.ready[depth, task, device])
            end = start + tables.durations[task, device]
            if end + tables.tails[task] > limit:
                start = NEVER
            starts[task, device] = start
            earliest = min(earliest, start)
        if earliest == NEVER:
            return False
        least[task] = earliest
    return True


@kernel_part
def _after_parents(tables: Any, placed: Any, least: Any, task: int) -> Any:
    """Return the earliest start after parents that are not placed: ``heads.earliest_start``."""
    best, first, work, beside = NEVER, NEVER, 0, 0
    before = NEVER * 4
    before_parent = -1
    while True:
        # The next parent by decreasing arrival, then index; parents are few.
        arrival, parent = -1, -1
        for k in range(tables.parent_first[task], tables.parent_first[task + 1]):
            p = tables.parent[k]
            if placed[p]:
                continue
            at = least[p] + tables.least[p] + tables.parent_delay[k]
            if (at < before or (at == before and p > before_parent)) and at > arrival:
                arrival, parent = at, p
        if parent < 0:
            return min(best, beside)
        best = min(best, max(beside, arrival))
        if beside >= best:
            return best
        first = min(first, least[parent])
        work += tables.least[parent]
        beside = max(beside, first + work, least[parent] + tables.least[parent])
        before, before_parent = arrival, parent


@kernel_part
def _work_fits(by_tail: Any, tails: Any, least: Any, placed: Any, limit: int, starts: Any) -> bool:
    """Return whether the devices have room for the tasks of long tails, however long.

    Tasks of at least a tail must end by the limit less that tail, and none of them starts on a
    device before the earliest start of one of them there.
    """
    count, devices = starts.shape
    opening = np.empty(devices, dtype=np.int64)
    for device in range(devices):
        opening[device] = NEVER
    work = 0
    for i in range(count):
        task = by_tail[i]
        if placed[task]:
            continue
        work += least[task]
        room = 0
        for device in range(devices):
            opening[device] = min(opening[device], starts[task, device])
            room += max(0, limit - tails[task] - opening[device])
        if work > room:
            return False
    return True


@kernel_part
def _hash_devices(placed: Any, starts: Any, hashes: Any) -> None:
    """Fill in two hashes of what may start when on each device."""
    count, devices = starts.shape
    for device in range(devices):
        one, two = np.int64(0x1F83D9ABFB41BD6B), np.int64(0x5BE0CD19137E2179)
        for task in range(count):
            if not placed[task]:
                value = starts[task, device] * 64 + task
                one = _mixed(one ^ value, np.int64(0x2545F4914F6CDD1D))
                two = _mixed(two + value, np.int64(0x369DEA0F31A53F85))
        hashes[device, 0], hashes[device, 1] = one, two


@kernel_part
def _mixed(value: Any, factor: Any) -> Any:
    """Return a number from which no bit of the old one can be guessed."""
    value = (value ^ (value >> 29)) * factor
    value = (value ^ (value >> 32)) * factor
    return value ^ (value >> 31)


@kernel_part
def _was_seen(alike: Any, seen: Any, limit: int, hashes: Any) -> bool:
    """Return whether a state was seen under the same limit, its devices traded perhaps.

    If not, it is remembered. What starts at the same times can end at the same times, and what is
    placed has ended within the limit: where nothing was found then, nothing is to be found now.
    Under another limit that says nothing: a schedule that was found may have been as long as what
    was placed, and no longer.
    """
    one, two = np.int64(limit), np.int64(limit)
    for device in range(len(alike)):
        salt = alike[device] + 1
        one += _mixed(hashes[device, 0] + salt, np.int64(0x2545F4914F6CDD1D))
        two += _mixed(hashes[device, 1] + salt, np.int64(0x369DEA0F31A53F85))
    if one == 0 and two == 0:
        return False
    mask = len(seen) - 1
    place = (one & mask) ^ (two & (PLACES - 1))
    for k in range(PLACES):
        at = (one + k) & mask
        if seen[at, 0] == one and seen[at, 1] == two:
            return True
        if seen[at, 0] == 0 and seen[at, 1] == 0:
            place = at
            break
    seen[place, 0], seen[place, 1] = one, two
    return False


@kernel_part
def _list_chances(
    tables: Any, progress: Any, depth: int, first: int, starts: Any, hashes: Any
) -> None:
    """List what may be placed next, the most promising first; ``first`` alone if there is one."""
    count, devices = starts.shape
    waiting = progress.waiting[depth]
    keys = np.empty(count * devices, dtype=np.int64)
    listed = 0
    for task in range(count):
        if progress.placed[task] or waiting[task] > 0 or (first >= 0 and task != first):
            continue
        twin = tables.twin[task]
        if twin >= 0 and not progress.placed[twin]:
            continue
        for device in range(devices):
            if starts[task, device] == NEVER or _has_double(tables.alike, hashes, device):
                continue
            key = starts[task, device] * EARLY - tables.tails[task] - tables.least[task]
            k = listed
            while k > 0 and key < keys[k - 1]:
                keys[k] = keys[k - 1]
                progress.tasks[depth, k] = progress.tasks[depth, k - 1]
                progress.devices[depth, k] = progress.devices[depth, k - 1]
                k -= 1
            keys[k] = key
            progress.tasks[depth, k], progress.devices[depth, k] = task, device
            listed += 1
    progress.chances[depth] = listed


@kernel_part
def _has_double(alike: Any, hashes: Any, device: int) -> bool:
    """Return whether a device before it could trade places with it, and is in the same state."""
    for other in range(device):
        if (
            alike[other] == alike[device]
            and hashes[other, 0] == hashes[device, 0]
            and hashes[other, 1] == hashes[device, 1]
        ):
            return True
    return False


@kernel_part
def _first_in_fixed_order(
    covers: Any, least: Any, twins: Any, placed: Any, waiting: Any, starts: Any
) -> Any:
    """Return the task that may go first without loss; -1 if there is none that is known to.

    Of the tasks that may be placed, let f be ready on every device no later than each other one,
    and cover each other one. Nothing but such tasks can then precede f anywhere: what has parents
    left waits for a child of f. Moved to the front of its device, f makes no sequence end later,
    and what was before f ends no later than f did, with shorter delays to the same children.
    (Sinnen, Computers & Operations Research 2014, has this for fixed orders of all such tasks.)
    """
    count, devices = starts.shape
    first: Any = np.int64(-1)  # not a literal, which would be compiled apart
    for task in range(count):
        if placed[task] or waiting[task] > 0:
            continue
        if first < 0 or _goes_before(covers, least, starts, task, first):
            first = task
    for task in range(count):
        if not placed[task] and waiting[task] == 0 and task != first:
            if not covers[first, task]:
                return -1
            for device in range(devices):
                start = starts[first, device]
                if start < NEVER and start > starts[task, device]:
                    return -1
    twin = twins[first]
    while twin >= 0 and not placed[twin]:
        first, twin = twin, twins[twin]
    return first


@kernel_part
def _goes_before(covers: Any, least: Any, starts: Any, task: int, other: int) -> bool:
    """Return whether a task is the better candidate to go first: earlier, else longer."""
    mine, its = 0, 0
    for device in range(starts.shape[1]):
        mine += starts[task, device]
        its += starts[other, device]
    if mine != its:
        return mine < its
    if covers[task, other] != covers[other, task]:
        return bool(covers[task, other])
    return bool(least[task] > least[other])
