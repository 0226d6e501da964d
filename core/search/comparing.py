"""Compares the plan that a search finds with every hand-made schedule of the same problem."""

from __future__ import annotations

import time
from collections.abc import Sequence

import attrs

from parplan.checking import check_schedule
from parplan.comparison import Comparison, Entry
from parplan.contracts import Progress, Report, Strategy
from parplan.options import SearchOptions
from parplan.plans import Plan
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import Rules
from parplan.search.baselines import Baseline, baselines, no_pipeline, recipes_of, title
from parplan.search.blocks import find_blocks
from parplan.search.incumbent import EQUAL, objective_value
from parplan.search.infeasible import refute
from parplan.search.orchestrator import BASELINE_SHARE, search
from parplan.search.placement import Placer

SEARCHED = "plan"
"""Name of the entry that the search found."""


def compare(
    problem: Problem,
    rules: Rules,
    registry: Registry,
    options: SearchOptions,
    schedules: Sequence[str] = (),
    report: Report | None = None,
) -> Comparison:
    """Return the plan found beside every hand-made schedule, the best first.

    All stand under the same costs, memory rule and links, and each passed the check. The search
    starts from the hand-made ones, so that its plan is never worse than they are.

    Parameters
    ----------
    options
        Its time limit is that of the whole comparison.
    schedules
        Names of the hand-made schedules; empty: all that are installed.

    Raises
    ------
    InputError
        For a name that is of no schedule.
    ParplanError
        As ``search`` does, if there is no plan to compare with.
    """
    started = time.monotonic()
    recipes = recipes_of(registry, schedules)
    refute(problem, rules)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    made = _hand_made(placer, recipes, started, options, report)
    left = max(started + options.time_limit_s - time.monotonic(), 0.1 * options.time_limit_s)
    limited = attrs.evolve(options, time_limit_s=left)
    plan = search(problem, rules, registry, limited, report, made)
    entries = [_entry(placer, one, plan) for one in made]
    entries.sort(key=lambda entry: _rank(entry, rules))
    return Comparison(problem, (Entry(SEARCHED, "", plan), *entries))


def _hand_made(
    placer: Placer,
    recipes: Sequence[Strategy],
    started: float,
    options: SearchOptions,
    report: Report | None,
) -> list[Baseline]:
    reason = no_pipeline(placer.problem)
    if reason:
        return [Baseline(recipe.name, "", 1, None, reason) for recipe in recipes]
    until = started + BASELINE_SHARE * options.time_limit_s
    made = []
    for one in baselines(placer, recipes, until, options.seed):
        made.append(one)
        if report is not None:
            report(Progress(f"{title(one)} {one.split}".rstrip(), time.monotonic() - started))
    return made


def _entry(placer: Placer, one: Baseline, plan: Plan) -> Entry:
    """Return a hand-made schedule with its values, and the bound that was found for the plan."""
    schedule = one.expand()
    if schedule is None or one.placer is None:
        return Entry(title(one), one.split, None, one.note)
    violations = check_schedule(schedule, one.placer.rules)
    if violations:
        return Entry(title(one), one.split, None, f"breaks a rule: {violations[0].message}")
    objectives = one.placer.rules.objectives
    values = {objective.name: objective_value(objective, schedule) for objective in objectives}
    value = next(iter(values.values()))
    bound = None if one.is_variant else plan.bound  # a variant may do better
    met = bound is not None and abs(value - bound.value) <= EQUAL * max(abs(value), 1e-300)
    found = Plan(
        schedule.problem,
        schedule,
        values,
        bound,
        "optimal" if met else "feasible",
        f"{title(one)} on the {one.split} split",
        {"strategy": one.name, "split": one.split, "stages_per_device": one.chunks},
    )
    return Entry(title(one), one.split, found, one.note)


def _rank(entry: Entry, rules: Rules) -> tuple[bool, float]:
    """Return a key that sorts better values first, and what has no schedule last."""
    if entry.plan is None:
        return True, 0.0
    return False, -entry.plan.value if rules.objectives[0].maximize else entry.plan.value
