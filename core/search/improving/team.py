"""Local search by several workers: rounds of independent runs, the best of each go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor

from parplan import clock
from parplan.search.improving.improvement import candidate_of, improve, state_of
from parplan.search.improving.rounds import improved
from parplan.search.placing.evaluation import Candidate
from parplan.search.placing.placement import Placer

ROUND_S = 6.0
"""Seconds of a round: long enough to cool down, short enough to share what was found."""

CREW = 3
"""States that are kept from round to round."""

APPLICANTS = 12
TRIAL_S = 2.5
"""How many starts get a short run first, since what a list schedule promises is rough, and how
long that is."""


def improved_by_team(
    placer: Placer,
    starts: Sequence[Candidate],
    executor: Executor | None,
    workers: int,
    deadline: float,
    seed: int,
    target: int,
) -> Iterator[Candidate]:
    """Yield better and better candidates until the deadline, or until one meets ``target``.

    Parameters
    ----------
    starts
        Candidates to start from; the best few are used, in turn.
    executor
        Where the runs go; None runs them here, one after the other.
    workers
        Runs at the same time.
    """
    crew = _distinct(starts)[:APPLICANTS]
    best, turn = crew[0].figure, 0
    while crew[0].figure > target and (left := deadline - clock.now()) > 0.05:
        if turn == 0 and len(crew) > workers:
            chosen, seconds = crew, min(TRIAL_S, 0.3 * left * workers / len(crew))
        else:
            # Every other run goes on from the best; the rest of the crew share the others.
            chosen = [crew[0 if t % 2 == 0 else t % len(crew)] for t in range(turn, turn + workers)]
            share = left if executor is not None else left / workers
            seconds = min(ROUND_S, share) if share < 1.5 * ROUND_S else ROUND_S
        states = [state_of(candidate) for candidate in chosen]
        better = improved(improve, placer, states, executor, seconds, seed + turn, target)
        turn += len(chosen)
        found = [candidate_of(placer, state) for state in better]
        crew = _distinct([*crew, *(c for c in found if c is not None)])[:CREW]
        if crew[0].figure < best:
            best = crew[0].figure
            yield crew[0]


def _distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates by their figures, one for each placement and ways."""
    found: dict[object, Candidate] = {}
    for candidate in sorted(candidates, key=lambda c: c.figure):
        choice = (candidate.prepared.placement, candidate.prepared.ways)
        found.setdefault(choice, candidate)
    return list(found.values())
