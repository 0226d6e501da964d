"""Partitions to start from: an order of the items, cut into runs."""

from __future__ import annotations

import numpy as np

from parplan.search.partitioning.instance import Instance
from parplan.search.scheduling.tables import Whole

SLOW = 2.0
"""How many times the fastest device one may take for all items, and still have a run of them."""


def even_split(instance: Instance, order: Whole) -> Whole:
    """Return items in an order, cut so that all fast devices have equal loads; slow ones have none.

    What may not run on the device of its run goes where it takes least.
    """
    ticks = np.where(instance.allowed, instance.work.max(axis=2), np.inf)
    typical = np.where(np.isfinite(ticks), ticks, ticks.min(axis=1, keepdims=True)).sum(axis=0)
    fast = np.flatnonzero(typical <= SLOW * typical.min())
    ends = np.cumsum(ticks.min(axis=1)[order])
    part = ends / ends[-1] if ends[-1] > 0 else np.linspace(0.0, 1.0, len(order))
    found = np.zeros(len(order), dtype=np.int64)
    found[order] = fast[np.minimum((part * len(fast)).astype(np.int64), len(fast) - 1)]
    barred = ~instance.allowed[np.arange(len(order)), found]
    return np.where(barred, ticks.argmin(axis=1), found)
