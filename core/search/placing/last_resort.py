"""The last resort: placements and ways at random or one by one, until some order fits."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Iterator
from itertools import chain, product

from parplan import clock
from parplan.errors import InfeasibleError
from parplan.search.placing.economy import economies
from parplan.search.placing.evaluation import Candidate, prepare
from parplan.search.placing.one_by_one import schedule_one_by_one
from parplan.search.placing.placement import Placement, Placer
from parplan.search.placing.ways import Ways

MOST_CHOICES = 20_000
"""Up to this many placements and ways all of them are tried; of more, a random sample."""


def fitting_in_some_way(placer: Placer, placement: Placement) -> Candidate | None:
    """Return a schedule of one thing after another, in the first estimated ways that fit."""
    for ways in economies(placer, placement):
        found = _one_by_one(placer, placement, ways)
        if found is not None:
            return found
    return None


def fitting_anywhere(placer: Placer, deadline: float, seed: int = 0) -> Candidate | None:
    """Return a schedule of one thing after another, of any placement in any ways.

    None if there is none, as far as was tried by ``deadline`` (on ``parplan.clock``).
    """
    for placement, ways in _choices(placer, seed):
        found = _one_by_one(placer, placement, ways)
        if found is not None:
            return found
        if clock.now() > deadline:
            break
    return None


def _one_by_one(placer: Placer, placement: Placement, ways: Ways) -> Candidate | None:
    """Return a schedule in which only operators of one block are merged."""
    blocks = range(len(placer.blocks))
    with contextlib.suppress(InfeasibleError):
        prepared = prepare(placer, placement, ways, split_weights=True, stage_of_block=blocks)
        return schedule_one_by_one(prepared)
    return None


def _choices(placer: Placer, seed: int) -> Iterator[tuple[Placement, Ways]]:
    """Yield placements and ways: all of them where they are few, else without end."""
    rows = [[sorted(devices) for devices in row] for row in placer.devices_of]
    ways = [range(len(coupled.ways)) for coupled in placer.coupled]
    blocks = len(placer.blocks)
    if not all(chain.from_iterable(rows)):
        return
    if math.prod(map(len, chain(*rows, ways))) <= MOST_CHOICES:
        for flat in product(*chain.from_iterable(rows)):
            placement = tuple(flat[g * blocks : (g + 1) * blocks] for g in placer.groups)
            for chosen in product(*ways):
                yield placement, chosen
        return
    random_ = random.Random(seed)
    while True:
        placement = tuple(tuple(random_.choice(own) for own in row) for row in rows)
        yield placement, tuple(random_.choice(own) for own in ways)
