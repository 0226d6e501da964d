"""Local search on placements: shift cuts between neighbours, move blocks, keep what helps."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence

import numpy as np
from attrs import frozen

from parplan.errors import InfeasibleError
from parplan.search.evaluation import (
    Candidate,
    Prepared,
    prepare,
    schedule_by_rule,
    schedule_serially,
)
from parplan.search.placement import Placement, Placer
from parplan.search.priorities import PriorityRule
from parplan.search.splits import shifted_cuts

EAGER = 100.0
"""An offset of this many periods makes a kind always first (minus) or always last (plus)."""


def rule_portfolio() -> list[PriorityRule]:
    """Return rules from running far ahead (fast, much memory) to hardly at all (little memory)."""
    rules = []
    for ahead, extra in (
        (math.inf, 0),
        (2.0, 1),
        (1.5, 1),
        (1.25, 1),
        (1.0, 1),
        (1.0, 0),
        (0.5, 1),
    ):
        for slope, backward, weight in (
            (0.0, -EAGER, EAGER),
            (0.25, 1.0, EAGER),
            (0.5, -1.0, 4.0),
            (1.0, -1.0, 2.0),
        ):
            offsets = {"backward": backward, "weight": weight}
            rules.append(PriorityRule(slope, offsets, ahead, extra))
    rules.append(PriorityRule(0.0, {"backward": -EAGER, "weight": -EAGER}, 0.0, 1))
    return rules


def best_candidate(prepared: Prepared, rules: Sequence[PriorityRule]) -> Candidate | None:
    """Return the shortest schedule that any of the rules gives; None if all run into deadlocks."""
    found = [c for rule in rules if (c := schedule_by_rule(prepared, rule)) is not None]
    return min(found, key=lambda c: c.makespan, default=None)


def evaluate(
    placer: Placer,
    placement: Placement,
    rules: Sequence[PriorityRule],
    *,
    serial: bool = False,
    split_weights: bool = False,
) -> Candidate | None:
    """Return the best candidate of a placement; None if it cannot hold the model.

    ``serial`` falls back to one microbatch after another where every rule deadlocks.
    """
    try:
        prepared = prepare(placer, placement, split_weights=split_weights)
    except InfeasibleError:
        return None
    found = best_candidate(prepared, rules)
    if found is None and serial:
        found = schedule_serially(prepared)
    return found


def neighbour(placer: Placer, placement: Placement, random_: random.Random) -> Placement | None:
    """Return a placement near by: some cuts shifted by one block, or one block moved."""
    group = random_.randrange(len(placement))
    row = placement[group]
    shifted = None
    if random_.random() < 0.9:
        shifted = shifted_cuts(np.array(row, dtype=np.int64), random_)
    if shifted is not None:
        new = [int(d) for d in shifted]
    else:
        new = list(row)
        block = random_.randrange(len(row))
        new[block] = random_.choice(sorted(placer.devices_of[block]))
    changed = [b for b in range(len(row)) if new[b] != row[b]]
    if not changed or any(new[b] not in placer.devices_of[b] for b in changed):
        return None
    if all(other == placement[0] for other in placement):
        return (tuple(new),) * len(placement)
    return (*placement[:group], tuple(new), *placement[group + 1 :])


@frozen(eq=False)
class Improved:
    """The best candidate found and how many placements were looked at."""

    best: Candidate
    evaluations: int


def improve(
    placer: Placer,
    start: Candidate,
    evaluate_placement: Callable[[Placement], Candidate | None],
    deadline: float,
    seed: int,
    target: int = 0,
    report: Callable[[Candidate], None] | None = None,
) -> Improved:
    """Return the best candidate reached by simulated annealing from ``start``.

    Parameters
    ----------
    deadline
        On ``time.monotonic``'s clock.
    target
        Stop at a makespan this small (a proven bound, in ticks).
    """
    random_ = random.Random(seed)
    current = best = start
    seen = {start.prepared.placement: start.makespan}
    evaluations, begin = 0, time.monotonic()
    while best.makespan > target and (now := time.monotonic()) < deadline:
        placement = neighbour(placer, current.prepared.placement, random_)
        if placement is None:
            continue
        evaluations += 1
        if placement in seen:
            if evaluations > 50 * len(seen) + 1000:
                break
            continue
        found = evaluate_placement(placement)
        seen[placement] = -1 if found is None else found.makespan
        if found is None:
            continue
        left = max(0.0, (deadline - now) / max(deadline - begin, 1e-9))
        temperature = 0.004 * left * best.makespan
        worse = found.makespan - current.makespan
        if worse <= 0 or random_.random() < math.exp(-worse / max(temperature, 1e-9)):
            current = found
        if found.makespan < best.makespan:
            best = found
            if report is not None:
                report(best)
    return Improved(best, evaluations)


def tune(start: Candidate, deadline: float, seed: int, target: int = 0) -> Candidate:
    """Return the best schedule of the same placement under randomly changed rules."""
    random_ = random.Random(seed)
    best = start
    rule = start.rule or PriorityRule()
    while best.makespan > target and time.monotonic() < deadline:
        offsets = {
            "backward": rule.offsets.get("backward", 0.0) + random_.gauss(0, 1),
            "weight": rule.offsets.get("weight", 0.0) + random_.gauss(0, 2),
            "forward": rule.offsets.get("forward", 0.0) + random_.gauss(0, 1),
        }
        ahead = (
            rule.ahead if math.isinf(rule.ahead) else max(0.0, rule.ahead + random_.gauss(0, 0.2))
        )
        new = PriorityRule(
            max(0.0, rule.slope + random_.gauss(0, 0.2)),
            offsets,
            ahead if random_.random() < 0.8 else random_.choice((1.0, 1.5, 2.0, math.inf)),
            random_.choice((0, 1, 1, 2, 3)),
        )
        found = schedule_by_rule(start.prepared, new)
        if found is not None and found.makespan <= best.makespan:
            rule = new
            if found.makespan < best.makespan:
                best = found
    return best
