"""The search on walks: rounds of annealing by several workers, from the best walks so far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor

import numpy as np

from parplan import clock
from parplan.search.improving.rounds import improved
from parplan.search.placing.evaluation import Candidate
from parplan.search.placing.placement import Placer
from parplan.search.walks.course import Course, make_course
from parplan.search.walks.kernel import NUMBERS, annealed
from parplan.search.walks.starts import starting_walks
from parplan.search.walks.walk import Walk, realised

APPLICANTS = 8
"""Starts that are annealed in a first, short round."""

CREW = 4
"""Walks that are kept from round to round."""

FIRST_SHARE = 0.25
"""Part of the time for the first round."""

ROUNDS = 4
"""Rounds after it."""

HEATS = ((0.003, 0.0002), (0.001, 0.0001), (0.01, 0.0005))
"""Temperatures at the beginning and the end of a run, as parts of the makespan."""

FIRST_STEPS, MOST_STEPS = 200, 20_000
"""Steps of the first slice of a run, and of any, at most."""

SLICE = 0.05
"""Part of a run that a slice takes, about."""


def searched_by_walks(
    placer: Placer,
    placements: Iterable[Sequence[int]],
    executor: Executor | None,
    workers: int,
    until: float,
    seed: int,
    target: int,
) -> Iterator[Candidate]:
    """Yield better and better schedules of walks.

    Parameters
    ----------
    placements
        Devices of the blocks, to start from beside loops.
    executor
        Where the runs go; None runs them here, one after the other.
    until
        On ``parplan.clock``.
    target
        A makespan this short ends the search (a proven bound, in ticks).
    """
    course = make_course(placer)
    crew = starting_walks(placer, course, placements)[:APPLICANTS]
    best = np.inf
    for turn in range(ROUNDS + 1):
        for walk in crew:
            if walk.figure >= best:
                break
            candidate = realised(placer, course, walk)
            if candidate is not None:
                best = min(best, candidate.figure)
                yield candidate
                break
        left = until - clock.now()
        if not crew or best <= target or left <= 0:
            return
        share = FIRST_SHARE if turn == 0 else 1 / (ROUNDS + 1 - turn)
        chosen = crew if turn == 0 else [crew[t % len(crew)] for t in range(max(workers, 1))]
        runs = -(-len(chosen) // (workers if executor is not None else 1))
        found = improved(
            improve, course, chosen, executor, share * left / runs, seed + turn, target
        )
        kept = {walk.devices: walk for walk in sorted([*found, *crew], key=_figure, reverse=True)}
        crew = sorted(kept.values(), key=_figure)[:CREW]


def improve(course: Course, walk: Walk, seconds: float, seed: int, target: int) -> Walk:
    """Return a walk at least as good, after so many seconds; runs in any process."""
    begun, chance = clock.now(), np.random.default_rng(seed)
    hot, cold = HEATS[seed % len(HEATS)]
    devices, policy = np.array(walk.devices, dtype=np.int64), np.array(walk.policy, dtype=np.int64)
    figure, steps = walk.figure, FIRST_STEPS
    while figure > target and (done := (clock.now() - begun) / seconds) < 1:
        # Slices are as long as the last one says: how fast steps are may change at any time.
        heat = tuple(hot * (cold / hot) ** part for part in (done, min(done + SLICE, 1.0)))
        numbers = chance.random((steps, NUMBERS + 1))
        devices, policy, figure = annealed(*course, 1.0, devices, policy, numbers, heat)
        took = (clock.now() - begun) / seconds - done
        steps = max(1, min(int(steps * SLICE / max(took, 1e-9)), 2 * steps, MOST_STEPS))
    return Walk(tuple(devices.tolist()), tuple(policy.tolist()), float(figure))


def _figure(walk: Walk) -> float:
    return walk.figure
