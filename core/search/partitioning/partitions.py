"""Good partitions of a problem: splits of its order, then rounds of annealing from the best."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor

from attrs import frozen

from parplan import clock
from parplan.scheduling.tables import Whole
from parplan.search.partitioning.annealing import annealed, load_of
from parplan.search.partitioning.instance import Instance
from parplan.system.interrupts import held_interrupts

LEAST_ROUND_S = 5.0
"""Seconds of a round, at least. Each has half of the time left: the slower a partition cools down,
the better it gets, and what it found is shared then."""

WARM = 0.1
"""Heat of a run that goes on from what others found."""

EQUAL = 1e-9
"""Loads this close, relatively, are equal."""


@frozen(eq=False)
class Task:
    """One run of a round, for any process, whose clock need not be the same."""

    instance: Instance
    start: Whole
    seconds: float
    seed: int
    target: float
    heat: float

    def run(self) -> tuple[float, Whole]:
        """Return the load that annealing reaches, and its partition."""
        found = annealed(
            self.instance,
            self.start,
            self.seconds,
            self.seed,
            target=self.target,
            heat=self.heat,
        )
        return found.load, found.device_of


def partitions(
    instance: Instance,
    starts: list[Whole],
    executor: Executor | None,
    workers: int,
    until: float,
    seed: int,
    *,
    target: float = 0.0,
) -> Iterator[Whole]:
    """Yield better and better partitions until an instant, or until one meets the target.

    Parameters
    ----------
    starts
        Partitions to start from, at least one; contiguous, where the instance says so.
    executor
        Where runs go; None runs them here, one after the other.
    workers
        Runs at the same time.
    until
        On ``parplan.clock``.
    target
        A load in ticks per microbatch that ends the search.
    """
    ranked = sorted(((load_of(instance, start), i) for i, start in enumerate(starts)))
    crew = [(load, starts[i]) for load, i in ranked]
    best, turn = float("inf"), 0
    annealed(instance, crew[0][1], 0.0, seed)  # compiles the code before workers are forked
    if crew[0][0] < best:
        best = crew[0][0]
        yield crew[0][1]
    while best > target * (1 + EQUAL) and (left := until - clock.now()) > 0.05:
        seconds = left if left < 2 * LEAST_ROUND_S else max(left / 2, LEAST_ROUND_S)
        share = seconds if executor is not None else seconds / workers
        tasks = []
        for number in range(turn, turn + workers):
            # Every other run begins anew from a start; the others go on from the best.
            fresh = number % 2 == 0
            start = starts[number // 2 % len(starts)] if fresh else crew[0][1]
            heat = 1.0 if fresh else WARM
            tasks.append(Task(instance, start, share, seed + number, target, heat))
        turn += workers
        crew = sorted([*crew[:1], *_done(tasks, executor)], key=lambda row: row[0])
        if crew[0][0] < best * (1 - EQUAL):
            best = crew[0][0]
            yield crew[0][1]


def _done(tasks: list[Task], executor: Executor | None) -> list[tuple[float, Whole]]:
    if executor is None:
        return [task.run() for task in tasks]
    with held_interrupts():  # the first submissions fork the workers
        futures = [executor.submit(task.run) for task in tasks]
    return [future.result() for future in futures]
