"""Passes over a walk as they come, in memory that never locks, and annealing of walks; compiled.

A walk is the device of each block. Blocks that follow one another on a device are a stage. Every
device runs whatever pass is ready first; a forward pass begins only where the microbatches under
way could still end one after another, the first one first (the banker's algorithm, Dijkstra 1965),
so that there is no deadlock, and no window is needed to avoid one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from parplan.scheduling.tables import Real, Whole
from parplan.search.hand_made.stages.figures import BACKWARD, FORWARD, WEIGHT
from parplan.system.compiling import compiled, kernel_part, put_into

POLICIES = (3, 2, 2)
"""How many choices each entry of a policy has: whether the backward pass, the older microbatch or
the forward pass goes first; whether of forward passes the older microbatch goes first, or the
earlier stage; whether weight passes wait for all others, or go before forward passes."""

BACKWARD_RANKS, FORWARD_RANK, WEIGHT_RANKS = (0, 2, 3), 2, (4, 1)
"""What goes first by a policy's first and last entry, the smallest rank first."""

RECUT_SHARE, MOVE_SHARE, STAGE_SHARE, SWAP_SHARE = 0.5, 0.16, 0.1, 0.1
"""Parts of the moves that shift cuts, put a few blocks or a stage elsewhere, and swap two stages;
of the rest half swaps two devices, and half changes the policy."""

MOST_BLOCKS = 4
"""Blocks that are put elsewhere at most at a time."""

NUMBERS = 5
"""Random numbers that a move takes."""


FORTH, BACK, FOR_WEIGHTS, UNTIL_BACKWARD, UNTIL_WEIGHT, BETWEEN = range(6)
"""Rows of the figures of stages: ticks of F, B and W, and bytes as those of blocks."""

FREE, LEVEL, ROOM, WHOLE = range(4)
"""Rows of the figures of devices: when one is free, the bytes it keeps then, its room for what is
under way, and what one microbatch keeps there in all."""

HELD, TAKEN = range(2)
"""Tables of bytes by device and microbatch: what is kept, and what forward passes have taken."""


class Stages(NamedTuple):
    """A walk's stages.

    Attributes
    ----------
    cuts
        ``(stages + 1,)``: the first block of each.
    device
        ``(stages,)``.
    figures
        ``(6, stages)``: see ``FORTH``.
    first, hosted
        Stages of device d are ``hosted[first[d]]`` up to ``hosted[first[d + 1]]``.
    books
        ``(4, devices)``: see ``FREE``.
    fits
        Whether devices may run their stages, and have room for one microbatch.
    """

    cuts: Whole
    device: Whole
    figures: Real
    first: Whole
    hosted: Whole
    books: Real
    fits: bool


@compiled
def stages_of(blocks: Any, reserve: Real, share: float, walk: Whole) -> Any:
    """Return the ``Stages`` of a walk.

    Parameters
    ----------
    blocks
        ``BlockFigures``.
    reserve
        ``(blocks,)``: bytes that a device of this block must have beside all others.
    share
        Part of the memory that may be used.
    """
    count, devices = 1, len(blocks.usable)
    for b in range(1, len(walk)):
        count += walk[b] != walk[b - 1]
    cuts = np.zeros(count + 1, np.int64)
    s = 0
    for b in range(1, len(walk)):
        if walk[b] != walk[b - 1]:
            s += 1
            cuts[s] = b
    cuts[count] = len(walk)
    device, figures = np.empty(count, np.int64), np.empty((6, count))
    books, beside = np.zeros((4, devices)), np.zeros(devices)
    first, hosted = np.zeros(devices + 1, np.int64), np.empty(count, np.int64)
    fits = True
    for d in range(devices):
        books[ROOM, d] = blocks.usable[d] * share
    for s in range(count):
        low, high = cuts[s], cuts[s + 1]
        d = walk[low]
        device[s] = d
        fits = fits and blocks.barred[0, d, high] == blocks.barred[0, d, low]
        for kind in range(3):
            figures[kind, s] = blocks.passes[kind, 0, d, high] - blocks.passes[kind, 0, d, low]
        figures[UNTIL_BACKWARD, s] = blocks.until_backward[high] - blocks.until_backward[low]
        figures[UNTIL_WEIGHT, s] = blocks.until_weight[high] - blocks.until_weight[low]
        figures[BETWEEN, s] = blocks.between[high] - blocks.between[low]
        books[WHOLE, d] += figures[UNTIL_BACKWARD, s] + figures[UNTIL_WEIGHT, s]
        books[ROOM, d] -= blocks.parameters[high] - blocks.parameters[low]
        for b in range(low, high):
            beside[d] = max(beside[d], figures[BETWEEN, s] + reserve[b])
        first[d + 1] += 1
    for d in range(devices):
        books[ROOM, d] -= beside[d]
        fits = fits and books[WHOLE, d] <= books[ROOM, d]
        first[d + 1] += first[d]
    place = first[:-1].copy()
    for s in range(count):
        hosted[place[device[s]]] = s
        place[device[s]] += 1
    return Stages(cuts, device, figures, first, hosted, books, fits)


