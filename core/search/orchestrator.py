"""The search: bounds, baselines, heuristics and exact solves around one incumbent."""

from __future__ import annotations

import contextlib
import math
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import attrs

import parplan
from parplan.contracts import Criterion, Report
from parplan.errors import InputError, LimitError, ParplanError, PluginError
from parplan.options import SearchOptions
from parplan.plans import Bound, Plan
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rounding import rounding_report
from parplan.rules import Rules
from parplan.search import exact
from parplan.search.baselines import (
    Baseline,
    baseline_row,
    baselines,
    is_pipeline,
    recipes_of,
)
from parplan.search.bilevel import bilevel, can_assign
from parplan.search.blocks import find_blocks
from parplan.search.bounds import combinatorial_bounds, machine_bounds, span_bounds
from parplan.search.decisions import Narrowing, can_decide
from parplan.search.evaluation import Candidate, Finisher
from parplan.search.heuristics import first_candidates
from parplan.search.improvement import under_rules
from parplan.search.incumbent import Incumbent
from parplan.search.infeasible import refute
from parplan.search.network import build_network
from parplan.search.pinned_recipes import recipe_candidates
from parplan.search.placement import Placer
from parplan.search.robust import improved_by_scenarios, nearly_shortest
from parplan.search.sequences.crew import searched_by_sequences
from parplan.search.sequences.filling import with_weights_filled
from parplan.search.team import improved_by_team
from parplan.simulation.criterion import ScenarioCriterion

BASELINE_SHARE = 0.2
"""Part of the time limit that the hand-made schedules may use."""

BASELINE_SHARE_MET = 0.05
"""The same where a plan has met its bound already."""

BOUND_SHARE = 0.15
"""Part of the time left that a bound which grows with time may use."""

ASSIGNMENT_SHARE = 0.1
"""Part of the time limit for the loop of upper model, list schedules and cuts."""

SEQUENCE_SHARE = 0.5
"""Part of the time limit for the search on sequences, at most, where a solver has the rest."""

SECOND_OF_SEQUENCES = 100
"""Activities that are worth a second of that search before a solver; it grows with their square:
a solver alone does well on few and badly on many."""

FILLING_SHARE = 0.25
"""Part of the time left in which weight passes may be put anew."""

FILLED_ACTIVITIES = 20_000
"""Largest network, in activities, whose weight passes are put anew."""

PLACEMENT_SHARE = 0.4
"""Part of the time left for the search on placements, where sequences have the rest."""

CRITERION_SHARE = 0.5
"""Part of the time left after the search for exact times that a search by scenarios may use."""

AS_PLANNED = "planned times"
"""Scope of bounds that hold if nothing is random."""

FIRST_DECISION_SHARE = 0.2
"""Part of the time left in which makespans are decided before sequences are searched."""

DECISION_SHARE = 0.5
"""Part of the time left after or before which makespans are decided, where they can be."""

FIRST_SHARE = 0.25
"""Part of the time limit in which starting placements are tried."""


