"""What places and refines a level: variants of HEFT, and annealing from the best there is."""

from __future__ import annotations

from parplan import clock
from parplan.contracts import Proposal
from parplan.scheduling.tables import Whole
from parplan.search.graphs.annealing import annealed, moves_until
from parplan.search.graphs.list_schedule import ListSchedules, Placed
from parplan.search.graphs.ranks import upward_ranks
from parplan.search.graphs.variation import varied

VARIED_SHARE = 0.3
"""Part of the time for placements from nothing, by earliest finish under tolls."""


def refined(lists: ListSchedules, device: Whole | None, until: float, seed: int) -> Placed | None:
    """Return the best schedule found until an instant; None if parameters fit nowhere.

    Annealing begins at the placement given or at the best variant of HEFT, whichever is better.

    Parameters
    ----------
    device
        Of each unit, to start from; None: no placement is given.
    until
        On ``parplan.clock``.
    """
    ranks = Proposal(-upward_ranks(lists.graph))
    now = clock.now()
    found = list(varied(lists, [ranks], now + VARIED_SHARE * max(until - now, 0.0), seed))
    given = None if device is None else lists.in_order(lists.order(ranks.priority), device)
    if given is not None:
        found.append(given)
    if not found:
        return None
    best = min(found, key=lambda placed: placed.makespan)
    moves = moves_until(lists, best, until)
    return [best, *annealed(lists, best, moves, seed, until)][-1]
