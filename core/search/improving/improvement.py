"""Local search on placements and rules at once: simulated annealing over list schedules."""

from __future__ import annotations

import gc
import math
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol, TypeVar

import attrs
import numpy as np
from attrs import frozen

from parplan import clock
from parplan.errors import InfeasibleError
from parplan.scheduling.priorities import PriorityRule
from parplan.search.placing.economy import near_ways
from parplan.search.placing.evaluation import (
    Candidate,
    Prepared,
    prepare,
    schedule_by_rule,
)
from parplan.search.placing.placement import Placement, Placer
from parplan.search.placing.splits import shifted_cuts
from parplan.search.placing.ways import Ways

EAGER = 1e6
"""An offset of this many periods makes a kind always first (minus) or always last (plus)."""

DEEP = 1000.0
"""A slope that puts the place in the chain before the number of the microbatch."""

TEMPERATURE = 0.006
"""How much worse, relatively, a step may be at the start with a chance of 1/e."""

RULE_SHARE = 0.98
"""Part of the steps that change the rule and leave the placement, which costs a hundredth of a new
one: both get about as much time."""

WAYS_SHARE = 0.5
"""Part of the other steps that change the ways of a device and leave the placement, if there is a
choice of ways."""

MOST_RULED = 4
"""Placements of hand-made schedules that are tried with rules."""

RULES_PER_PLACEMENT = 12
"""Rules that a new placement is tried with: all of them cost less than making it ready."""


@frozen
class State:
    """What a candidate is made from: enough to make it again in another process."""

    placement: Placement
    rule: PriorityRule
    split_weights: bool = False
    ways: Ways = ()


def rule_portfolio() -> list[PriorityRule]:
    """Return rules from running far ahead (fast, much memory) to hardly at all (little memory)."""
    windows = ((math.inf, 0), (2.0, 1), (1.5, 1), (1.2, 3), (1.0, 3), (1.0, 1), (1.0, 0), (0.5, 1))
    kinds = ((0.0, -EAGER, EAGER), (0.25, 1.0, EAGER), (0.25, -3.0, EAGER), (1.0, -1.0, 2.0))
    rules = [
        PriorityRule(slope, {"backward": backward, "weight": weight}, ahead, extra)
        for ahead, extra in windows
        for slope, backward, weight in kinds
    ]
    rules.append(PriorityRule(0.0, {"backward": -EAGER, "weight": -EAGER}, 0.0, 1))
    return [*turning(), *deepest_first(), *rules]


def turning() -> list[PriorityRule]:
    """Return rules that limit what is between forward and backward; weights fill what is left.

    Where a window is about what 1F1B holds, patience keeps passes from holding up the backwards
    on their way, at the price of idle time.
    """
    first = {"backward": -EAGER, "weight": EAGER}
    weights, passes = frozenset({"weight"}), frozenset({"forward", "weight"})
    flat = PriorityRule(0.0, first, until="backward")
    steady = PriorityRule(1.0, {"backward": -1.0, "weight": EAGER}, until="backward")
    windows = ((1.3, 0), (1.2, 1), (1.1, 0))
    return [
        *(attrs.evolve(flat, ahead=a, extra=e, patient=weights) for a, e in windows),
        attrs.evolve(flat, patient=passes),
        *(attrs.evolve(steady, ahead=a, extra=e) for a, e in windows),
        attrs.evolve(deepest_first()[0], ahead=1.0, extra=2, until="backward"),
    ]


def deepest_first() -> list[PriorityRule]:
    """Return rules for chains that share devices: the chain that is nearer to its end goes first.

    Backwards before forwards, and weights where neither is ready or fits. Of two forwards the one
    that was longer under way goes first, and of two backwards the one that was shorter; or,
    where memory is scarcer, the longer.
    """
    offsets = {"backward": -EAGER, "weight": EAGER}
    return [
        PriorityRule(-DEEP, offsets, slopes={"backward": backward, "weight": 0.0})
        for backward in (DEEP, -DEEP, 0.0)
    ]


