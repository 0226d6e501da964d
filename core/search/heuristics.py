"""Good schedules for any size: splits and placements, rules, local search."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from parplan.errors import InfeasibleError
from parplan.search.balance import Estimator, balance, make_estimator
from parplan.search.earliest_finish import earliest_finish
from parplan.search.economy import economies, least_savings
from parplan.search.evaluation import Candidate, prepare, schedule_serially
from parplan.search.improvement import evaluate, rule_portfolio
from parplan.search.placement import Placement, Placer, Row
from parplan.search.priorities import PriorityRule
from parplan.search.splits import device_orders, split_row, stage_patterns

MOST_SPLITS = 40
"""Splits of how many patterns are scheduled at most."""

FULL_PORTFOLIOS = 8
"""Placements that are tried with every rule, before the rules that never win are left out."""

FEW_RULES = 6

BALANCE_STEPS = 4000
"""Steps of balancing a split: a tenth of a second."""


def starting_placements(placer: Placer, seed: int = 0) -> Iterator[tuple[str, Placement]]:
    """Yield (name, placement): the most promising split, earliest finish, one device, other splits.

    Promising is what leaves no device late by its head and load; each split comes as balanced by
    dynamic programming, and as annealed from there.
    """
    if not all(all(row) for row in placer.devices_of):
        return  # some block runs on no single device: on groups only, or nowhere as a whole
    if placer.alike:
        for name, row in _rows(placer, 0, seed):
            yield name, (row,) * len(placer.groups)
        return
    columns = [list(_rows(placer, group, seed)) for group in placer.groups]
    for rank in range(max(map(len, columns)) if all(columns) else 0):
        # The groups' rows go together by their rank; the first ones are the most promising.
        chosen = [column[min(rank, len(column) - 1)] for column in columns]
        yield " / ".join(dict.fromkeys(n for n, _ in chosen)), tuple(row for _, row in chosen)


def _rows(placer: Placer, group: int, seed: int) -> Iterator[tuple[str, Row]]:
    """Yield (name, row) for one placement group, different ones.

    The most promising split goes first: of a large pipeline, it may be all that there is time for.
    """
    estimator = make_estimator(placer, group)
    ranked: list[tuple[float, str, Row]] = []
    for order in device_orders(placer, group):
        for name, stages in stage_patterns(placer, order):
            row = split_row(placer, stages, group=group)
            if row is not None:
                ranked.append((_estimate(estimator, row), name, row))
    best = sorted(ranked)[:MOST_SPLITS]
    yield from _with_balanced(estimator, best[:1], seed)
    found = earliest_finish(placer, group)
    if found is not None:
        yield "earliest finish", found
    everywhere = frozenset.intersection(*placer.devices_of[group])
    for kind_device in _one_per_kind(placer, everywhere):
        yield "one device", (kind_device,) * len(placer.blocks)
    yield from _with_balanced(estimator, best[1:], seed)


def _with_balanced(
    estimator: Estimator, ranked: Iterable[tuple[float, str, Row]], seed: int
) -> Iterator[tuple[str, Row]]:
    for _, name, row in ranked:
        yield name, row
        yield f"{name}, balanced", balance(estimator, row, BALANCE_STEPS, seed)


def _estimate(estimator: Estimator, row: Row) -> float:
    return estimator.estimate(np.array(row, dtype=np.int64))


def _one_per_kind(placer: Placer, devices: frozenset[int]) -> list[int]:
    first: dict[tuple[str, int | None], int] = {}
    for d in sorted(devices):
        spec = placer.problem.cluster.devices[d]
        first.setdefault((spec.kind, spec.usable_bytes), d)
    return list(first.values())


def best_in_any_way(
    placer: Placer, placement: Placement, rules: Sequence[PriorityRule]
) -> Candidate | None:
    """Return the best candidate of a placement under several ways; None if none of them fits.

    Where no economy that is estimated fits, the least savings that do are searched.
    """
    found = [evaluate(placer, placement, rules, ways) for ways in economies(placer, placement)]
    best = min((c for c in found if c is not None), key=lambda c: c.figure, default=None)
    if best is not None:
        return best
    return least_savings(placer, placement, partial(evaluate, placer, placement, rules))


def serial_candidate(placer: Placer, placement: Placement) -> Candidate | None:
    """Return one microbatch after another in the first ways that fit; None if none does."""
    for ways in economies(placer, placement):
        with contextlib.suppress(InfeasibleError):
            found = schedule_serially(prepare(placer, placement, ways))
            if found is not None:
                return found
    return None


def first_candidates(placer: Placer, deadline: float) -> Iterator[tuple[str, Candidate]]:
    """Yield the best schedule of each starting placement, until the deadline.

    Rules come in the order in which they did well so far; placements after the first few are tried
    with the best rules alone.
    """
    rules = rule_portfolio()
    wins = dict.fromkeys(range(len(rules)), 0)
    found: Candidate | None = None
    for number, (name, placement) in enumerate(starting_placements(placer)):
        order = sorted(wins, key=lambda i: -wins[i])
        tried = order if number < FULL_PORTFOLIOS else order[:FEW_RULES]
        candidate = best_in_any_way(placer, placement, [rules[i] for i in tried])
        if candidate is None and found is None:
            candidate = serial_candidate(placer, placement)
        if candidate is not None:
            found = candidate
            if candidate.rule in rules:
                wins[rules.index(candidate.rule)] += 1
            yield name, candidate
        if time.monotonic() > deadline and found is not None:
            return
