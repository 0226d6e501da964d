"""Compares the plan that a search finds with every hand-made schedule of the same problem."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import attrs

from parplan import clock
from parplan.checking import check_schedule
from parplan.comparison import Comparison, Entry
from parplan.contracts import PlacementHeuristic, Progress, Report, Strategy
from parplan.errors import InfeasibleError, LimitError
from parplan.options import SearchOptions
from parplan.plans import Plan
from parplan.problem import Problem
from parplan.registry import Registered, Registry
from parplan.rules import Rules, with_problem
from parplan.search.graphs.from_problem import can_be_placed, make_task_graph
from parplan.search.graphs.list_schedule import ListSchedules
from parplan.search.graphs.schedules import completed, exact_candidate, proposed
from parplan.search.hand_made.baselines import (
    FEW_TASKS,
    MOST_CHUNKS,
    NO_TIME,
    Baseline,
    baselines,
    no_pipeline,
    recipes_of,
    title,
)
from parplan.search.hand_made.recipes import fit
from parplan.search.incumbent import EQUAL, objective_value
from parplan.search.infeasible import refute
from parplan.search.orchestrator import search
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.placement import Placer
from parplan.search.placing.splits import device_orders
from parplan.workload import in_turn

HAND_MADE_SHARE = 0.4
"""Part of the time limit that the hand-made schedules may use; seldom do they need as much."""

LEAST_SHARE = 0.1
"""Part of it that the search has in any case."""

AFTER_INTERRUPT_S = 1.0
"""Time limit of the search that makes a plan of hand-made schedules when Ctrl-C came before it."""

INTERRUPTED = "Ctrl-C came before it was tried"

FREE = "free"
"""The split of placement heuristics: any block may go to any device."""

SEARCHED = "plan"
"""Name of the entry that the search found."""

SEARCHED_BOTH_WAYS = "plan in two directions"
"""Name of the entry that the search found where microbatches may come from both ends."""

TWO_COPIES = "two directions: two copies of the parameters"
"""How the problem of schedules in two directions differs, in their notes."""


def compare(
    problem: Problem,
    rules: Rules,
    registry: Registry,
    options: SearchOptions,
    schedules: Sequence[str] = (),
    report: Report | None = None,
) -> Comparison:
    """Return the plan found beside every hand-made schedule, the best first.

    For graphs that are no pipelines these are the schedules of placement heuristics.

    All stand under the same costs, memory rule and links, and each passed the check. The search
    starts from the hand-made ones, so that its plan is never worse than they are. Schedules in two
    directions stand under a variant of the problem, in which the microbatches take turns; it is
    planned too, in half of the time.

    Ctrl-C ends it and keeps what is there (``provenance["interrupted"]`` of the plan at hand).

    Parameters
    ----------
    options
        Its time limit is that of the whole comparison.
    schedules
        Names of hand-made schedules and placement heuristics; empty: all that are installed and
        made for such problems.

    Raises
    ------
    InputError
        For a name that is of no schedule.
    ParplanError
        As ``search`` does, if there is no plan to compare with.
    """
    recipes, heuristics = _chosen(registry, problem, schedules)
    refute(problem, rules)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    several = {r.name for r in recipes if _directions(placer, r) > problem.workload.group_count}
    ones = [recipe for recipe in recipes if recipe.name not in several]
    twos = [recipe for recipe in recipes if recipe.name in several]
    share = options.time_limit_s / (2 if twos else 1)
    limited = attrs.evolve(options, time_limit_s=share)
    plan, entries = _planned(placer, ones, heuristics, registry, limited, report)
    first = [Entry(SEARCHED, "", plan)]
    if twos and plan.provenance["interrupted"]:
        more = [Entry(recipe.name, "", None, f"{TWO_COPIES}: {INTERRUPTED}") for recipe in twos]
        entries += more
    elif twos:
        variant = _in_directions(placer)
        try:
            other, more = _planned(variant, twos, (), registry, limited, report)
        except (InfeasibleError, LimitError) as error:
            first.append(Entry(SEARCHED_BOTH_WAYS, "", None, f"{TWO_COPIES}: {error}"))
            more = [Entry(recipe.name, "", None, f"{TWO_COPIES}: no plan") for recipe in twos]
        else:
            first.append(Entry(SEARCHED_BOTH_WAYS, "", other, TWO_COPIES))
            more = [_noted(entry, TWO_COPIES) for entry in more]
        entries += more
    entries.sort(key=lambda entry: _rank(entry, rules))
    return Comparison(problem, (*first, *entries))


def _chosen(
    registry: Registry, problem: Problem, names: Sequence[str]
) -> tuple[Sequence[Strategy], Sequence[Registered[PlacementHeuristic]]]:
    """Return the recipes and the placement heuristics that are named.

    Without names all recipes, and the heuristics where recipes make no sense.
    """
    if not names:
        heuristics = registry.heuristics.values() if no_pipeline(problem) else ()
        return recipes_of(registry), tuple(heuristics)
    others = [name for name in names if name not in registry.heuristics]
    chosen = [registry.heuristics[name] for name in names if name in registry.heuristics]
    return recipes_of(registry, others) if others else (), chosen


def _directions(placer: Placer, recipe: Strategy) -> int:
    """Return the number of placement groups that a recipe needs; 1 where it does not apply."""
    for chunks in range(1, MOST_CHUNKS + 1):
        try:
            fitted = fit(placer, recipe, len(device_orders(placer)[0]), chunks)
        except Exception:  # noqa: BLE001  # somebody's code: its row says later what it did
            return 1
        if fitted is not None:
            return len(fitted.shape.placements)
    return 1


def _in_directions(placer: Placer) -> Placer:
    """Return the problem in which every other microbatch may be placed in another way."""
    problem = placer.problem
    groups = in_turn(2, problem.workload.microbatches)
    workload = attrs.evolve(problem.workload, groups=groups)
    variant = attrs.evolve(problem, workload=workload)
    return Placer(variant, with_problem(placer.rules, variant), placer.blocks)


def _noted(entry: Entry, note: str) -> Entry:
    """Return an entry whose note begins with how its problem differs."""
    return attrs.evolve(entry, note="; ".join([note, *([entry.note] if entry.note else [])]))


def _planned(
    placer: Placer,
    recipes: Sequence[Strategy],
    heuristics: Sequence[Registered[PlacementHeuristic]],
    registry: Registry,
    options: SearchOptions,
    report: Report | None,
) -> tuple[Plan, list[Entry]]:
    """Return the plan found for a problem from its hand-made schedules, and those."""
    started = clock.now()
    names = (*(recipe.name for recipe in recipes), *(one.name for one in heuristics))
    rows = {(name, ""): Baseline(name, "", 1, None, INTERRUPTED) for name in names}
    made: Iterable[Baseline]
    until = started + HAND_MADE_SHARE * options.time_limit_s
    try:
        for one in _hand_made(placer, recipes, heuristics, until, options.seed, report):
            rows.pop((one.name, ""), None)
            rows[title(one), one.split] = one
    except KeyboardInterrupt:
        made, left = _interrupted(rows.values()), AFTER_INTERRUPT_S
    else:
        made, left = rows.values(), started + options.time_limit_s - clock.now()
        left = max(left, LEAST_SHARE * options.time_limit_s)
    limited = attrs.evolve(options, time_limit_s=left)
    plan = search(placer.problem, placer.rules, registry, limited, report, made)
    if plan.status == "optimal" and not plan.provenance["interrupted"]:
        # The search was over early, and nothing that is tried now can beat its plan.
        late = {one.name for one in rows.values() if one.note == NO_TIME}
        rest = [recipe for recipe in recipes if recipe.name in late]
        deadline = started + options.time_limit_s
        others = [heuristic for heuristic in heuristics if heuristic.name in late]
        for one in _hand_made(placer, rest, others, deadline, options.seed, report):
            rows[title(one), one.split] = one
    return plan, [_entry(one, plan) for one in rows.values()]


def _hand_made(
    placer: Placer,
    recipes: Sequence[Strategy],
    heuristics: Sequence[Registered[PlacementHeuristic]],
    until: float,
    seed: int,
    report: Report | None,
) -> Iterator[Baseline]:
    """Yield the rows of heuristics, and of recipes as ``baselines`` does, and report each."""
    started = clock.now()
    reason = no_pipeline(placer.problem)
    made: Iterable[Baseline] = baselines(placer, recipes, until, seed)
    if reason:
        made = (Baseline(recipe.name, "", 1, None, reason) for recipe in recipes)
    for one in chain(_placed_by(placer, heuristics, until), made):
        yield one
        if report is not None:
            report(Progress(f"{title(one)} {one.split}".rstrip(), clock.now() - started))


def _placed_by(
    placer: Placer, heuristics: Sequence[Registered[PlacementHeuristic]], until: float
) -> Iterator[Baseline]:
    """Yield the schedule of each heuristic, or why it has none; the first is made in any case."""
    if not heuristics:
        return
    if not can_be_placed(placer):
        reason = "some block runs on no single device"
        yield from (Baseline(one.name, "", 1, None, reason) for one in heuristics)
        return
    lists = ListSchedules(make_task_graph(placer))
    for number, heuristic in enumerate(heuristics):
        small = placer.problem.task_count <= FEW_TASKS
        if number and not small and clock.now() > until:
            yield Baseline(heuristic.name, "", 1, None, NO_TIME)
            continue
        proposal = proposed(lists, heuristic)
        placed = None if proposal is None else completed(lists, proposal)
        candidate = None if placed is None else exact_candidate(placer, lists, placed)
        if candidate is None:
            yield Baseline(heuristic.name, "", 1, None, "its placement does not fit")
        else:
            yield Baseline(heuristic.name, FREE, 1, candidate, placer=placer)


def _interrupted(rows: Iterable[Baseline]) -> Iterator[Baseline]:
    """Yield rows, and then end the search that takes them as Ctrl-C would."""
    yield from rows
    raise KeyboardInterrupt


def _entry(one: Baseline, plan: Plan) -> Entry:
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
    return Entry(title(one), one.split, found, one.remark, one.flushes)


def _rank(entry: Entry, rules: Rules) -> tuple[bool, float]:
    """Return a key that sorts better values first, and what has no schedule last."""
    if entry.plan is None:
        return True, 0.0
    return False, -entry.plan.value if rules.objectives[0].maximize else entry.plan.value
