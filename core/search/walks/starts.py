"""Walks to start from: loops over the devices of some kinds, and placements that are there."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from parplan.search.placing.placement import Placer
from parplan.search.placing.splits import device_orders, split_row
from parplan.search.walks.course import Course
from parplan.search.walks.kernel import POLICIES, timed
from parplan.search.walks.walk import Walk

MOST_LOOPS = 4
"""How often a walk passes all devices of a kind, at most."""


def starting_walks(
    placer: Placer, course: Course, placements: Iterable[Sequence[int]]
) -> list[Walk]:
    """Return walks under their best policies, the shortest first; such as do not fit are left out.

    Parameters
    ----------
    placements
        The device of each block of placements that are there already.
    """
    walks = dict.fromkeys((*map(tuple, placements), *_loops(placer)))
    found = (_best(course, row) for row in walks)
    return sorted((w for w in found if w.figure < np.inf), key=lambda w: w.figure)


def _loops(placer: Placer) -> Iterator[tuple[int, ...]]:
    """Yield splits over loops: all devices several times, or the last kind alone several times.

    Kinds come in any order, and some are left out.
    """
    devices = placer.problem.cluster.devices
    seen = set()
    for order in device_orders(placer):
        kinds = [tuple(run) for _, run in itertools.groupby(order, key=lambda d: devices[d].kind)]
        for first in range(len(kinds)):
            once = [d for kind in kinds[first:] for d in kind]
            for loops in range(1, MOST_LOOPS + 1):
                for stages in (once * loops, once + [*kinds[-1]] * (loops - 1)):
                    key = tuple(stages)
                    if key in seen or len(key) > len(placer.blocks):
                        continue
                    seen.add(key)
                    row = split_row(placer, stages)
                    if row is not None:
                        yield row


def _best(course: Course, devices: tuple[int, ...]) -> Walk:
    """Return a walk under the policy by which it is shortest."""
    row, none = np.array(devices, dtype=np.int64), np.empty((0, 3), dtype=np.int64)
    found = [
        Walk(devices, policy, float(timed(*course, 1.0, row, np.array(policy), none)))
        for policy in itertools.product(*map(range, POLICIES))
    ]
    return min(found, key=lambda walk: walk.figure)
