"""Local search by several workers: rounds of independent runs, the best of each go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future

from parplan.search.evaluation import Candidate
from parplan.search.improvement import State, candidate_of, improve, state_of
from parplan.search.placement import Placer

ROUND_S = 6.0
"""Seconds of a round: long enough to cool down, short enough to share what was found."""

CREW = 4
"""States that are kept from round to round."""


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
    crew = sorted(starts, key=lambda c: c.makespan)[:CREW]
    best, turn = crew[0].makespan, 0
    while crew[0].makespan > target and (left := deadline - time.monotonic()) > 0.05:
        share = left if executor is not None else left / workers
        seconds = min(ROUND_S, share) if share < 1.5 * ROUND_S else ROUND_S
        # Every other run goes on from the best; the others give the rest of the crew a chance.
        chosen = [
            crew[0 if (turn + i) % 2 == 0 else (turn + i) % len(crew)] for i in range(workers)
        ]
        runs: list[Callable[[], State]] = []
        for i, candidate in enumerate(chosen):
            arguments = (placer, state_of(candidate), seconds, seed + turn + i, target)
            if executor is None:
                runs.append(lambda a=arguments: improve(*a))  # type: ignore[misc]  # binds now
            else:
                future: Future[State] = executor.submit(improve, *arguments)
                runs.append(future.result)
        found = [candidate_of(placer, run()) for run in runs]
        turn += workers
        crew = _distinct([*crew, *(c for c in found if c is not None)])[:CREW]
        if crew[0].makespan < best:
            best = crew[0].makespan
            yield crew[0]


def _distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates by makespan, one for each placement."""
    found: dict[object, Candidate] = {}
    for candidate in sorted(candidates, key=lambda c: c.makespan):
        found.setdefault(candidate.prepared.placement, candidate)
    return list(found.values())