@kernel_part
def _is_safe(books: Real, bytes_: Real, device: int, microbatch: int, size: float) -> bool:
    """Return whether all earlier microbatches can end in turn once so many bytes are taken."""
    free = books[ROOM, device] - books[LEVEL, device] - size
    for k in range(microbatch):
        if books[WHOLE, device] - bytes_[TAKEN, device, k] > free:
            return False
        free += bytes_[HELD, device, k]
    return True


@kernel_part
def _next_pass(
    figures: Real,
    first: Whole,
    hosted: Whole,
    books: Real,
    bytes_: Real,
    done: Whole,
    ready: Real,
    policy: Whole,
    device: int,
) -> Any:
    """Return (start, kind, stage) of the pass that a device runs next; kind -1 without any."""
    microbatches, count = ready.shape[2], ready.shape[1]
    most = count * microbatches
    best, urgency, chosen, stage = np.inf, 5 * most, -1, -1
    free, room = books[FREE, device], books[ROOM, device] - books[LEVEL, device]
    for i in range(first[device], first[device + 1]):
        s = hosted[i]
        k = done[BACKWARD, s]
        # What it takes itself is kept free of forward passes; weight passes free it again.
        if k < done[FORWARD, s] and ready[BACKWARD, s, k] >= 0 and room >= 0:
            start = max(free, ready[BACKWARD, s, k])
            own = BACKWARD_RANKS[policy[0]] * most + k * count + s
            if start < best or (start == best and own < urgency):
                best, urgency, chosen, stage = start, own, BACKWARD, s
        k = done[FORWARD, s]
        if k < microbatches and ready[FORWARD, s, k] >= 0:
            size = figures[UNTIL_BACKWARD, s] + figures[UNTIL_WEIGHT, s]
            start = max(free, ready[FORWARD, s, k])
            own = k * count + count - 1 - s if policy[1] == 0 else s * microbatches + k
            own += FORWARD_RANK * most
            sooner = start < best or (start == best and own < urgency)
            if sooner and size <= room and _is_safe(books, bytes_, device, k, size):
                best, urgency, chosen, stage = start, own, FORWARD, s
        k = done[WEIGHT, s]
        if k < done[BACKWARD, s]:
            own = WEIGHT_RANKS[policy[2]] * most + k * count + count - 1 - s
            if free < best or (free == best and own < urgency):
                best, urgency, chosen, stage = free, own, WEIGHT, s
    return best, chosen, stage


@kernel_part
def _book(figures: Real, books: Real, bytes_: Real, d: int, kind: int, s: int, k: int) -> None:
    """Change what a device keeps as a pass of a microbatch does."""
    before, after = figures[UNTIL_BACKWARD, s], figures[UNTIL_WEIGHT, s]
    if kind == FORWARD:
        books[LEVEL, d] += before + after
        bytes_[HELD, d, k] += before + after
        bytes_[TAKEN, d, k] += before + after
    elif kind == BACKWARD:
        books[LEVEL, d] += figures[BETWEEN, s] - before
        bytes_[HELD, d, k] += figures[BETWEEN, s] - before
    else:
        books[LEVEL, d] -= figures[BETWEEN, s] + after
        bytes_[HELD, d, k] -= figures[BETWEEN, s] + after


@compiled
def timed(
    blocks: Any,
    reserve: Real,
    releases: Real,
    share: float,
    walk: Whole,
    policy: Whole,
    passes: Any,
) -> float:
    """Return the makespan in ticks of a walk under a policy; inf where it does not fit.

    Parameters
    ----------
    blocks, reserve, share
        As those of ``stages_of``.
    releases
        ``(microbatches,)`` ticks.
    policy
        A choice for each of ``POLICIES``.
    passes
        ``(3 * stages * microbatches, 3)``: takes kind, stage and microbatch of every pass in the
        order of starts; with no rows, none are kept.
    """
    cuts, device, figures, first, hosted, books, fits = stages_of(blocks, reserve, share, walk)
    if not fits:
        return np.inf
    per_byte, latency, crossing = blocks.per_byte, blocks.latency, blocks.crossing
    count, microbatches, devices = len(device), len(releases), books.shape[1]
    done, ready = np.zeros((3, count), np.int64), np.full((2, count, microbatches), -1.0)
    ready[FORWARD, 0, :] = releases
    bytes_ = np.zeros((2, devices, microbatches))
    sent = np.zeros((2, count))  # until when transfers from a stage hold their link
    starts, kinds = np.full(devices, np.inf), np.full(devices, -1)
    which, stale = np.full(devices, -1), np.ones(devices, np.bool_)
    for n in range(3 * count * microbatches):
        d = 0
        for other in range(devices):
            if stale[other]:
                starts[other], kinds[other], which[other] = _next_pass(
                    figures, first, hosted, books, bytes_, done, ready, policy, other
                )
                stale[other] = False
            if starts[other] < starts[d]:
                d = other
        kind, s = kinds[d], which[d]
        if kind < 0:
            return np.inf
        k = done[kind, s]
        if len(passes):
            passes[n, 0], passes[n, 1], passes[n, 2] = kind, s, k
        books[FREE, d] = starts[d] + figures[kind, s]
        done[kind, s] += 1
        stale[d] = True
        _book(figures, books, bytes_, d, kind, s, k)
        if kind == FORWARD and s + 1 == count:
            ready[BACKWARD, s, k] = books[FREE, d]
        elif kind == FORWARD or (kind == BACKWARD and s > 0):
            to = s + 1 if kind == FORWARD else s - 1
            target = device[to]
            held = per_byte[d, target] * crossing[kind, cuts[max(s, to)]]
            sent[kind, s] = max(books[FREE, d], sent[kind, s]) + held
            ready[kind, to, k] = sent[kind, s] + latency[d, target]
            stale[target] = True
    makespan = 0.0
    for s in range(count):
        d = device[s]
        books[FREE, d] += blocks.steps[d, cuts[s + 1]] - blocks.steps[d, cuts[s]]
        makespan = max(makespan, books[FREE, d])
    return makespan