@frozen
class Enough:
    """When what was found ends the trying of rules.

    Attributes
    ----------
    figure
        A figure this small is good enough, in ticks.
    deadline
        After this instant of ``parplan.clock`` anything is.
    """

    figure: int = 0
    deadline: float = math.inf

    def is_met(self, best: Candidate | None) -> bool:
        """Return whether no further rule is worth its time."""
        return best is not None and (best.figure <= self.figure or clock.now() > self.deadline)


NEVER = Enough()
"""All rules are tried."""


def best_candidate(
    prepared: Prepared, rules: Sequence[PriorityRule], enough: Enough = NEVER
) -> Candidate | None:
    """Return the best schedule that any of the rules gives; None if all run into deadlocks."""
    best: Candidate | None = None
    for rule in rules:
        found = schedule_by_rule(prepared, rule)
        if found is not None and (best is None or found.figure < best.figure):
            best = found
        if enough.is_met(best):
            break
    return best


def evaluate(
    placer: Placer,
    placement: Placement,
    rules: Sequence[PriorityRule],
    ways: Ways = (),
    enough: Enough = NEVER,
    *,
    split_weights: bool = False,
) -> Candidate | None:
    """Return the best candidate of a placement in these ways; None if it cannot hold the model.

    Rules have as long as it took to make the placement ready, even if a deadline is over by then.
    """
    begun = clock.now()
    try:
        prepared = prepare(placer, placement, ways, split_weights=split_weights)
    except InfeasibleError:
        return None
    ready = clock.now()
    until = max(enough.deadline, 2 * ready - begun)
    return best_candidate(prepared, rules, attrs.evolve(enough, deadline=until))


def under_rules(
    placer: Placer, candidates: Sequence[Candidate], deadline: float
) -> Iterator[Candidate]:
    """Yield schedules by rules of the best placements that had none, such as hand-made ones.

    Weight passes of a stage are merged in one, apart in another; ends at the deadline.
    """
    known = {c.prepared.placement for c in candidates if c.rule is not None}
    ranked = sorted((c for c in candidates if c.rule is None), key=lambda c: c.figure)
    fresh = dict.fromkeys((c.prepared.placement, c.prepared.ways) for c in ranked)
    rules = rule_portfolio()
    for placement, ways in [key for key in fresh if key[0] not in known][:MOST_RULED]:
        for split in (False, True):
            found = evaluate(placer, placement, rules, ways, split_weights=split)
            if found is not None:
                yield found
            if clock.now() > deadline:
                return


def near_placement(
    placer: Placer, placement: Placement, random_: random.Random
) -> Placement | None:
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
        new[block] = random_.choice(sorted(placer.devices_of[group][block]))
    changed = [b for b in range(len(row)) if new[b] != row[b]]
    together = all(other == placement[0] for other in placement)
    groups = placer.groups if together else (group,)
    if not changed or any(new[b] not in placer.devices_of[g][b] for g in groups for b in changed):
        return None
    if together:
        return (tuple(new),) * len(placement)
    return (*placement[:group], tuple(new), *placement[group + 1 :])


def near_rule(rule: PriorityRule, stages: int, random_: random.Random) -> PriorityRule:
    """Return a rule near by: figures of all stages moved a little, or those of one or two."""
    which = random_.random()
    if which < 0.35:
        return _near_everywhere(rule, random_)
    extra, offsets = dict(rule.stage_extra), dict(rule.stage_offsets)
    for _ in range(random_.choice((1, 1, 2, 3))):
        stage = random_.randrange(stages)
        if which < 0.65 and not math.isinf(rule.ahead):
            extra[stage] = extra.get(stage, 0) + random_.choice((-1, 1))
        else:
            key = (stage, random_.choice(("forward", "backward", "weight")))
            offsets[key] = offsets.get(key, 0.0) + random_.gauss(0, 1)
    return attrs.evolve(rule, stage_extra=extra, stage_offsets=offsets)


