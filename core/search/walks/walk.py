"""A walk, and the schedule that it stands for."""

from __future__ import annotations

import contextlib

import numpy as np
from attrs import frozen

from parplan.errors import InfeasibleError
from parplan.pipelines.pipeline import Pass, PassKind
from parplan.search.placing.evaluation import Candidate, prepare, schedule_by_orders
from parplan.search.placing.placement import Placer
from parplan.search.walks.course import Course
from parplan.search.walks.kernel import timed

KINDS = tuple(PassKind)

LESS = (1.0, 0.97, 0.94, 0.9, 0.8)
"""Parts of the memory that a walk is scheduled with, one after the other until its order fits: what
its timing leaves out are receivers' buffers and tensors inside a pass."""


@frozen
class Walk:
    """A device for each block of a chain, and how devices choose among passes.

    Attributes
    ----------
    policy
        A choice for each of ``kernel.POLICIES``.
    figure
        Its makespan in ticks.
    """

    devices: tuple[int, ...]
    policy: tuple[int, ...]
    figure: float

    @property
    def stages(self) -> int:
        """Number of stretches of blocks on one device."""
        return 1 + sum(a != b for a, b in zip(self.devices, self.devices[1:], strict=False))


def passes_of_walk(course: Course, walk: Walk, share: float = 1.0) -> list[tuple[int, Pass]]:
    """Return (device, pass) of every pass in the order of starts; empty where a walk does not fit.

    Parameters
    ----------
    share
        Part of the memory that may be used.
    """
    rows = np.empty((3 * walk.stages * len(course.releases), 3), dtype=np.int64)
    devices = np.array(walk.devices, dtype=np.int64)
    policy = np.array(walk.policy, dtype=np.int64)
    if timed(*course, share, devices, policy, rows) == np.inf:
        return []
    hosts = [d for b, d in enumerate(walk.devices) if b == 0 or d != walk.devices[b - 1]]
    return [(hosts[s], Pass(KINDS[kind], s, k)) for kind, s, k in rows.tolist()]


def realised(placer: Placer, course: Course, walk: Walk) -> Candidate | None:
    """Return the exact schedule with a walk's devices and orders; None if memory allows none."""
    with contextlib.suppress(InfeasibleError):
        prepared = prepare(placer, (walk.devices,))
        for share in LESS:
            orders: dict[int, list[Pass]] = {}
            for device, one in passes_of_walk(course, walk, share):
                orders.setdefault(device, []).append(one)
            found = schedule_by_orders(prepared, [*orders.values()], fused=False)
            if orders and found is not None:
                return found
    return None
