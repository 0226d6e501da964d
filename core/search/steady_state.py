"""The search where the first objective is a steady state: loads alone, whatever the order in time.

Operators are divided among devices; a schedule of each division is needed only to show that there
is one.
"""

from __future__ import annotations

from concurrent.futures import Executor

from parplan.search.improving.heuristics import first_candidates, scheduled_somehow
from parplan.search.objective_bounds import first_bounds
from parplan.search.partitioning.instance import Instance, make_instance
from parplan.search.partitioning.partitions import partitions
from parplan.search.partitioning.starts import starting_partitions
from parplan.search.run import Run
from parplan.steady_state import Loading

STARTING_SHARE = 0.1
"""Part of the time limit in which lines of items are cut, at most."""


def divide(run: Run, loading: Loading) -> None:
    """Divide blocks among devices so that the busiest engine or link has least to do."""
    with run.contained("bounds", optional=True):
        run.incumbent.add_bounds(first_bounds(run.problem, run.rules))
    with run.contained("partition", optional=True):
        instance = make_instance(run.placer, loading)
        if instance is not None:
            _search_partitions(run, instance)
    if run.incumbent.schedule is None:
        with run.contained("first schedules"):
            for name, candidate in first_candidates(run.placer, run.deadline):
                run.take(candidate, name)


def _search_partitions(run: Run, instance: Instance) -> None:
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
            run.deadline,
            options.seed,
            target=least / (1 - options.gap),
        ):
            row = tuple(found.tolist())
            candidate = scheduled_somehow(run.placer, (row,) * len(run.placer.groups))
            if candidate is None:
                run.incumbent.fail("partition", "a partition was dropped: it has no schedule")
            else:
                run.take(candidate, "partition")

    run.with_workers("partition", work)
