"""Placements by earliest finish under varied tolls and priorities: a search by whole schedules.

A toll makes a task stay where its inputs are unless another device gains more than the links that
its transfers would hold are worth. Where links are scarce that decides more than priorities do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from attrs import frozen

from parplan import clock
from parplan.contracts import Proposal
from parplan.scheduling.tables import Real
from parplan.search.graphs.list_schedule import ListSchedules, Placed

TOLLS = (1.0, 2.0, 4.0, 0.3)
"""Tolls that are tried first."""

POOL = 4
"""Variants that are varied further, the best so far."""

TOLL_SPREAD, PRIORITY_SPREAD = 0.4, 0.05
"""Standard deviation of the logarithm of a toll, and of priorities relative to their range."""


@frozen(eq=False)
class _Variant:
    """A proposal and its toll, with the makespan it leads to."""

    proposal: Proposal
    priority: Real
    toll: float
    makespan: int


def varied(
    lists: ListSchedules, proposals: Sequence[Proposal], until: float, seed: int, target: int = 0
) -> Iterator[Placed]:
    """Yield better and better schedules, the first one in any case.

    Parameters
    ----------
    proposals
        Those that leave devices open are varied.
    until
        On ``parplan.clock``.
    target
        Ends at a makespan this short (a proven bound, in ticks).
    """
    chance = np.random.default_rng(seed)
    pool: list[_Variant] = []
    best = -1
    for proposal, priority, toll in _trials(proposals, pool, chance):
        placed = lists.in_order(
            lists.order(priority), proposal.device, proposal.lookahead, toll=toll
        )
        if placed is not None:
            pool.append(_Variant(proposal, priority, toll, placed.makespan))
            pool.sort(key=lambda variant: variant.makespan)
            del pool[POOL:]
            if best < 0 or placed.makespan < best:
                best = placed.makespan
                yield placed
        if clock.now() > until or 0 <= best <= target:
            return


def _trials(
    proposals: Sequence[Proposal], pool: Sequence[_Variant], chance: np.random.Generator
) -> Iterator[tuple[Proposal, Real, float]]:
    """Yield (proposal, priority, toll): all first tolls, then variants of the best."""
    varying = [p for p in proposals if p.device is None or (p.device < 0).any()]
    for toll in TOLLS:
        for proposal in varying:
            yield proposal, proposal.priority, toll
    while pool:
        base = pool[int(chance.integers(len(pool)))]
        toll = base.toll * float(np.exp(chance.normal(0.0, TOLL_SPREAD)))
        noise = chance.normal(0.0, PRIORITY_SPREAD * chance.random(), len(base.priority))
        yield base.proposal, base.priority + noise * np.ptp(base.priority), toll