def _near_everywhere(rule: PriorityRule, random_: random.Random) -> PriorityRule:
    offsets = {
        "backward": rule.offsets.get("backward", 0.0) + random_.gauss(0, 1),
        "weight": rule.offsets.get("weight", 0.0) + random_.gauss(0, 2),
        "forward": rule.offsets.get("forward", 0.0) + random_.gauss(0, 1),
    }
    ahead = rule.ahead
    if random_.random() < 0.15:
        ahead = random_.choice((1.0, 1.2, 1.5, 2.0, math.inf))
    elif not math.isinf(ahead):
        ahead = max(0.0, ahead + random_.gauss(0, 0.1))
    return attrs.evolve(
        rule,
        slope=max(0.0, rule.slope + random_.gauss(0, 0.15)),
        offsets=offsets,
        ahead=ahead,
        extra=rule.extra if random_.random() < 0.5 else random_.choice((0, 1, 2, 3, 4)),
    )


class Figured(Protocol):
    """Something with a figure to be made small, in ticks."""

    @property
    def figure(self) -> int:
        """What the search makes small."""


T = TypeVar("T", bound=Figured)


def anneal(
    start: T,
    step: Callable[[T, random.Random], T | None],
    deadline: float,
    seed: int,
    target: int = 0,
) -> T:
    """Return the best candidate that simulated annealing reaches from ``start``.

    Parameters
    ----------
    step
        Returns a candidate near another one; None if that try led nowhere.
    deadline
        On ``parplan.clock``.
    target
        Stop at a figure this small (a proven bound, in ticks).
    """
    random_ = random.Random(seed)
    current = best = start
    begin, failures = clock.now(), 0
    while best.figure > target and (now := clock.now()) < deadline:
        found = step(current, random_)
        if found is None:
            failures += 1
            if failures > 2000:
                break
            continue
        failures = 0
        left = (deadline - now) / max(deadline - begin, 1e-9)
        temperature = TEMPERATURE * left * left * best.figure
        worse = found.figure - current.figure
        if worse <= 0 or random_.random() < math.exp(-worse / max(temperature, 1e-9)):
            current = found
        if found.figure < best.figure:
            best = found
    return best


def step_anywhere(placer: Placer, current: Candidate, random_: random.Random) -> Candidate | None:
    """Return a candidate with another rule, or another placement or other ways under either."""
    rule = current.rule or PriorityRule()
    if random_.random() < RULE_SHARE:
        return schedule_by_rule(
            current.prepared, near_rule(rule, len(current.prepared.stages), random_)
        )
    placement: Placement | None = current.prepared.placement
    ways: Ways | None = current.prepared.ways
    if placer.coupled and random_.random() < WAYS_SHARE:
        ways = near_ways(placer, current.prepared.placement, current.prepared.ways, random_)
    else:
        placement = near_placement(placer, current.prepared.placement, random_)
    if placement is None or ways is None:
        return None
    stages = len(current.prepared.stages)
    rules = [rule, *(near_rule(rule, stages, random_) for _ in range(RULES_PER_PLACEMENT))]
    return evaluate(placer, placement, rules, ways, split_weights=current.prepared.split_weights)


def state_of(candidate: Candidate) -> State:
    """Return what a candidate under a rule is made from."""
    return State(
        candidate.prepared.placement,
        candidate.rule or PriorityRule(),
        candidate.prepared.split_weights,
        candidate.prepared.ways,
    )


def candidate_of(placer: Placer, state: State) -> Candidate | None:
    """Return the candidate that a state stands for."""
    return evaluate(
        placer, state.placement, [state.rule], state.ways, split_weights=state.split_weights
    )


def improve(placer: Placer, state: State, seconds: float, seed: int, target: int) -> State:
    """Return a state at least as good, after so many seconds; runs in any process."""
    start = candidate_of(placer, state)
    if start is None:
        return state
    deadline = clock.now() + seconds
    if random.Random(seed).random() < 0.5:
        other = evaluate(
            placer, state.placement, [state.rule], state.ways, split_weights=not state.split_weights
        )
        if other is not None and other.figure < start.figure:
            start = other
    # Every new placement makes tens of thousands of small objects: without this, the collector
    # would walk the whole problem again and again.
    gc.freeze()
    try:
        best = anneal(start, partial(step_anywhere, placer), deadline, seed, target)
    finally:
        gc.unfreeze()
    return state_of(best)