def search(
    problem: Problem,
    rules: Rules,
    registry: Registry,
    options: SearchOptions,
    report: Report | None = None,
    hand_made: Iterable[Baseline] | None = None,
) -> Plan:
    """Return the best checked plan found within the limit, with its bound.

    Small problems are solved exactly from a heuristic start; large ones by placements, list
    schedules and local search. Ctrl-C ends the search and keeps the incumbent
    (``provenance["interrupted"]``).

    Parameters
    ----------
    hand_made
        Hand-made schedules to start from; None lets the search make its own.

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
    notes: dict[str, Any] = {"baselines": [], "interrupted": False}
    deadline = incumbent.started + options.time_limit_s
    try:
        _search(problem, rules, registry, options, engine, incumbent, deadline, notes, hand_made)
    except KeyboardInterrupt:
        notes["interrupted"] = True
    if incumbent.schedule is None:
        raise LimitError(_why_no_plan(rules, engine, incumbent, deadline, notes))
    return _plan(problem, rules, options, engine, incumbent, notes)


def _why_no_plan(
    rules: Rules,
    engine: exact.Engine,
    incumbent: Incumbent,
    deadline: float,
    notes: Mapping[str, Any],
) -> str:
    """Say why the search has ended without any plan."""
    refused = "".join(f"; {r['message']}" for r in incumbent.rejections()[:1])
    if notes["interrupted"]:
        return f"Ctrl-C came before any plan was found{refused}"
    if engine.exact or time.monotonic() > deadline:
        limit = deadline - incumbent.started
        return (
            f"the limit of {limit:g} s came before any plan was found{refused}; give more time "
            "with --time-limit"
        )
    problem = rules.problem
    for operator, rows in enumerate(rules.allowed):
        if all(len(problem.alternatives[operator][row].devices) > 1 for row in rows):
            name = problem.graph.operators[operator].name
            return (
                f"list schedules place operators on single devices, but '{name}' runs on groups "
                f"only; the whole model, {engine.intervals} intervals, can be solved up to "
                f"{exact.MOST_INTERVALS}: ask for a solver, e.g. --solver cp-sat"
            )
    return (
        f"list schedules found no plan that fits{refused}; where no solver proves that there is "
        "none, one may exist: loosen memory or placement, or ask for a solver with --solver"
    )


def _search(
    problem: Problem,
    rules: Rules,
    registry: Registry,
    options: SearchOptions,
    engine: exact.Engine,
    incumbent: Incumbent,
    deadline: float,
    notes: dict[str, Any],
    hand_made: Iterable[Baseline] | None,
) -> None:
    """Fill the incumbent; every stage stops when the gap is closed."""
    refute(problem, rules)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    limit = options.time_limit_s
    first_share = FIRST_SHARE if not engine.exact else 0.1
    candidates: list[Candidate] = []
    with _contained("bounds", incumbent, optional=True):
        incumbent.add_bounds(first_bounds(problem, rules))
    with _contained("first schedules", incumbent):
        until = incumbent.started + first_share * limit
        _start(placer, candidates, registry, options, incumbent, until, deadline)
    if is_pipeline(placer):
        with _contained("baselines", incumbent):
            if hand_made is None:
                met = incumbent.gap <= options.gap
                share = BASELINE_SHARE_MET if met else BASELINE_SHARE
                until = min(deadline, time.monotonic() + share * limit)
                made = baselines(placer, recipes_of(registry), until, options.seed)
                _baselines(placer, incumbent, candidates, made, deadline, notes)
            else:
                # They are there already: a plan is never worse than what it was given.
                _baselines(placer, incumbent, candidates, hand_made, math.inf, notes)
        if incumbent.gap > options.gap:
            with _contained("weight passes", incumbent):
                _fill(placer, candidates, options, incumbent, _share(deadline, FILLING_SHARE))
    if is_makespan(problem) and incumbent.gap > options.gap:
        with _contained("exact machines", incumbent):
            _raise_bound(rules, incumbent, _share(deadline, BOUND_SHARE))
    if candidates and incumbent.gap > options.gap:
        with _contained("decided makespans", incumbent):
            until = _share(deadline, FIRST_DECISION_SHARE)
            _decide(placer, candidates, registry, options, incumbent, until)
    ordered = rules.objectives[0].follows is not None
    if engine.exact and candidates and incumbent.gap > options.gap and ordered:
        size = max(len(c.prepared.network) for c in candidates)
        seconds = min(SEQUENCE_SHARE * limit, (size / SECOND_OF_SEQUENCES) ** 2)
        until = min(deadline, time.monotonic() + seconds)
        with _contained("sequence search", incumbent):
            _sequence(placer, candidates, registry, options, incumbent, until)
        with _contained("decided makespans", incumbent):
            until = _share(deadline, DECISION_SHARE)
            _decide(placer, candidates, registry, options, incumbent, until)
    if engine.exact and (incumbent.gap > options.gap or len(rules.objectives) > 1):
        with _contained(engine.solver, incumbent):
            exact.solve(rules, registry, options, engine, incumbent, deadline)
    elif incumbent.gap > options.gap:
        until = min(deadline, time.monotonic() + ASSIGNMENT_SHARE * limit)
        with _contained("assignment", incumbent):
            _assign(placer, registry, options, incumbent, until)
    if not engine.exact and candidates and incumbent.gap > options.gap:
        if not placer.is_fixed:
            until = _share(deadline, PLACEMENT_SHARE)
            with _contained("local search", incumbent):
                _improve(placer, candidates, registry, options, incumbent, until)
        criterion = rules.objectives[0].criterion()
        decides = criterion is None and placer.is_fixed and can_decide(problem)
        later = CRITERION_SHARE if criterion is not None else DECISION_SHARE if decides else 0.0
        with _contained("sequence search", incumbent):
            until = _share(deadline, 1 - later)
            _sequence(placer, candidates, registry, options, incumbent, until)
        with _contained("decided makespans", incumbent):
            _decide(placer, candidates, registry, options, incumbent, deadline)
        if criterion is not None:
            with _contained("scenario search", incumbent):
                _by_scenarios(placer, candidates, criterion, options, incumbent, deadline)


@contextlib.contextmanager
def _contained(stage: str, incumbent: Incumbent, *, optional: bool = False) -> Iterator[None]:
    """Let no fault of a stage lose a plan that is already there; say what it was.

    Parameters
    ----------
    optional
        Whether a plan can be found without this stage: then only what it says of the problem
        counts.
    """
    try:
        yield
    except Exception as error:
        # A plugin or an option at fault is the user's to mend; a proof against a plan is wrong.
        needed = incumbent.schedule is None and (not optional or isinstance(error, ParplanError))
        if needed or isinstance(error, PluginError | InputError):
            raise
        incumbent.fail(stage, f"ended by {type(error).__name__}: {error}")


def _start(
    placer: Placer,
    candidates: list[Candidate],
    registry: Registry,
    options: SearchOptions,
    incumbent: Incumbent,
    until: float,
    deadline: float,
) -> None:
    """Find the first schedules: by rules, and on pinned blocks by recipes made for such pins."""
    begun = time.monotonic()
    rules = placer.rules
    decided = rules.objectives[0].follows is not None and len(rules.objectives) == 1
    target = _target(rules, incumbent, options) if decided else 0
    for name, candidate in first_candidates(placer, until, target):
        candidates.append(candidate)
        if candidate.figure == min(c.figure for c in candidates):
            incumbent.offer(Finisher(placer).finish(candidate), name)
    if not (placer.is_fixed and candidates and is_pipeline(placer)):
        return
    # They have as long as the first schedules took, even if the limit is over by then.
    now = time.monotonic()
    later = max(until, _share(deadline, BASELINE_SHARE), 2 * now - begun)
    made = recipe_candidates(placer, candidates[0].prepared, recipes_of(registry), later)
    while incumbent.gap > options.gap and (found := next(made, None)) is not None:
        name, candidate = found
        candidates.append(candidate)
        # A recipe's calls may hand on late; finished, they are shorter than their figure.
        incumbent.offer(Finisher(placer).finish(candidate), f"{name} as pinned")


def _raise_bound(rules: Rules, incumbent: Incumbent, until: float) -> None:
    """Raise the bound of the problem while there is time."""
    known = incumbent.bound
    target = None if incumbent.schedule is None else incumbent.values[0]
    if known is not None:
        for bound in machine_bounds(rules.problem, rules, None, known.value, target, until):
            incumbent.add_bounds([bound])


def _assign(
    placer: Placer,
    registry: Registry,
    options: SearchOptions,
    incumbent: Incumbent,
    until: float,
) -> None:
    """Let an upper model assign and list schedules time it, where its size allows."""
    solver = exact.solver_for(registry, options)
    if solver is None or incumbent.schedule is None or not is_makespan(placer.problem):
        return
    if can_assign(placer.rules, solver, incumbent.schedule.makespan):
        incumbent.tell("assignment")
        for candidate in bilevel(placer, solver, options, incumbent, until):
            incumbent.offer(Finisher(placer).finish(candidate), f"assignment by {solver.name}")


def _share(deadline: float, part: float) -> float:
    """Return the instant at which a part of the time that is left will be over."""
    now = time.monotonic()
    return now + part * max(deadline - now, 0.0)


def _fill(
    placer: Placer,
    candidates: list[Candidate],
    options: SearchOptions,
    incumbent: Incumbent,
    until: float,
) -> None:
    """Put the weight passes of the best candidates anew."""
    target = _target(placer.rules, incumbent, options)
    few = tuple(c for c in candidates if len(c.prepared.network) <= FILLED_ACTIVITIES)
    for candidate in with_weights_filled(few, until, target):
        candidates.append(candidate)
        incumbent.offer(Finisher(placer).finish(candidate), "weight passes")


def _improve(
    placer: Placer,
    candidates: list[Candidate],
    registry: Registry,
    options: SearchOptions,
    incumbent: Incumbent,
    deadline: float,
) -> None:
    """Search placements and rules near the best candidates; the better ones join them."""
    if time.monotonic() >= deadline:
        return
    target = _target(placer.rules, incumbent, options)

    for ruled in under_rules(placer, candidates, deadline):
        candidates.append(ruled)
        incumbent.offer(Finisher(placer).finish(ruled), "rules on a hand-made placement")

    def run(crew: Executor | None) -> None:
        starts = [c for c in candidates if c.rule is not None] or list(candidates)
        for candidate in improved_by_team(
            placer, starts, crew, options.workers, deadline, options.seed, target
        ):
            candidates.append(candidate)
            incumbent.offer(Finisher(placer).finish(candidate), "local search")

    _with_workers("local search", registry, options, incumbent, run)


def _sequence(
    placer: Placer,
    candidates: list[Candidate],
    registry: Registry,
    options: SearchOptions,
    incumbent: Incumbent,
    deadline: float,
) -> None:
    """Search the sequences of the best candidates' placements."""
    if time.monotonic() >= deadline:
        return
    target = _target(placer.rules, incumbent, options)

    def run(crew: Executor | None) -> None:
        for candidate in searched_by_sequences(
            placer, candidates, crew, options.workers, deadline, options.seed, target
        ):
            candidates.append(candidate)
            incumbent.offer(Finisher(placer).finish(candidate), "sequence search")

    _with_workers("sequence search", registry, options, incumbent, run)


