"""Simulated annealing on partitions, compiled: single items, swaps, and groups along tensors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from parplan.scheduling.tables import Whole
from parplan.search.partitioning.instance import Instance
from parplan.search.partitioning.kernel import busiest, excess, is_contiguous, move, refresh
from parplan.search.sequences.moves import draw, draw_real
from parplan.system.compiling import compiled, kernel_part, put_into

TRIES = 8
"""Draws for an item of the busiest device, before any other will do."""

SHARPNESS = 4
"""Loads count by their power of 2 to this: what is high matters most, and all of it a little."""

NEGLIGIBLE = 0.3
"""Part of the busiest load below which loads do not count: their powers are nothing."""

IMPOSSIBLE = 10.0
"""How many times the busiest load a breach of memory or a missing route costs, at least."""

SINGLES, SWAPS, SMALL = 6, 9, 11
"""Of 12 moves, those up to the first are of single items, then swaps, then small groups; the rest
moves all of a device that lies before or behind an item."""

SMALL_GROUP = 8


class Edits(NamedTuple):
    """The moves of a step, to undo them: ``used[0]`` items, and where they were."""

    used: Whole
    item: Whole
    before: Whole
    stamp: Whole


def make_edits(instance: Instance) -> Edits:
    """Return room for the moves of one step."""
    items = len(instance.work)
    return Edits(
        used=np.zeros(2, dtype=np.int64),
        item=np.zeros(items + 2, dtype=np.int64),
        before=np.zeros(items + 2, dtype=np.int64),
        stamp=np.zeros(items, dtype=np.int64),
    )


@compiled
def energy(instance: Any, state: Any) -> Any:
    """Return what annealing makes small: a mean of loads near their largest, in ticks."""
    most = state.load[busiest(state)]
    total = 0.0
    if most > 0:
        for load in state.load:
            if load < NEGLIGIBLE * most:
                continue
            part = load / most
            for _ in range(SHARPNESS):
                part *= part
            total += part
    over = excess(instance, state)
    power = 1.0 / 2.0**SHARPNESS
    return most * total**power + (IMPOSSIBLE * most * over if over > 0 else 0.0)


@compiled
def anneal(
    instance: Any,
    state: Any,
    edits: Any,
    best: Any,
    least: Any,
    dice: Any,
    moves: Any,
    hot: Any,
    cold: Any,
) -> Any:
    """Anneal for so many moves, from temperature ``hot`` to ``cold`` (in ticks).

    Returns the load of the best partition that can be, which is then in ``best``; ``least`` where
    none is better than that.
    """
    refresh(instance, state)
    now = energy(instance, state)
    items = len(state.device_of)
    ratio = (cold / hot) ** (1.0 / max(moves, 1))
    temperature = hot
    for _ in range(moves):
        temperature *= ratio
        _step(instance, state, edits, items, dice)
        if edits.used[0] == 0:
            continue
        if not instance.contiguous or is_contiguous(state):
            then = energy(instance, state)
            if then <= now or draw_real(dice) < np.exp((now - then) / temperature):
                now = then
                most = state.load[busiest(state)]
                if most < least * (1 - 1e-9) and excess(instance, state) == 0:
                    least = most
                    put_into(best, state.device_of)
                continue
        for n in range(edits.used[0] - 1, -1, -1):
            move(instance, state, edits.item[n], edits.before[n])
    return least


@kernel_part
def _step(instance: Any, state: Any, edits: Any, items: Any, dice: Any) -> Any:
    """Make a random change."""
    edits.used[0] = 0
    item = _draw_item(instance, state, items, dice)
    before = state.device_of[item]
    device = _draw_device(instance, state, item, dice)
    if device == before or not instance.allowed[item, device]:
        return
    what = draw(dice, 12)
    if what < SINGLES:
        _put(instance, state, edits, item, device)
    elif what < SWAPS:
        for _ in range(TRIES):
            other = draw(dice, items)
            if state.device_of[other] == device and instance.allowed[other, before]:
                _put(instance, state, edits, item, device)
                _put(instance, state, edits, other, before)
                break
    elif what < SMALL:
        _gather(instance, state, edits, item, device, 2 + draw(dice, SMALL_GROUP), -1)
    else:
        _gather(instance, state, edits, item, device, items, draw(dice, 2))


@kernel_part
def _draw_item(instance: Any, state: Any, items: Any, dice: Any) -> Any:
    """Return an item, every other time of the busiest device."""
    item = draw(dice, items)
    if draw(dice, 2) == 0:
        device = busiest(state) // instance.work.shape[2]
        for _ in range(TRIES):
            if state.device_of[item] == device:
                break
            item = draw(dice, items)
    return item


@kernel_part
def _draw_device(instance: Any, state: Any, item: Any, dice: Any) -> Any:
    """Return a device, mostly that of an item that shares a tensor."""
    first, last = instance.touch_first[item], instance.touch_first[item + 1]
    if last > first and draw(dice, 4) > 0:
        t = instance.touching[first + draw(dice, last - first)]
        start, end = instance.reader_first[t], instance.reader_first[t + 1]
        at = draw(dice, end - start + 1)
        other = instance.makers[t] if at == end - start else instance.readers[start + at]
        if other != item:
            return state.device_of[other]
    return draw(dice, instance.allowed.shape[1])


@kernel_part
def _put(instance: Any, state: Any, edits: Any, item: Any, device: Any) -> Any:
    n = edits.used[0]
    edits.item[n], edits.before[n] = item, state.device_of[item]
    edits.used[0] = n + 1
    move(instance, state, item, device)


@kernel_part
def _gather(
    instance: Any, state: Any, edits: Any, item: Any, device: Any, most: Any, side: Any
) -> Any:
    """Move an item with up to ``most`` of its device that arcs lead to, one after another.

    ``side`` 1 takes those that lie behind it (where data goes back, before it), 0 those before it,
    and -1 both.
    """
    before = state.device_of[item]
    edits.used[1] += 1
    stamp = edits.used[1]
    edits.stamp[item] = stamp
    _put(instance, state, edits, item, device)
    done = 0
    while done < edits.used[0]:
        here = edits.item[done]
        done += 1
        for at in range(instance.arc_first[here], instance.arc_first[here + 1]):
            a = instance.arcs[at]
            is_tail = instance.arc_tail[a] == here
            other = instance.arc_head[a] if is_tail else instance.arc_tail[a]
            behind = is_tail != instance.goes_back[instance.arc_flow[a]]
            if edits.stamp[other] == stamp or state.device_of[other] != before:
                continue
            if side >= 0 and behind != (side == 1):
                continue
            if not instance.allowed[other, device]:
                continue
            if edits.used[0] >= most:
                return
            edits.stamp[other] = stamp
            _put(instance, state, edits, other, device)
