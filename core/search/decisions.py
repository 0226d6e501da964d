"""Makespans between the bound and the best schedule, decided one after the other.

A question is one makespan under one assignment, or under any; any process can answer it. What is
refuted becomes a bound, what is found a schedule; what is neither within its time leads to the next
makespan. Where modes are open, what is decided for all of them together takes the least time and
memory of each operator: its starts are a schedule in the fastest modes, if in any, and what they
cannot keep is decided under other modes, one assignment after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from importlib.util import find_spec

from attrs import define, field, frozen

from parplan import clock
from parplan.errors import InfeasibleError
from parplan.problem import Problem
from parplan.rules import Rules
from parplan.schedule import Schedule
from parplan.scheduling.coupling import check_modes
from parplan.scheduling.network import Assignment, Network
from parplan.search.bounds import decide_makespan
from parplan.search.bounds.deciding import Verdict
from parplan.search.incumbent import Incumbent
from parplan.search.placing.evaluation import Candidate, tighten
from parplan.search.placing.placement import Placer
from parplan.search.placing.savings import fastest_ways
from parplan.system.interrupts import held_interrupts

MOST_TASKS = 4_000
"""Largest problem, in tasks, whose makespans are decided."""

PARTS = (1 / 16, 1 / 4, 1 / 2)
"""Where between the bound and the best schedule makespans are tried: near the bound the windows
are narrow, so there schedules are found or refuted first."""

FIRST_S = 10.0
"""Seconds for each of the first makespans; twice as many once all parts are left open."""

OVERTIME_S = 1.0
"""Seconds after the deadline in which answers are awaited."""

HOPELESS = 0.5
"""Part of its time that an attempt must have used for more time to be of any use."""

MOST_BY_THEMSELVES = 4
"""Assignments whose makespans are decided by themselves, where modes are open."""


@frozen(eq=False)
class Question:
    """Whether a schedule is at most ``makespan`` seconds long, under an assignment if given."""

    problem: Problem
    rules: Rules
    assignment: Assignment | None
    makespan: float
    seconds: float


@frozen(eq=False)
class Finding:
    """A verdict, and the seconds that it took."""

    verdict: Verdict
    seconds: float


def answer(question: Question) -> Finding:
    """Answer a question; runs in any process."""
    begun = clock.now()
    verdict = decide_makespan(
        question.problem,
        question.rules,
        question.assignment,
        question.makespan,
        begun + question.seconds,
    )
    return Finding(verdict, clock.now() - begun)


def can_decide(problem: Problem) -> bool:
    """Return whether makespans of a problem are decided: its size allows it, and ortools is there.

    Bounds and schedules are of makespans only. Deciding gains by microbatches that are alike; where
    there is one alone, a solver does as well with the problem as it is.
    """
    small = problem.task_count <= MOST_TASKS and problem.workload.microbatches > 1
    return small and problem.objectives[0].name == "makespan" and find_spec("ortools") is not None


def assignments_to_decide(placer: Placer, candidates: Sequence[Candidate]) -> list[Assignment]:
    """Return the assignments in which schedules of a problem placed in one way are looked for.

    The first is for what is decided of the problem: the fastest modes that go together, where modes
    are open. The others are those of the best candidates, each to be decided by itself.
    """
    ranked = sorted(candidates, key=lambda candidate: candidate.figure)
    made = [candidate.prepared.coarse.fine_assignment for candidate in ranked]
    if not placer.coupled:
        return made[:1]
    fastest = placer.assignment(placer.only_placement, fastest_ways(placer.problem, placer.coupled))
    different = [a for i, a in enumerate(made) if a not in made[:i]][:MOST_BY_THEMSELVES]
    try:
        check_modes(placer.problem, fastest, placer.fragile)
    except InfeasibleError:
        return [*different[:1], *different]
    return [fastest, *different]


@define(eq=False)
class Narrowing:
    """Narrows the gap between the bound and the best schedule of a problem placed in one way.

    Attributes
    ----------
    network
        The tasks and transfers of the only placement, in the modes that schedules are built in.
    gap
        Relative gap at which it is done.
    workers
        Questions answered at the same time, where there is an executor.
    assignment
        That of the network, where other modes may be better: then what is refuted for it bounds
        the problem no longer. None if decisions are of the problem.
    """

    network: Network
    rules: Rules
    incumbent: Incumbent
    gap: float
    workers: int = 1
    assignment: Assignment | None = None
    _refuted: float = field(default=0.0, init=False)
    _seconds: float = field(default=FIRST_S, init=False)
    _part: int = field(default=0, init=False)
    _hopeless: bool = field(default=False, init=False)

    def question(self, left: float, asked: int = 0) -> Question | None:
        """Return what to decide next within the seconds that are left; None if nothing.

        Parameters
        ----------
        asked
            Questions whose answers are still awaited.
        """
        bound, tick = self.incumbent.bound, self.rules.problem.tick_s
        if self._hopeless or left < 1.0 or bound is None or self.incumbent.gap <= self.gap:
            return None
        low, high = max(bound.value, self._refuted), self.incumbent.values[0]
        part = PARTS[(self._part + asked) % len(PARTS)]
        makespan = min(low + part * (high - low), high - tick)
        if makespan < low - 0.5 * tick:
            return None
        seconds = min(self._seconds, left)
        return Question(self.rules.problem, self.rules, self.assignment, makespan, seconds)

    def take(self, question: Question, found: Finding) -> None:
        """Take note of what became known."""
        verdict = found.verdict
        if verdict.bound is not None and self.assignment is not None:
            self._refuted = max(self._refuted, verdict.bound.value)
        elif verdict.bound is not None:
            self.incumbent.add_bounds([verdict.bound])
        elif verdict.starts is not None:
            self.incumbent.offer(self._schedule(verdict.starts), "decided makespans")
            # A better schedule that was not taken is forbidden by rules that are not decided, or
            # its modes do not go together.
            most = question.makespan + 0.5 * self.rules.problem.tick_s
            self._hopeless = self.incumbent.values[0] > most
        else:
            self._hopeless = found.seconds < HOPELESS * question.seconds
            self._part = (self._part + 1) % len(PARTS)
            self._seconds *= 2 if self._part == 0 else 1
            return
        self._part = 0

    def run(self, executor: Executor | None, deadline: float) -> None:
        """Ask and take until the deadline, or until nothing is left to ask.

        Parameters
        ----------
        executor
            Where questions are answered, several at the same time; None answers them here.
        """
        if executor is None:
            while (question := self.question(deadline - clock.now())) is not None:
                self.take(question, answer(question))
            return
        asked: dict[Future[Finding], Question] = {}
        while True:
            while len(asked) < self.workers:
                following = self.question(deadline - clock.now(), len(asked))
                if following is None:
                    break
                with held_interrupts():  # the first submissions fork the workers
                    asked[executor.submit(answer, following)] = following
            if not asked:
                return
            left = max(deadline - clock.now(), 0.0) + OVERTIME_S
            answered = wait(asked, left, return_when=FIRST_COMPLETED).done
            if not answered:
                return  # the executor is shut down, whatever still runs there
            for future in answered:
                self.take(asked.pop(future), future.result())

    def _schedule(self, starts: Mapping[tuple[int, int], int]) -> Schedule:
        """Return the schedule with the orders of these starts; transfers leave at once."""
        network = self.network
        times = [starts[task] for task in network.tasks]
        producers = network.problem.graph.producers
        for tensor, microbatch, _, _ in network.transfers:
            task = network.task_index[producers[tensor], microbatch]
            times.append(times[task] + network.durations[task])
        return network.schedule(tighten(network, times))
