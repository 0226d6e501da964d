"""Where local search begins: placements of hand-made schedules are tried with rules."""

from __future__ import annotations

import math

from parplan import clock
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.hand_made.baselines import baselines, recipes_of
from parplan.search.improving.improvement import under_rules
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.placement import Placer
from tests.search.pipelines import even_pipeline


def test_placements_of_recipes_get_schedules_by_rules(registry: Registry) -> None:
    rules = make_rules(even_pipeline(8, 4, 8), registry)
    placer = Placer(rules.problem, rules, find_blocks(rules.problem, rules))
    recipes = recipes_of(registry, ("1f1b", "interleaved-1f1b"))
    rows = baselines(placer, recipes, clock.now() + 30.0, 0)
    made = [row.candidate for row in rows if row.candidate is not None]
    found = list(under_rules(placer, made, math.inf))
    assert all(candidate.rule is not None for candidate in found)
    assert {c.prepared.placement for c in found} == {c.prepared.placement for c in made}
    assert {c.prepared.split_weights for c in found} == {False, True}
    # 1F1B waits for whole backwards; a rule that lets weight passes fill does not.
    assert min(c.figure for c in found) < min(c.figure for c in made)
    assert list(under_rules(placer, [*made, *found], math.inf)) == []
