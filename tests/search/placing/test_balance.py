"""Balanced splits: in a short chain no way to put the cuts is better."""

from __future__ import annotations

from itertools import combinations
from random import Random

import numpy as np
import pytest

from parplan.search.placing.balance import Estimator, balanced


def _drawn(random: Random, blocks: int, devices: int) -> Estimator:
    def column(shape: tuple[int, ...]) -> np.ndarray:
        return np.array([random.randint(1, 9) for _ in range(int(np.prod(shape)))], float).reshape(
            shape
        )

    forwards = column((blocks, devices))
    return Estimator(
        4 * forwards,
        forwards,
        2 * forwards,
        column((blocks,)),
        column((blocks,)),
        np.array([40.0] * devices),
    )


@pytest.mark.parametrize(("blocks", "devices"), [(3, 3), (5, 2), (6, 3), (8, 4)])
def test_a_short_chain_gets_the_best_cuts_of_all(blocks: int, devices: int) -> None:
    for seed in range(5):
        estimator = _drawn(Random(f"{seed}/{blocks}"), blocks, devices)
        rows = [
            tuple(int(np.searchsorted(cuts, block, side="right")) for block in range(blocks))
            for cuts in combinations(range(1, blocks), devices - 1)
        ]
        figure = {row: estimator.estimate(np.array(row)) for row in rows}
        (found,) = balanced(estimator, (rows[0],), 4000, seed)
        assert figure[found] == min(figure.values())
