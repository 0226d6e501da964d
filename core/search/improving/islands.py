"""Path relinking by several workers: each has a population of its own, and they tell the best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from itertools import cycle, islice

import attrs
from attrs import frozen

from parplan import clock
from parplan.criteria import Criterion
from parplan.search.critical_blocks.neighbourhood import has_blocks
from parplan.search.critical_blocks.relinking import relinked
from parplan.search.critical_blocks.tabu import TabuSearch, Timed
from parplan.search.improving.crew import Sequenced, candidate_of, prepared_of, sequenced
from parplan.search.improving.rounds import improved
from parplan.search.placing.evaluation import Candidate
from parplan.search.placing.placement import Placer

MOST_NODES = 3000
"""Largest network, in nodes, that is searched so: what is tabu is a table of pairs."""

PLACEMENTS = 3
"""Placements whose orders are searched."""

FIRST_S = 0.2
"""Seconds of search before the first round."""

ROUND_S = 3.0
"""Seconds between two exchanges of what is best."""


@frozen(eq=False)
class Island:
    """Orders of one placement that one worker goes on from, in any process.

    Attributes
    ----------
    best
        The shortest schedule found there.
    population
        Empty before the first round.
    """

    best: Sequenced
    population: tuple[Timed, ...] = ()


def can_relink(candidate: Candidate) -> bool:
    """Return whether the orders of a candidate's placement can be searched by critical blocks."""
    prepared = candidate.prepared
    if prepared.criterion is not Criterion.MAKESPAN or len(prepared.network) > 2 * MOST_NODES:
        return False
    view = prepared.view
    return view is not None and len(view.activities) <= MOST_NODES and has_blocks(view.machines)


def searched_by_relinking(
    placer: Placer,
    candidates: Sequence[Candidate],
    executor: Executor | None,
    workers: int,
    deadline: float,
    seed: int,
    target: int,
) -> Iterator[Candidate]:
    """Yield better and better candidates until the deadline, or until one meets ``target``.

    Parameters
    ----------
    candidates
        Their placements are searched, those of the shortest first; see ``can_relink``.
    executor
        Where the runs go; None runs them here, one after the other.
    workers
        Runs at the same time.
    """
    islands = _islands(candidates, workers)
    least = min((island.best.figure for island in islands), default=0)
    turn = 0
    while islands and least > target and (left := deadline - clock.now()) > 0.05:
        chosen, waiting = islands[:workers], islands[workers:]
        share = left if executor is not None else left / len(chosen)
        seconds = min(ROUND_S, share)
        found = improved(improve, placer, chosen, executor, seconds, seed + turn, target)
        turn += len(chosen)
        islands = [*waiting, *found]
        best = min((island.best for island in found), key=lambda one: one.figure)
        if best.figure < least:
            least = best.figure
            yield candidate_of(placer, best)


def _islands(candidates: Sequence[Candidate], workers: int) -> list[Island]:
    """Return an island for each of a few placements, and as many as there are workers at least."""
    placements: dict[object, Candidate] = {}
    for candidate in sorted(candidates, key=lambda c: c.figure):
        prepared = candidate.prepared
        key = (prepared.placement, prepared.ways, (*prepared.stage_of_block,))
        if prepared.placement and key not in placements and can_relink(candidate):
            placements[key] = candidate
        if len(placements) == PLACEMENTS:
            break
    begun = [_begun(sequenced(candidate), candidate) for candidate in placements.values()]
    return list(islice(cycle(begun), max(workers, len(begun)))) if begun else []


def _begun(best: Sequenced, candidate: Candidate) -> Island:
    """Return an island with one order on it.

    It is searched for a moment, so that workers forked later find all that they need compiled.
    """
    view = candidate.prepared.view
    assert view is not None  # as can_relink says
    search = TabuSearch(view)
    found, _ = search.run(search.timed(view.order(candidate.starts)), clock.now() + FIRST_S, 0)
    return Island(best, (found,))


def improve(placer: Placer, island: Island, seconds: float, seed: int, target: int) -> Island:
    """Return what becomes of an island after so many seconds; runs in any process."""
    deadline = clock.now() + seconds
    view = prepared_of(placer, island.best).view
    if view is None:
        return island
    search = TabuSearch(view)
    population = island.population or (search.timed(view.order(island.best.starts)),)
    found = relinked(search, population, deadline, seed, target)
    best = island.best
    if found[0].makespan < best.figure:
        starts = view.starts(found[0].starts)
        best = attrs.evolve(best, starts=starts, figure=found[0].makespan)
    return Island(best, tuple(found))
