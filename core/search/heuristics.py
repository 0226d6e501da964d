"""Good schedules for any size: splits and placements, rules, local search."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise

from parplan.search.balance import balance, make_estimator
from parplan.search.earliest_finish import earliest_finish
from parplan.search.evaluation import Candidate
from parplan.search.improvement import evaluate, improve, rule_portfolio, tune
from parplan.search.placement import Placement, Placer
from parplan.search.priorities import PriorityRule
from parplan.search.splits import device_orders, split, stage_patterns

MOST_CHUNKS = 8
"""Most stages per device that splits are tried with."""

BALANCE_STEPS = 4000
"""Steps of balancing a split: a tenth of a second."""

FINALISTS = 3
"""How many placements the local search starts from."""


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


def improved_candidates(
    placer: Placer, starts: Sequence[Candidate], deadline: float, seed: int, target: int
) -> Iterator[Candidate]:
    """Yield better and better candidates by local search from the best starts.

    Each start gets a third of the time that is left; the last part goes to tuning the rules.
    """
    best = min(starts, key=lambda c: c.makespan)
    chosen = _different(sorted(starts, key=lambda c: c.makespan))
    for number, start in enumerate(chosen):
        left = deadline - time.monotonic()
        until = time.monotonic() + 0.85 * left / (len(chosen) - number)
        rules = _rules_near(start)
        found = improve(
            placer, start, partial(_evaluate, placer, rules), until, seed + number, target
        )
        if found.best.makespan < best.makespan:
            best = found.best
            yield best
        if best.makespan <= target:
            return
    tuned = tune(best, deadline, seed, target)
    if tuned.makespan < best.makespan:
        yield tuned


def _different(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the best few, one per number of chunks and first device."""
    found: dict[tuple[object, ...], Candidate] = {}
    for candidate in candidates:
        row = candidate.prepared.placement[0]
        changes = sum(a != b for a, b in pairwise(row))
        found.setdefault((changes, row[0]), candidate)
    return list(found.values())[:FINALISTS]


def _rules_near(candidate: Candidate) -> list[PriorityRule]:
    if candidate.rule is None:
        return rule_portfolio()
    others = [r for r in rule_portfolio() if r.ahead == candidate.rule.ahead]
    return [candidate.rule, *[r for r in others if r != candidate.rule][:2]]


def _evaluate(
    placer: Placer, rules: Sequence[PriorityRule], placement: Placement
) -> Candidate | None:
    return evaluate(placer, placement, rules)