def _decide(
    placer: Placer,
    candidates: Sequence[Candidate],
    registry: Registry,
    options: SearchOptions,
    incumbent: Incumbent,
    deadline: float,
) -> None:
    """Decide makespans between the bound and the best schedule of a problem's only placement."""
    problem, rules = placer.problem, placer.rules
    if not (placer.is_fixed and can_decide(problem) and incumbent.gap > options.gap):
        return
    assignment = candidates[0].prepared.coarse.fine_assignment
    network = build_network(problem, rules, assignment)
    narrowing = Narrowing(network, rules, incumbent, options.gap, options.workers)

    def run(crew: Executor | None) -> None:
        narrowing.run(crew, deadline)

    _with_workers("decided makespans", registry, options, incumbent, run)


def _by_scenarios(
    placer: Placer,
    candidates: Sequence[Candidate],
    criterion: ScenarioCriterion,
    options: SearchOptions,
    incumbent: Incumbent,
    deadline: float,
) -> None:
    """Compare all good candidates by the objective, and change the orders of the best by it."""
    incumbent.tell("scenario search")
    finisher = Finisher(placer)
    ranked: list[tuple[float, Candidate]] = []
    for candidate in nearly_shortest(candidates):
        schedule = finisher.finish(candidate)
        incumbent.offer(schedule, "comparison by scenarios")
        ranked.append((criterion.value(schedule, placer.rules), candidate))
        if time.monotonic() > deadline:
            break
    best = [c for _, c in sorted(ranked, key=lambda row: row[0])]
    for candidate in improved_by_scenarios(placer, best, criterion, deadline, options.seed):
        incumbent.offer(finisher.finish(candidate), "scenario search")


