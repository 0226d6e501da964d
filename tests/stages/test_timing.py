"""Times of works in fixed orders: links queue, blocking transfers hold engines, circles end."""

from __future__ import annotations

import attrs

from parplan.problem import Problem
from parplan.stages.timing import Handover, Work, timed
from tests.examples import chain

SIX = Handover(0, 2, 6), Handover(1, 3, 6)
"""Two works on g0 hand six bytes each to works on g1; links carry a byte per tick."""
WORKS = [Work((0,), 1), Work((0,), 1), Work((1,), 1), Work((1,), 1)]


def linked(**changes: object) -> Problem:
    problem = chain(2, devices=2)
    links = tuple(attrs.evolve(link, **changes) for link in problem.cluster.links)
    return attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, links=links))


def test_transfers_of_one_link_queue() -> None:
    queued = timed(linked(), WORKS, [[0, 1], [2, 3]], SIX)
    assert queued.starts == {0: 0, 1: 1, 2: 7, 3: 13}
    assert queued.makespan == 14
    wide = timed(linked(capacity=2, latency_s=3.0), WORKS, [[0, 1], [2, 3]], SIX)
    assert wide.starts == {0: 0, 1: 1, 2: 10, 3: 11}


def test_blocking_transfers_hold_their_devices() -> None:
    problem = linked()
    cluster = attrs.evolve(problem.cluster, transfer_engines=("compute", "compute"))
    blocking = timed(attrs.evolve(problem, cluster=cluster), WORKS, [[0, 1], [2, 3]], SIX)
    # The first transfer comes before the second work of g0, the second before the first of g1.
    assert blocking.starts[1] == 7
    assert blocking.makespan >= 14


def test_works_wait_for_releases_and_circles_never_start() -> None:
    late = timed(linked(), [Work((0,), 2, release=5), Work((0,), 1)], [[0, 1]], [])
    assert late.starts == {0: 5, 1: 7}
    circle = timed(linked(), WORKS[:2], [[0, 1]], [Handover(1, 0, 0)])
    assert circle.starts == {}
