"""Several solvers as one: they race in processes of their own, under one incumbent and one bound.

The likely fastest starts alone, with all the workers there are: most races are over by then, and
no other process has been started. The others follow once the head start is over, or the first is,
and take what it leaves of the processors.

Whatever a racer says is judged here: values must be a solution of the model, and claims must not
contradict each other. A racer that lies, fails or dies is left out, which is told, and the others
go on. The race ends as soon as one has a proof that nothing contradicts, or the best bound of any
meets the best solution of any.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from typing import Any, ClassVar

from attrs import define, evolve, field

from parplan.contracts import (
    Answer,
    Availability,
    Capability,
    Progress,
    Report,
    SolveOptions,
    Solver,
    Termination,
)
from parplan.registry import Registry
from parplan.system.contained import GRACE_S, POLL_S, Channel, Outcome, Running

NAME = "portfolio"

USUAL = ("cp-sat", "highs", "scip", "cbc")
"""Those that race where no names are given, as far as they are installed."""

EQUAL = 1e-6
"""Objectives and bounds this close, relatively, are equal."""

SECOND_OPINION = 0.2
"""Part of the time so far that others have to refute a claim that there is no solution."""

LEAST_OPINION_S = 1.0
"""Seconds that they have at least: they may not have begun before the claim."""

HEAD_START_S = 1.0
"""Least seconds in which the first racer is alone: about what the start of another one costs, which
loads its solver and states the model in rows of its own."""

START_S_PER_TERM = 1e-3
"""Seconds that the start of another one costs more for each term of intervals in the model: they
become rows for each pair of what must not overlap."""

NICENESS = 10
"""How much less the others count than the first one where there are too few processors: all of
three together cost two threads of it a seventh."""

NOTICE_S = 0.5
"""Seconds that a racer has to end its own processes once the race is over."""

MOST_MIP_TICKS = 20_000
"""Longest makespan in model ticks for solvers that know no intervals, where one that does races."""


class Portfolio(Solver):
    """Races solvers; the first one that the model suits has priority where processors are short."""

    name: ClassVar[str] = NAME

    def __init__(self, racers: Sequence[Solver]) -> None:
        self.racers = tuple(racers)

    @property
    def capabilities(self) -> frozenset[Capability]:  # type: ignore[override]  # of its racers
        """What any of the racers can take or give."""
        return frozenset().union(*(racer.capabilities for racer in self.racers))

    def probe(self) -> Availability:
        """Try the racers one after the other until one can run; the rest show in the race.

        MIP solvers come first: they load in a fraction of the time.
        """
        reasons = []
        for racer in sorted(self.racers, key=knows_intervals):
            found = racer.probe()
            if found.available:
                return Availability(True, ", ".join(r.name for r in self.racers))
            reasons.append(f"{racer.name}: {found.reason}")
        return Availability(False, reason="; ".join(reasons))

    def solve(
        self,
        model: Any,
        options: SolveOptions,
        warm_start: Mapping[str, float] | None = None,
        report: Report | None = None,
    ) -> Answer:
        """Return the best of what the racers say; ``report`` hears of each that is left out."""
        terms = _count_terms(model)
        fit = [racer for racer in self.racers if self._fits(racer, model)]
        fit.sort(key=lambda racer: knows_intervals(racer) is not (terms > 0))
        head_start_s = HEAD_START_S + START_S_PER_TERM * terms
        race = _Race(model, options, warm_start, report, fit, head_start_s)
        try:
            race.begin()
            while not race.is_over():
                wait(race.ends(), race.patience())
        except KeyboardInterrupt:
            race.interrupted = True
        finally:
            race.stop()
        return race.answer()

    def _fits(self, racer: Solver, model: Any) -> bool:
        """Return whether a model's times are not too fine for a racer, beside those it is for."""
        makespan = model.component("makespan")
        if knows_intervals(racer) or not knows_intervals(self):
            return True
        return makespan is None or (makespan.ub or 0) <= MOST_MIP_TICKS


def racers_of(solver: Solver) -> tuple[Solver, ...]:
    """Return the solvers that race in a portfolio; of any other solver, that one alone."""
    return solver.racers if isinstance(solver, Portfolio) else (solver,)


def knows_intervals(solver: Solver) -> bool:
    """Return whether a solver takes intervals as they are; others get rows for pairs of them."""
    return Capability.CP in solver.capabilities


def named_solver(registry: Registry, name: str, *, key: str | None = None) -> Solver:
    """Return a solver by its name; several names with commas between, or "portfolio", race.

    Raises
    ------
    InputError
        If there is none of a name, with those that are installed.
    """
    if name == NAME and name not in registry.solvers:
        return Portfolio([registry.solvers[n].value for n in USUAL if n in registry.solvers])
    names = list(dict.fromkeys(part.strip() for part in name.split(",")))
    for each in names:
        registry.get("solvers", each, key=key)
    found = [registry.solvers[each].value for each in names]
    return found[0] if len(found) == 1 else Portfolio(found)