def _with_workers(
    stage: str,
    registry: Registry,
    options: SearchOptions,
    incumbent: Incumbent,
    run: Callable[[Executor | None], None],
) -> None:
    """Run a stage on as many workers as there may be; without any where they fail."""
    factory = registry.executors.get("processes")
    executor = factory.value.create(options.workers) if factory and options.workers > 1 else None
    incumbent.tell(stage)
    if executor is not None:
        try:
            run(executor)
        except Exception as error:  # noqa: BLE001  # a worker died, or a plugin cannot be sent
            message = f"workers failed ({type(error).__name__}: {error}); goes on without them"
            incumbent.fail(stage, message)
        else:
            return
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
    run(None)


def _baselines(
    placer: Placer,
    incumbent: Incumbent,
    candidates: list[Candidate],
    made: Iterable[Baseline],
    deadline: float,
    notes: dict[str, Any],
) -> None:
    bound = incumbent.bound
    comparable = is_makespan(placer.problem)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for baseline in made:
        if time.monotonic() > deadline:
            return
        value = bound.value if bound is not None and comparable else None
        as_made = baseline.expand()
        own = not baseline.is_variant
        if baseline.candidate is not None and as_made is not None and own:
            candidates.append(baseline.candidate)
            found_by = f"{baseline.name} on the {baseline.split} split"
            incumbent.offer(Finisher(placer).finish(baseline.candidate), found_by)
            incumbent.offer(as_made, found_by)  # what is earlier may be worse by other objectives
        row = baseline_row(baseline, as_made, value if own else None)
        rows[row["name"], row["split"]] = row
        notes["baselines"] = list(rows.values())