@kernel_part
def _recut(walk: Whole, numbers: Any, new: Whole) -> None:
    """Shift one cut, or a range of them, by one block."""
    cuts = 0
    for b in range(1, len(walk)):
        cuts += walk[b] != walk[b - 1]
    one = int(numbers[0] * cuts)
    # Twice as many numbers as cuts: half of the moves shift a single one.
    other = int(numbers[1] * 2 * cuts)
    low, high = (min(one, other), max(one, other)) if other < cuts else (one, one)
    cut = 0
    for b in range(1, len(walk)):
        if walk[b] != walk[b - 1]:
            if low <= cut <= high:
                if numbers[2] < 0.5:
                    new[b] = walk[b - 1]
                else:
                    new[b - 1] = walk[b]
            cut += 1


@kernel_part
def _put_stage(walk: Whole, block: int, device: int, new: Whole) -> None:
    """Put all blocks of a block's stage on a device."""
    low, high = block, block + 1
    while low > 0 and walk[low - 1] == walk[block]:
        low -= 1
    while high < len(walk) and walk[high] == walk[block]:
        high += 1
    new[low:high] = device


@kernel_part
def moved(walk: Whole, policy: Whole, devices: int, numbers: Any, new: Whole, own: Whole) -> None:
    """Write a walk near by, and its policy, to ``new`` and ``own``.

    Parameters
    ----------
    numbers
        ``(NUMBERS,)`` uniform random numbers.
    """
    count = len(walk)
    put_into(new, walk)
    put_into(own, policy)
    which = numbers[0]
    block, other = int(numbers[1] * count), int(numbers[2] * count)
    device = int(numbers[3] * devices)
    if which < RECUT_SHARE:
        _recut(walk, numbers[1:], new)
        return
    which -= RECUT_SHARE
    if which < MOVE_SHARE:
        new[block : block + 1 + int(numbers[2] * MOST_BLOCKS)] = device
        return
    which -= MOVE_SHARE
    if which < STAGE_SHARE:
        _put_stage(walk, block, device, new)
        return
    which -= STAGE_SHARE
    if which < SWAP_SHARE:
        _put_stage(walk, block, walk[other], new)
        _put_stage(walk, other, walk[block], new)
        return
    which -= SWAP_SHARE
    if numbers[4] < 0.5:
        one, two = walk[block], device
        for b in range(count):
            if walk[b] == one:
                new[b] = two
            elif walk[b] == two:
                new[b] = one
        return
    entry = int(numbers[1] * len(own))
    own[entry] = int(numbers[2] * POLICIES[entry])


@compiled
def annealed(
    blocks: Any,
    reserve: Real,
    releases: Real,
    share: float,
    walk: Whole,
    policy: Whole,
    numbers: Real,
    heat: Any,
) -> Any:
    """Return (walk, policy, makespan in ticks) of the best met by simulated annealing.

    Parameters
    ----------
    numbers
        ``(steps, NUMBERS + 1)`` uniform random numbers: the move of each step, and acceptance.
    heat
        Temperature at the beginning and at the end, as parts of the best makespan.
    """
    none = np.empty((0, 3), np.int64)
    current, best, new = walk.copy(), walk.copy(), walk.copy()
    rule, best_rule, own = policy.copy(), policy.copy(), policy.copy()
    cost = least = timed(blocks, reserve, releases, share, current, rule, none)
    for step in range(len(numbers)):
        moved(current, rule, len(blocks.usable), numbers[step, :NUMBERS], new, own)
        found = timed(blocks, reserve, releases, share, new, own, none)
        if found == np.inf:
            continue
        temperature = heat[0] * (heat[1] / heat[0]) ** (step / len(numbers)) * found
        if found <= cost or numbers[step, NUMBERS] < np.exp((cost - found) / temperature):
            cost = found
            put_into(current, new)
            put_into(rule, own)
            if cost < least:
                least = cost
                put_into(best, current)
                put_into(best_rule, rule)
    return best, best_rule, least
