"""Placements that a search starts from: splits over patterns of stages, for one group or several.

Where all placement groups may use the same devices, each way to lead a pipeline over the devices
is tried with every group there, with the groups mirrored (every other one the other way round, as
in Chimera and DualPipe: no device is late at both ends), and with each further on in the circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from parplan.search.placing.balance import Estimator, balanced, make_estimator
from parplan.search.placing.earliest_finish import earliest_finish
from parplan.search.placing.placement import Placement, Placer, Row
from parplan.search.placing.splits import device_orders, split_row, stage_patterns
from parplan.search.placing.towers import tower_splits

MOST_SPLITS = 40
"""Splits of how many patterns are scheduled at most."""

BALANCE_STEPS = 4000
"""Steps of balancing a split: a tenth of a second."""

Named = tuple[str, Placement]
"""A placement and what it is called."""


def starting_placements(placer: Placer, seed: int = 0) -> Iterator[Named]:
    """Yield (name, placement): promising splits, towers, earliest finish, one device, other splits.

    Promising is what leaves no device late by its head and load; each split comes as balanced by
    dynamic programming, and as annealed from there. The best of each direction go first: two copies
    of the parameters leave less memory, so the most promising of all may not be the best. No
    placement comes twice.
    """
    seen: set[Placement] = set()
    for name, placement in _all_starts(placer, seed):
        if placement not in seen:
            seen.add(placement)
            yield name, placement


def _all_starts(placer: Placer, seed: int) -> Iterator[Named]:
    if not all(all(row) for row in placer.devices_of):
        return  # some block runs on no single device: on groups only, or nowhere as a whole
    if placer.is_fixed:
        yield "as pinned", placer.only_placement
        return
    if placer.alike:
        yield from _starts(placer, 0, seed, groups=len(placer.groups))
        return
    columns = [list(_starts(placer, group, seed, groups=1)) for group in placer.groups]
    for rank in range(max(map(len, columns)) if all(columns) else 0):
        # The groups' rows go together by their rank; the first ones are the most promising.
        chosen = [column[min(rank, len(column) - 1)] for column in columns]
        yield " / ".join(dict.fromkeys(n for n, _ in chosen)), tuple(row for _, (row,) in chosen)


def _starts(placer: Placer, group: int, seed: int, *, groups: int) -> Iterator[Named]:
    """Yield (name, placement) of so many groups that may all do what one group may."""
    estimator = make_estimator(placer, group)
    ranked = sorted(
        (_estimate(estimator, placement), rank, direction, (name, placement))
        for rank, (direction, name, placement) in enumerate(_splits(placer, group, groups))
    )
    leaders: dict[str, Named] = {}
    for _, _, direction, named in ranked:
        leaders.setdefault(direction, named)
    yield from leaders.values()
    yield from _balanced(estimator, leaders.values(), seed)
    for name, row in tower_splits(placer, group):
        yield name, (row,) * groups
    found = earliest_finish(placer, group)
    if found is not None:
        yield "earliest finish", (found,) * groups
    everywhere = frozenset.intersection(*placer.devices_of[group])
    for kind_device in _one_per_kind(placer, everywhere):
        yield "one device", ((kind_device,) * len(placer.blocks),) * groups
    for _, _, _, named in ranked[:MOST_SPLITS]:
        yield named
        yield from _balanced(estimator, [named], seed)


def _splits(placer: Placer, group: int, groups: int) -> Iterator[tuple[str, str, Placement]]:
    """Yield (direction, name, placement) of every pattern of stages in every direction."""
    for order in device_orders(placer, group):
        for name, stages in stage_patterns(placer, order):
            for direction, orders in directions(order, groups):
                rows: list[Row] = []
                for own in orders:
                    to = dict(zip(order, own, strict=True))
                    row = split_row(placer, [to[d] for d in stages], group=group)
                    rows += [] if row is None else [row]
                if len(rows) == groups:
                    yield direction, f"{name}{direction}", tuple(rows)


def directions(order: Sequence[int], groups: int) -> Iterator[tuple[str, Sequence[Sequence[int]]]]:
    """Yield (name, order of each group): all groups alike, mirrored, and rotated.

    >>> list(directions((0, 1, 2, 3), 2))[1]
    (', mirrored', [(0, 1, 2, 3), (3, 2, 1, 0)])
    """
    forward = tuple(order)
    yield "", [forward] * groups
    if groups > 1:
        yield ", mirrored", [forward[::-1] if g % 2 else forward for g in range(groups)]
        steps = [g * len(forward) // groups for g in range(groups)]
        yield ", rotated", [(*forward[step:], *forward[:step]) for step in steps]


def _balanced(estimator: Estimator, splits: Iterable[Named], seed: int) -> Iterator[Named]:
    for name, placement in splits:
        yield f"{name}, balanced", balanced(estimator, placement, BALANCE_STEPS, seed)


def _estimate(estimator: Estimator, placement: Placement) -> float:
    return estimator.estimate(*(np.array(row, dtype=np.int64) for row in placement))


def _one_per_kind(placer: Placer, devices: frozenset[int]) -> list[int]:
    first: dict[tuple[str, int | None], int] = {}
    for d in sorted(devices):
        spec = placer.problem.cluster.devices[d]
        first.setdefault((spec.kind, spec.usable_bytes), d)
    return list(first.values())
