"""Good schedules for any size: splits and placements, rules, local search."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from functools import partial

from parplan import clock
from parplan.errors import InfeasibleError
from parplan.scheduling.priorities import PriorityRule
from parplan.search.improving.improvement import (
    NEVER,
    Enough,
    best_candidate,
    evaluate,
    rule_portfolio,
)
from parplan.search.placing.economy import economies, least_savings
from parplan.search.placing.evaluation import (
    Candidate,
    prepare,
    prepare_assignment,
    schedule_serially,
)
from parplan.search.placing.gangs import gang_assignments
from parplan.search.placing.last_resort import fitting_anywhere, fitting_in_some_way
from parplan.search.placing.placement import Placement, Placer
from parplan.search.placing.starts import starting_placements

FULL_PORTFOLIOS = 8
"""Placements that are tried with every rule, before the rules that never win are left out."""

FEW_RULES = 6

FEW_GANGS = 5
"""Cuts into stages on groups of devices that are tried at least: finding them takes longer."""

LAST_RESORT_S = 5.0
"""Seconds that the search for anything that fits has at least, once all else has failed."""


def best_in_any_way(
    placer: Placer,
    placement: Placement,
    rules: Sequence[PriorityRule],
    enough: Enough = NEVER,
) -> Candidate | None:
    """Return the best candidate of a placement under several ways; None if none of them fits.

    Where no economy that is estimated fits, the least savings that do are searched.
    """
    best: Candidate | None = None
    for ways in economies(placer, placement):
        found = evaluate(placer, placement, rules, ways, enough)
        if found is not None and (best is None or found.figure < best.figure):
            best = found
        if enough.is_met(best):
            break
    if best is not None:
        return best
    return least_savings(placer, placement, partial(evaluate, placer, placement, rules))


def scheduled_somehow(placer: Placer, placement: Placement) -> Candidate | None:
    """Return a short schedule of a placement by the first rules that fit, else one after another.

    None if nothing fits.
    """
    found = best_in_any_way(placer, placement, rule_portfolio()[:FEW_RULES], Enough(deadline=0.0))
    return _serial(placer, placement) if found is None else found


def gang_candidates(placer: Placer, until: float) -> Iterator[tuple[str, Candidate]]:
    """Yield the schedule of each cut into stages on groups of devices, until an instant.

    A few are tried in any case. Their operators may be in any mode, so a search on placements
    cannot go on from them.
    """
    rules = rule_portfolio()[:FEW_RULES]
    for number, (name, assignment) in enumerate(gang_assignments(placer)):
        with contextlib.suppress(InfeasibleError):
            prepared = prepare_assignment(placer, assignment)
            candidate = best_candidate(prepared, rules, Enough(deadline=until))
            if candidate is not None:
                yield name, candidate
        if number >= FEW_GANGS and clock.now() > until:
            return


def first_candidates(
    placer: Placer, deadline: float, target: int = 0, last: float = math.inf
) -> Iterator[tuple[str, Candidate]]:
    """Yield the best schedule of each starting placement, until the deadline or the target.

    Rules come in the order in which they did well so far; placements after the first few are tried
    with the best rules alone.

    Parameters
    ----------
    deadline
        On ``parplan.clock``; one placement at least is tried, with one rule at least.
    target
        A figure that ends the search, in ticks.
    last
        After this instant no placement is begun, even if none has led to a schedule.
    """
    enough = Enough(target, deadline)
    rules = rule_portfolio()
    wins = dict.fromkeys(range(len(rules)), 0)
    found: Candidate | None = None
    for number, (name, placement) in enumerate(starting_placements(placer)):
        order = sorted(wins, key=lambda i: -wins[i])
        tried = order if number < FULL_PORTFOLIOS else order[:FEW_RULES]
        candidate = best_in_any_way(placer, placement, [rules[i] for i in tried], enough)
        if candidate is None and found is None:
            candidate = _serial(placer, placement)
        if candidate is not None:
            found = candidate
            if candidate.rule in rules:
                wins[rules.index(candidate.rule)] += 1
            yield name, candidate
        if enough.is_met(found) or clock.now() > last:
            return
    if found is None:
        until = min(last, max(deadline, clock.now() + LAST_RESORT_S))
        candidate = fitting_anywhere(placer, until)
        if candidate is not None:
            yield "one by one", candidate


def _serial(placer: Placer, placement: Placement) -> Candidate | None:
    """Return one microbatch, or if need be one activity, after another."""
    for ways in economies(placer, placement):
        with contextlib.suppress(InfeasibleError):
            found = schedule_serially(prepare(placer, placement, ways))
            if found is not None:
                return found
    return fitting_in_some_way(placer, placement)
