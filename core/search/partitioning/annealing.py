"""Simulated annealing on partitions: from a partition to a better one, until a deadline."""

from __future__ import annotations

import numpy as np
from attrs import frozen

from parplan import clock
from parplan.scheduling.tables import Whole
from parplan.search.partitioning.annealing_kernel import anneal, energy, make_edits
from parplan.search.partitioning.instance import Instance
from parplan.search.partitioning.kernel import busiest, excess, is_contiguous, make_state
from parplan.search.sequences.moves import make_dice

HOT, COLD = 2e-2, 1e-5
"""Temperature at the beginning and the end, in parts of the busiest load."""

SLICE_S = 0.1
"""Seconds between two looks at the clock."""

FIRST_MOVES = 2000
"""Moves of the first slice, which measures how fast they are."""


@frozen
class Found:
    """What an annealing has reached: its busiest load in ticks per microbatch, and moves tried."""

    device_of: Whole
    load: float
    moves: int


def load_of(instance: Instance, device_of: Whole) -> float:
    """Return the busiest load of a partition in ticks per microbatch; infinite if it cannot be."""
    state = make_state(instance, device_of)
    if excess(instance, state) > 0 or (instance.contiguous and not is_contiguous(state)):
        return float("inf")
    return float(state.load[busiest(state)])


def annealed(
    instance: Instance,
    start: Whole,
    seconds: float,
    seed: int,
    *,
    target: float = 0.0,
    heat: float = 1.0,
) -> Found:
    """Return the best partition that annealing reaches from another.

    Parameters
    ----------
    start
        Contiguous, where the instance says so; it may exceed memory.
    seconds
        How long; the temperature falls geometrically over this time.
    target
        Stop at a load this small.
    heat
        Factor on the first temperature: 1 from a rough start, less to go on from a good one.
    """
    state, edits, dice = make_state(instance, start), make_edits(instance), make_dice(seed)
    best, least = start.copy(), load_of(instance, start)
    scale = float(energy(instance, state))
    # Compiling, which the first call does, is none of the seconds.
    anneal(instance, state, edits, best, least, dice, np.int64(0), 1.0, 1.0)
    begun = now = clock.now()
    moves, rate = 0, 0.0
    while least > target and scale > 0 and now < begun + seconds:
        left = begun + seconds - now
        count = FIRST_MOVES if moves == 0 else max(int(rate * min(SLICE_S, left)), 100)
        hot = _temperature(1.0 - left / seconds, heat)
        cold = _temperature(1.0 - max(left - SLICE_S, 0.0) / seconds, heat)
        scale = min(scale, least)
        least = float(
            anneal(
                instance,
                state,
                edits,
                best,
                least,
                dice,
                np.int64(count),
                scale * hot,
                scale * cold,
            )
        )
        moves += count
        before, now = now, clock.now()
        rate = count / max(now - before, 1e-6)
    return Found(best, least, moves)


def _temperature(part: float, heat: float) -> float:
    hot = max(heat * HOT, COLD)
    return hot * float((COLD / hot) ** part)
