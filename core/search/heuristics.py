"""Good schedules for any size: splits and placements, rules, local search."""

from __future__ import annotations

import time
from collections.abc import Iterator

from parplan.search.balance import balance, make_estimator
from parplan.search.earliest_finish import earliest_finish
from parplan.search.evaluation import Candidate
from parplan.search.improvement import evaluate, rule_portfolio
from parplan.search.placement import Placement, Placer
from parplan.search.splits import device_orders, split, stage_patterns

MOST_CHUNKS = 8
"""Most stages per device that splits are tried with."""

BALANCE_STEPS = 4000
"""Steps of balancing a split: a tenth of a second."""


def starting_placements(placer: Placer, seed: int = 0) -> Iterator[tuple[str, Placement]]:
    """Yield (name, placement): one per device alone, contiguous splits, earliest finish."""
    found = earliest_finish(placer)
    if found is not None:
        yield "earliest finish", found
    groups = placer.problem.workload.group_count
    everywhere = frozenset.intersection(*placer.devices_of)
    for kind_device in _one_per_kind(placer, everywhere):
        yield "one device", ((kind_device,) * len(placer.blocks),) * groups
    estimator = make_estimator(placer)
    for order in device_orders(placer):
        for name, stages in stage_patterns(placer, order, MOST_CHUNKS):
            placement = split(placer, stages)
            if placement is not None:
                yield name, placement
                yield f"{name}, balanced", balance(estimator, placement, BALANCE_STEPS, seed)


def _one_per_kind(placer: Placer, devices: frozenset[int]) -> list[int]:
    first: dict[tuple[str, int | None], int] = {}
    for d in sorted(devices):
        spec = placer.problem.cluster.devices[d]
        first.setdefault((spec.kind, spec.usable_bytes), d)
    return list(first.values())


def first_candidates(placer: Placer, deadline: float) -> Iterator[tuple[str, Candidate]]:
    """Yield the best schedule of each starting placement, until the deadline."""
    rules = rule_portfolio()
    nothing_yet = True
    for name, placement in starting_placements(placer):
        found = evaluate(placer, placement, rules, serial=nothing_yet)
        if found is not None:
            nothing_yet = False
            yield name, found
        if time.monotonic() > deadline and not nothing_yet:
            return
