"""Parts: what runs in one go under a placement."""

from __future__ import annotations

from benchmarks.jobshop import Jobs, job_shop
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.placement import Placer


def _parts(jobs: Jobs, row: tuple[int, ...], registry: Registry) -> list[list[int]]:
    problem = job_shop("shop", jobs)
    rules = make_rules(problem, registry)
    return Placer(problem, rules, find_blocks(problem, rules)).parts((row,))


def test_what_nothing_connects_is_not_merged(registry: Registry) -> None:
    # The last operation of the first job and the first of the second follow in number, on machine
    # 1: one need not wait for the other. Two operations of one job there do.
    apart = [[(0, 3), (1, 2)], [(1, 2), (0, 4)]]
    assert sorted(_parts(apart, (0, 1, 1, 0), registry)) == [[0], [1], [2], [3]]
    together = [[(0, 3), (1, 2), (1, 2)], [(0, 4)]]
    assert sorted(_parts(together, (0, 1, 1, 0), registry)) == [[0], [1, 2], [3]]
