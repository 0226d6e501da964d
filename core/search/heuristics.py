"""Good schedules for any size: splits and placements, rules, local search."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from functools import partial

from parplan.errors import InfeasibleError
from parplan.search.economy import economies, least_savings
from parplan.search.evaluation import Candidate, prepare, schedule_serially
from parplan.search.improvement import evaluate, rule_portfolio
from parplan.search.placement import Placement, Placer
from parplan.search.priorities import PriorityRule
from parplan.search.starts import starting_placements

FULL_PORTFOLIOS = 8
"""Placements that are tried with every rule, before the rules that never win are left out."""

FEW_RULES = 6


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