def _count_terms(model: Any) -> int:
    """Return how many terms of intervals are recorded on a model."""
    from parplan.model.terms import recorded  # what loads Pyomo has done so: there is a model

    return sum(1 for _ in recorded(model))


def _run_racer(
    channel: Channel,
    racer: Solver,
    model: Any,
    options: SolveOptions,
    warm_start: Mapping[str, float] | None,
    niceness: int,
) -> Answer:
    """Return a racer's answer; runs in a process of its own."""
    # A racer may have processes of its own: it ends them where an exception unwinds it.
    signal.signal(signal.SIGTERM, _unwind)
    os.nice(niceness)
    return racer.solve(model, options, warm_start, channel.progress)


def _unwind(*_: object) -> None:
    raise SystemExit


@define(eq=False)
class _Race:
    """Where a race stands.

    Attributes
    ----------
    waiting
        Racers that have not begun.
    head_start_s
        Seconds in which the first of them is alone.
    best
        The best solution that was verified, with its true objective.
    bounds
        What each racer claims that no solution undercuts (or exceeds, when maximising).
    """

    model: Any
    options: SolveOptions
    warm_start: Mapping[str, float] | None
    report: Report | None
    waiting: list[Solver]
    head_start_s: float
    begun: float = field(factory=time.monotonic)
    running: dict[str, Running[Answer]] = field(factory=dict)
    left_out: dict[str, str] = field(factory=dict)
    refused: set[str] = field(factory=set)
    best: Answer | None = None
    bounds: dict[str, float] = field(factory=dict)
    no_solution: dict[str, float] = field(factory=dict)
    versions: dict[str, str] = field(factory=dict)
    ended: Termination | None = None
    interrupted: bool = False

    def begin(self) -> None:
        """Start the first racer."""
        if self.waiting:
            self._enter(self.waiting.pop(0), self.options.workers, niceness=0)

    def _let_follow(self) -> None:
        """Start the others once the first one's time alone is over."""
        alone = self.running and not self.no_solution
        if alone and time.monotonic() - self.begun < self.head_start_s:
            return
        share = max(self.options.workers // (len(self.waiting) + 1), 1)
        while self.waiting:
            self._enter(self.waiting.pop(0), share, NICENESS)

    def _enter(self, racer: Solver, workers: int, niceness: int) -> None:
        """Start a racer, for the time that is left."""
        left = max(self.options.time_limit_s - (time.monotonic() - self.begun), 0.0)
        options = evolve(self.options, workers=workers, time_limit_s=left)
        arguments = (racer, self.model, options, self.warm_start, niceness)
        name = racer.name
        running = Running(
            _run_racer, arguments, name, left, lambda news: self._hear(name, news), 2 * GRACE_S
        )
        self.running[name] = running
        running.start()

    def ends(self) -> list[Any]:
        """Return what to wait for."""
        return [end for running in self.running.values() for end in running.ends]

    def patience(self) -> float:
        """Return the seconds to wait at most."""
        if self.waiting:
            return max(min(POLL_S, self.begun + self.head_start_s - time.monotonic()), 0.0)
        return LEAST_OPINION_S / 10 if self.no_solution else POLL_S

    def is_over(self) -> bool:
        """Take what racers have said; return whether the race is over."""
        for name in [name for name, running in self.running.items() if running.advance()]:
            running = self.running.pop(name)
            running.stop(NOTICE_S)
            self._take(name, running.outcome())
        if self.ended is None and self._meets():
            self.ended = Termination.OPTIMAL
        if self.ended is None and self.waiting:
            self._let_follow()
        if self.ended is None and self.no_solution:
            now, first = time.monotonic(), min(self.no_solution.values())
            late = now - first > max(SECOND_OPINION * (first - self.begun), LEAST_OPINION_S)
            if late or len(self.no_solution) > 1 or not self.running:
                self.ended = Termination.INFEASIBLE
        return self.ended is not None or not self.running

    def stop(self) -> None:
        """End all that still run."""
        for running in self.running.values():
            running.stop(NOTICE_S)

    # -- what racers say -----------------------------------------------------------------------

    def _hear(self, name: str, news: Progress) -> None:
        """Take news of a racer under way."""
        if name in self.left_out:
            return
        if news.values:
            self._offer(name, Answer(Termination.TIME_LIMIT, name, values=news.values))
        if news.bound is not None:
            self._claim(name, news.bound)
        if self.report is not None:
            objective = None if self.best is None else self.best.objective
            self.report(evolve(news, stage=name, incumbent=objective, bound=self._bound()))

    def _take(self, name: str, outcome: Outcome[Answer]) -> None:
        """Take the last word of a racer."""
        answer = outcome.value
        if answer is None:
            self._leave_out(name, outcome.failure or "left no answer")
            return
        self.versions[name] = answer.version
        if answer.termination in (Termination.REFUSED, Termination.FAILED):
            if answer.termination is Termination.REFUSED:
                self.refused.add(name)
            self._leave_out(name, answer.message or str(answer.termination))
        elif answer.termination is Termination.INFEASIBLE:
            if self.best is not None:
                reason = f"claims that there is no solution, and {self.best.solver} has one"
                self._leave_out(name, reason)
            else:
                self.no_solution[name] = time.monotonic()
        if answer.values and name not in self.left_out:
            self._offer(name, answer)
        optimal = answer.termination is Termination.OPTIMAL
        exact = optimal and (self.options.gap == 0 or answer.bound is None)
        bound = answer.objective if exact else answer.bound
        if bound is not None and name not in self.left_out:
            self._claim(name, bound)
        best = None if self.best is None else self.best.objective
        if optimal and name not in self.left_out and best is not None and answer.values:
            self.ended = Termination.OPTIMAL

    def _offer(self, name: str, answer: Answer) -> None:
        """Take a solution if it is one; who claims another objective than it has is left out."""
        from parplan.model.verifying import verify  # loads Pyomo

        verdict = verify(self.model, answer.values)
        if verdict.broken:
            self._leave_out(name, f"its answer is no solution: {verdict.broken}")
            return
        mine, claimed = verdict.objective, answer.objective
        if claimed is not None and mine is not None and not _equal(claimed, mine):
            self._leave_out(name, f"claims an objective of {claimed:g} where it is {mine:g}")
            return
        if self.best is None or self._is_better(mine, self.best.objective):
            self.best = evolve(answer, objective=mine)
            for liar in [n for n in self.no_solution if n != name]:
                del self.no_solution[liar]
                self._leave_out(liar, f"claims that there is no solution, and {name} has one")
            for other, bound in list(self.bounds.items()):
                self._claim(other, bound)

    def _claim(self, name: str, bound: float) -> None:
        """Take a bound of a racer, unless a solution refutes it."""
        if not math.isfinite(bound):
            return
        objective = None if self.best is None else self.best.objective
        if objective is not None and self._is_better(objective, bound):
            self._leave_out(name, f"its bound of {bound:g} is refuted by {objective:g}")
            return
        self.bounds[name] = bound

    def _leave_out(self, name: str, reason: str) -> None:
        self.left_out[name] = reason
        self.bounds.pop(name, None)
        if self.report is not None:
            seconds = time.monotonic() - self.begun
            self.report(Progress(name, seconds, message=f"left out of the portfolio: {reason}"))

    # -- where it stands -----------------------------------------------------------------------

    @property
    def _maximizes(self) -> bool:
        import pyomo.environ as pyo

        objective = next(self.model.component_data_objects(pyo.Objective, active=True), None)
        return objective is not None and objective.sense == pyo.maximize

    def _is_better(self, one: float | None, other: float | None) -> bool:
        if one is None or other is None or _equal(one, other):
            return False
        return one > other if self._maximizes else one < other

    def _bound(self) -> float | None:
        """Return the best bound that any racer claims."""
        return (min if self._maximizes else max)(self.bounds.values(), default=None)

    def _meets(self) -> bool:
        """Return whether the best solution is within the gap of the best bound."""
        bound = self._bound()
        if self.best is None or self.best.objective is None or bound is None:
            return False
        objective = self.best.objective
        return abs(objective - bound) <= max(self.options.gap, 1e-9) * max(abs(objective), 1e-9)

    def answer(self) -> Answer:
        """Return what the race has come to."""
        seconds = time.monotonic() - self.begun
        reasons = "; ".join(f"{name}: {reason}" for name, reason in self.left_out.items())
        ended = self._termination()
        if ended is Termination.INFEASIBLE:
            name = next(iter(self.no_solution))
            return Answer(ended, name, self.versions.get(name, ""), seconds=seconds)
        found = self.best or Answer(ended, NAME, message=reasons)
        optimal = ended is Termination.OPTIMAL
        bound = found.objective if optimal and self.options.gap == 0 else self._bound()
        version = self.versions.get(found.solver, found.version)
        return evolve(found, termination=ended, version=version, bound=bound, seconds=seconds)

    def _termination(self) -> Termination:
        if self.interrupted:
            return Termination.INTERRUPTED
        if self.ended is not None:
            return self.ended
        if self.best is None and self.left_out and not self.bounds:
            everyone = self.refused >= set(self.left_out)
            return Termination.REFUSED if everyone else Termination.FAILED
        return Termination.TIME_LIMIT


def _equal(one: float, other: float) -> bool:
    return abs(one - other) <= EQUAL * max(abs(one), abs(other), 1.0)
