"""The search: steps around one incumbent, each with its share of the time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from parplan import clock
from parplan.contracts import Report
from parplan.errors import InfeasibleError, LimitError
from parplan.options import SearchOptions
from parplan.plans import Plan
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import Rules
from parplan.schedule import Schedule
from parplan.search import exact, steps
from parplan.search.enumerating import enumerate_schedules
from parplan.search.hand_made.baselines import Baseline, baselines, is_pipeline, recipes_of
from parplan.search.incumbent import Incumbent
from parplan.search.infeasible import refute
from parplan.search.objective_bounds import first_bounds
from parplan.search.outcome import make_plan, why_infeasible, why_no_plan
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.placement import Placer
from parplan.search.run import Run
from parplan.search.steady_state import divide
from parplan.system.compiling import compiling_told

Rows = dict[tuple[str, str], dict[str, Any]]
"""A row of figures of each hand-made schedule, by its title and split."""

FIRST_SHARE = 0.25
"""Part of the time limit in which starting placements are tried."""

FIRST_SHARE_EXACT = 0.1
"""The same where a solver has the whole problem later."""

SECONDS_PER_TASK = 0.02
"""Seconds per task, at most, in which the placement of a graph is annealed before other steps: of
small graphs all schedules are enumerated in less than a share of the limit."""

LEVELS_SHARE = 0.1
"""Part of the time limit for placing a coarse graph and refining it, where graphs are no chains."""

LAST_SHARE_EXACT = 0.3
"""Part of the time left after which a solver has the whole problem without any schedule."""

BOUNDED_FIRST = 5_000
"""Tasks up to which bounds come before the first schedules, which can end there."""

BASELINE_SHARE = 0.2
"""Part of the time limit that the hand-made schedules may use."""

BASELINE_SHARE_MET = 0.05
"""The same where a plan has met its bound already."""

LEAST_BASELINE_S = 0.5
"""Seconds that are worth beginning hand-made schedules for, where a plan of pinned blocks has met
its bound: recipes made for such pins have been tried by then."""

ENUMERATION_SHARE = 0.15
"""Part of the time limit in which all schedules are enumerated, where the problem allows it."""

BOUND_SHARE = 0.15
"""Part of the time left that a bound which grows with time may use."""

ASSIGNMENT_SHARE = 0.1
"""Part of the time limit for the loop of upper model, list schedules and cuts."""

ASSIGNMENT_SHARE_EXACT = 0.3
"""Part of the time left for that loop, where a MIP solver has the whole problem later."""

ASSIGNMENT_SHARE_RACED = 0.05
"""The same where that solver races with one that knows intervals, which may prove the whole problem
in as long as the loop takes where it does not end soon."""

SEQUENCE_SHARE = 0.5
"""Part of the time limit for the search on sequences, at most, where a solver has the rest."""

SECOND_OF_SEQUENCES = 100
"""Activities that are worth a second of that search before a solver; it grows with their square:
a solver alone does well on few and badly on many."""

FILLING_SHARE = 0.25
"""Part of the time left in which weight passes may be put anew."""

WALK_SHARE = 0.4
"""Part of the time limit in which walks through a large pipeline are searched, before all else."""

PLACEMENT_SHARE = 0.7
"""Part of the time left for the search on placements, where sequences have the rest."""

NEIGHBOURHOOD_SHARE = 0.6
"""Part of the time then left in which parts of the best schedule are done again by a solver."""

CRITERION_SHARE = 0.5
"""Part of the time left after the search for exact times that a search by scenarios may use."""

FIRST_DECISION_SHARE = 0.2
"""Part of the time left in which makespans are decided before sequences are searched."""

DECISION_SHARE = 0.5
"""Part of the time left after or before which makespans are decided, where they can be."""

COMPILING = "kernels, once on an installation; the time limit does not count it"
"""What is told when a search has to compile."""


def search(
    problem: Problem,
    rules: Rules,
    registry: Registry,
    options: SearchOptions,
    report: Report | None = None,
    hand_made: Iterable[Baseline] | None = None,
    given: Schedule | None = None,
) -> Plan:
    """Return the best checked plan found within the limit, with its bound.

    Small problems are solved exactly from a heuristic start; large ones by placements, list
    schedules and local search. Ctrl-C ends the search and keeps the incumbent
    (``provenance["interrupted"]``).

    Parameters
    ----------
    hand_made
        Hand-made schedules to start from; None lets the search make its own.
    given
        A schedule of the problem to start from. It need not keep the rules: where it does not, its
        placement and orders still count.

    Raises
    ------
    InfeasibleError
        If no plan exists, with what clashes.
    LimitError
        If the limit, or Ctrl-C, came before any plan.
    SolverError
        If the solver asked for is missing or failed, and nothing else could serve.
    """
    engine = exact.choose(problem, rules, registry, options)
    incumbent = Incumbent(rules, report)
    deadline = incumbent.started + options.time_limit_s
    rows: Rows = {}
    interrupted = False
    try:
        with compiling_told(lambda: incumbent.tell("compiling", COMPILING)):
            refute(problem, rules)
            placer = Placer(problem, rules, find_blocks(problem, rules))
            run = Run(placer, registry, options, incumbent, deadline)
            if given is not None:
                steps.start_from(run, given)
            loading = rules.objectives[0].loading()
            if loading is not None:
                divide(run, loading)
            else:
                _start(run, engine)
                _stand_beside(run, hand_made, rows)
                _narrow(run)
                if engine.exact:
                    _solve(run, engine)
                else:
                    _improve(run)
    except InfeasibleError as error:
        raise why_infeasible(error, rules, registry, options, deadline) from error
    except KeyboardInterrupt:
        interrupted = True
    if incumbent.schedule is None:
        reason = why_no_plan(rules, engine, incumbent, deadline, interrupted=interrupted)
        raise LimitError(reason)
    made = list(rows.values())
    return make_plan(problem, rules, options, engine, incumbent, made, interrupted=interrupted)


def _start(run: Run, engine: exact.Engine) -> None:
    """Find bounds and the first schedules."""
    share = FIRST_SHARE_EXACT if engine.exact else FIRST_SHARE
    until = run.incumbent.started + share * run.options.time_limit_s
    if is_pipeline(run.placer):
        if steps.can_search_walks(run):
            with run.contained("walks", optional=True):
                steps.search_walks(run, run.part_of_limit(WALK_SHARE))
        _bound(run)
    else:
        _start_graph(run, until)
    if _has_walked(run):
        return
    with run.contained("stages on groups of devices", optional=True):
        steps.find_stages_on_groups(run, until)
    with run.contained("first schedules"):
        begun = clock.now()
        # A solver finds what fits where placements one by one do not.
        last = run.part_of_rest(LAST_SHARE_EXACT) if engine.exact else math.inf
        steps.find_first_schedules(run, until, last)
        # Recipes have as long as the first schedules took, even if the limit is over by then.
        until = max(until, run.part_of_rest(BASELINE_SHARE), 2 * clock.now() - begun)
        steps.find_recipes_as_pinned(run, until)


def _has_walked(run: Run) -> bool:
    """Return whether a large pipeline has schedules of walks, to which rules add nothing."""
    return bool(run.candidates) and steps.can_search_walks(run)


def _bound(run: Run) -> None:
    with run.contained("bounds", optional=True):
        run.incumbent.add_bounds(first_bounds(run.problem, run.rules))


def _start_graph(run: Run, until: float) -> None:
    """Find bounds, and the first schedules of a graph that is no pipeline."""
    large = run.problem.task_count > BOUNDED_FIRST
    if not large:
        _bound(run)
    with run.contained("graph schedules", optional=True):
        enough = clock.now() + SECONDS_PER_TASK * run.problem.task_count
        steps.schedule_as_graph(run, min(until, enough))
    if large:
        _bound(run)
    with run.contained("enumeration", optional=True):
        enumerate_schedules(run, run.part_of_limit(ENUMERATION_SHARE))
    with run.contained("lines", optional=True):
        steps.cut_lines(run, until)
    with run.contained("levels", optional=True):
        steps.place_by_levels(run, run.part_of_limit(LEVELS_SHARE))


def _stand_beside(run: Run, hand_made: Iterable[Baseline] | None, rows: Rows) -> None:
    """Take hand-made schedules, and search near them what they leave open."""
    if hand_made is None and not is_pipeline(run.placer):
        return
    with run.contained("baselines"):
        if hand_made is None:
            until = run.part_of_limit(BASELINE_SHARE if run.is_open else BASELINE_SHARE_MET)
            done = run.placer.is_fixed and not run.is_open
            if done and until - clock.now() < LEAST_BASELINE_S:
                return
            made = baselines(run.placer, recipes_of(run.registry), until, run.options.seed)
            steps.stand_beside(run, made, run.deadline, rows)
        else:
            # They are there already: a plan is never worse than what it was given.
            steps.stand_beside(run, hand_made, math.inf, rows)
    if run.is_open and is_pipeline(run.placer):
        with run.contained("weight passes"):
            steps.fill_weight_passes(run, run.part_of_rest(FILLING_SHARE))


def _narrow(run: Run) -> None:
    """Close the gap from below, and from above where little is left of it."""
    if run.is_open:
        with run.contained("exact machines"):
            steps.raise_bound(run, run.part_of_rest(BOUND_SHARE))
        with run.contained("decided makespans"):
            steps.decide_makespans(run, run.part_of_rest(FIRST_DECISION_SHARE))


def _solve(run: Run, engine: exact.Engine) -> None:
    """Let a solver have the whole problem, after sequences as long as their size is worth."""
    if run.is_open and steps.gains_by_assigning_first(run):
        share = ASSIGNMENT_SHARE_RACED if steps.is_raced(run) else ASSIGNMENT_SHARE_EXACT
        with run.contained("assignment"):
            steps.assign_by_model(run, run.part_of_rest(share))
    ordered = run.rules.objectives[0].follows is not None
    if run.candidates and run.is_open and ordered:
        size = max(len(c.prepared.network) for c in run.candidates)
        seconds = (size / SECOND_OF_SEQUENCES) ** 2
        until = min(run.part_of_limit(SEQUENCE_SHARE), clock.now() + seconds)
        with run.contained("sequence search"):
            steps.search_sequences(run, until)
        with run.contained("decided makespans"):
            steps.decide_makespans(run, run.part_of_rest(DECISION_SHARE))
    if run.is_open or len(run.rules.objectives) > 1:
        with run.contained(engine.solver):
            exact.solve(run.rules, run.registry, run.options, engine, run.incumbent, run.deadline)


def _improve(run: Run) -> None:
    """Search assignments, placements and sequences of a problem too large for a solver."""
    if run.is_open:
        with run.contained("assignment"):
            steps.assign_by_model(run, run.part_of_limit(ASSIGNMENT_SHARE))
    if not (run.candidates and run.is_open):
        return
    with run.contained("local search"):
        search_further = steps.search_walks if _has_walked(run) else steps.search_placements
        search_further(run, run.part_of_rest(PLACEMENT_SHARE))
    if run.is_open and not is_pipeline(run.placer):
        with run.contained("neighbourhoods"):
            steps.redo_parts(run, run.part_of_rest(NEIGHBOURHOOD_SHARE))
    criterion = run.rules.objectives[0].criterion()
    later = 0.0
    if criterion is not None:
        later = CRITERION_SHARE
    elif steps.can_decide_makespans(run):
        later = DECISION_SHARE
    with run.contained("sequence search"):
        steps.search_sequences(run, run.part_of_rest(1 - later))
    with run.contained("decided makespans"):
        steps.decide_makespans(run, run.deadline)
    if criterion is not None:
        with run.contained("scenario search"):
            steps.bend(run, criterion, run.deadline)


def describe(
    problem: Problem, rules: Rules, registry: Registry, options: SearchOptions
) -> Mapping[str, Any]:
    """Return what a search would face: sizes, bounds, and which engine; for ``--dry-run``."""
    engine = exact.choose(problem, rules, registry, options)
    blocks = find_blocks(problem, rules)
    bounds = first_bounds(problem, rules)
    return {
        "problem": problem.name,
        "operators": len(problem.graph.operators),
        "tensors": len(problem.graph.tensors),
        "devices": len(problem.cluster.devices),
        "links": len(problem.cluster.links),
        "microbatches": problem.workload.microbatches,
        "tasks": problem.task_count,
        "blocks": len(blocks),
        "intervals": engine.intervals,
        "engine": engine.description,
        "tick_s": problem.tick_s,
        "bounds": [{"source": b.source, "value": b.value} for b in bounds],
    }
