"""The search where the first objective is a steady state: loads alone, whatever the order in time.

Operators are divided among devices; a schedule of each division is needed only to show that there
is one.
"""

from __future__ import annotations

import math
from concurrent.futures import Executor

from parplan import clock
from parplan.contracts import Answer, Capability, SolveOptions, Solver, Termination
from parplan.errors import SolverError
from parplan.model.clock import Clock, Rounding
from parplan.model.granule import granule, model_tick
from parplan.plans import Bound
from parplan.search.exact import solver_for
from parplan.search.improving.heuristics import first_candidates
from parplan.search.improving.improvement import best_candidate, rule_portfolio
from parplan.search.objective_bounds import first_bounds
from parplan.search.partitioning.candidates import candidate_of
from parplan.search.partitioning.instance import Instance, make_instance
from parplan.search.partitioning.partitions import partitions
from parplan.search.partitioning.starts import starting_partitions
from parplan.search.placing.evaluation import prepare_assignment
from parplan.search.run import Run
from parplan.search.steps import find_stages_on_groups
from parplan.steady_state import Loading

STARTING_SHARE = 0.1
"""Part of the time limit in which lines of items are cut, at most."""

PARTITION_SHARE = 0.5
"""Part of the time left for annealing, at most, where a solver has the rest."""

CHOICES_PER_SECOND = 30
"""Items times devices that are worth a second of annealing before a solver."""

MOST_CHOICES = 6_000
"""Alternatives to choose from, in all, up to which a solver may prove something."""


def divide(run: Run, loading: Loading) -> None:
    """Divide blocks among devices so that the busiest engine or link has least to do."""
    with run.contained("bounds", optional=True):
        run.incumbent.add_bounds(first_bounds(run.problem, run.rules))
    solver = solver_for(run.registry, run.options)
    proving = solver is not None and _choices(run) <= MOST_CHOICES
    with run.contained("stages on groups of devices", optional=True):
        find_stages_on_groups(run, run.part_of_limit(STARTING_SHARE))
    with run.contained("partition", optional=True):
        instance = make_instance(run.placer, loading)
        if instance is not None:
            until = run.deadline
            if proving:
                seconds = instance.allowed.size / CHOICES_PER_SECOND
                until = min(run.part_of_rest(PARTITION_SHARE), clock.now() + seconds)
            _search_partitions(run, instance, until)
    if run.incumbent.schedule is None:
        with run.contained("first schedules"):
            for name, candidate in first_candidates(run.placer, run.deadline):
                run.take(candidate, name)
    if solver is not None and proving and run.is_open:
        with run.contained(solver.name):
            _solve(run, loading, solver)


def _choices(run: Run) -> int:
    """Return how many alternatives there are to choose from, in all."""
    return sum(len(rows) for by_group in run.rules.allowed_by_group for rows in by_group)


def _search_partitions(run: Run, instance: Instance, until: float) -> None:
    """Take better and better partitions."""
    options, bound = run.options, run.incumbent.bound
    least = 0.0 if bound is None else bound.value / run.problem.tick_s
    starts = starting_partitions(instance, run.part_of_limit(STARTING_SHARE), options.seed)

    def work(crew: Executor | None) -> None:
        for found in partitions(
            instance,
            starts,
            crew,
            options.workers,
            until,
            options.seed,
            target=least / (1 - options.gap),
        ):
            candidate = candidate_of(run.placer, found)
            if candidate is None:
                run.incumbent.fail("partition", "a partition was dropped: it has no schedule")
            else:
                run.take(candidate, "partition")

    run.with_workers("partition", work)


def _solve(run: Run, loading: Loading, solver: Solver) -> None:
    """Let a solver find a better assignment, or prove that there is none."""
    from parplan.model.loads import load_unit
    from parplan.model.partition_model import PartitionModel  # loads Pyomo: takes a second

    problem, incumbent = run.problem, run.incumbent
    unit_s = problem.tick_s / load_unit(problem) / problem.workload.microbatches
    best = round(incumbent.values[0] / unit_s) if incumbent.values else None
    tick = model_tick(granule(run.rules), solver.capabilities, best or 0)
    model = PartitionModel(run.rules, loading, Clock(tick, Rounding.DOWN))
    start = None
    if best is not None and incumbent.schedule is not None:
        model.limit(best // tick)
        if Capability.WARM_START in solver.capabilities:
            start = model.warm_start(incumbent.schedule)
    incumbent.tell(solver.name)
    limits = SolveOptions(
        max(run.deadline - clock.now(), 0.05),
        run.options.gap,
        run.options.workers,
        run.options.seed,
    )
    answer = solver.solve(model.pyomo, limits, start)
    if answer.termination in (Termination.REFUSED, Termination.FAILED):
        raise SolverError(answer.message or "failed", solver=solver.name)
    if answer.values:
        prepared = prepare_assignment(run.placer, model.extract(answer.values))
        candidate = best_candidate(prepared, rule_portfolio())
        if candidate is not None:
            run.take(candidate, solver.name)
    proven = _proven(answer, tick)
    if proven is not None:
        least = proven if best is None else min(proven, best)
        source = f"loads by {answer.solver} {answer.version}".strip()
        incumbent.add_bounds([Bound(least * unit_s, "problem", source, claimed=True)])
    if answer.termination is Termination.INTERRUPTED:
        raise KeyboardInterrupt


def _proven(answer: Answer, tick: int) -> float | None:
    """Return the load that none is below, in parts of a tick; infinite if there is none at all."""
    if answer.termination is Termination.INFEASIBLE:
        return math.inf
    bound = answer.objective if answer.termination is Termination.OPTIMAL else answer.bound
    if bound is None or not math.isfinite(bound):
        return None
    return math.ceil(bound - 1e-6) * tick
