"""From partitions to schedules."""

from __future__ import annotations

from collections.abc import Iterator

from parplan.scheduling.tables import Whole
from parplan.search.improving.heuristics import scheduled_somehow
from parplan.search.partitioning.instance import make_instance
from parplan.search.partitioning.starts import stretches
from parplan.search.placing.evaluation import Candidate
from parplan.search.placing.placement import Placer
from parplan.steady_state import Loading

ROOMS = (1.0, 0.9, 0.75)
"""Parts of the memory that parameters may fill, in turn until the rest suffices for tensors."""


def candidate_of(placer: Placer, device_of: Whole) -> Candidate | None:
    """Return a schedule of a partition, alike for all placement groups; None if none fits."""
    return scheduled_somehow(placer, (tuple(device_of.tolist()),) * len(placer.groups))


def candidates_of_lines(placer: Placer, until: float, seed: int) -> Iterator[Candidate]:
    """Yield schedules in which each device runs one stretch of a line of blocks, in turn."""
    instance = make_instance(placer, Loading())
    if instance is None:
        return
    for part in ROOMS:
        fits = False
        for device_of in stretches(instance._replace(room=part * instance.room), until, seed):
            candidate = candidate_of(placer, device_of)
            if candidate is not None:
                fits = True
                yield candidate
        if fits:
            return