def is_makespan(problem: Problem) -> bool:
    """Return whether the first objective is the makespan."""
    return problem.objectives[0].name == "makespan"


def first_bounds(problem: Problem, rules: Rules) -> list[Bound]:
    """Return the combinatorial bounds on the first objective.

    If that is a statistic over scenarios, they hold for planned times alone, and say so.
    """
    if is_makespan(problem):
        return list(combinatorial_bounds(problem, rules))
    if rules.objectives[0].criterion() is not None:
        return [attrs.evolve(b, scope=AS_PLANNED) for b in combinatorial_bounds(problem, rules)]
    objective = rules.objectives[0]
    value = objective.bound(problem)
    found = [] if value is None else [Bound(value, source=f"{objective.name} bound")]
    if objective.follows is Criterion.LONGEST_SPAN:
        for source, ticks in span_bounds(problem, rules):
            found.append(Bound(objective.from_figure(problem, ticks), source=source))
    return found


def _target(rules: Rules, incumbent: Incumbent, options: SearchOptions) -> int:
    """Return the figure in ticks at which the gap asked for is reached."""
    objective = rules.objectives[0]
    scope = AS_PLANNED if objective.follows is None else "problem"
    known = [b.value for b in incumbent.bounds if b.scope == scope]
    figures = (objective.to_figure(rules.problem, value) for value in known)
    return int(max(figures, default=0.0) / (1 - options.gap) + 0.5)


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


def _plan(
    problem: Problem,
    rules: Rules,
    options: SearchOptions,
    engine: exact.Engine,
    incumbent: Incumbent,
    notes: Mapping[str, Any],
) -> Plan:
    assert incumbent.schedule is not None  # search() raised otherwise
    names = [rule.name for rule in problem.objectives]
    rounding = rounding_report(problem)
    return Plan(
        problem=problem,
        schedule=incumbent.schedule,
        objectives=dict(zip(names, incumbent.values, strict=True)),
        bound=incumbent.bound,
        status="optimal" if incumbent.gap == 0 else "feasible",
        solver=incumbent.found_by,
        provenance={
            **notes,
            "engine": engine.description,
            "seconds": incumbent.seconds,
            "options": {
                "solver": options.solver,
                "time_limit_s": options.time_limit_s,
                "gap": options.gap,
                "workers": options.workers,
                "seed": options.seed,
            },
            "failures": [{"stage": stage, "message": text} for stage, text in incumbent.failures],
            "history": [list(row) for row in incumbent.history],
            "rejected": incumbent.rejections(),
            "bounds": [
                {"source": b.source, "value": b.value, "scope": b.scope, "claimed": b.claimed}
                for b in incumbent.bounds
            ],
            "rounding": {"tick_s": rounding.tick_s, "makespan_part": rounding.makespan_part},
            "versions": _versions(),
        },
    )


def _versions() -> dict[str, str]:
    found = {"parplan": parplan.__version__, "python": platform.python_version()}
    for name in ("pyomo", "ortools", "highspy", "numba", "numpy", "networkx"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
