"""The loop: free a part of the incumbent, let a solver do it again, keep what is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from attrs import define, field, frozen

from parplan import clock
from parplan.contracts import Freedom, Neighbourhood, SolveOptions, Solver, Termination
from parplan.errors import InfeasibleError
from parplan.model.granule import granule, model_tick
from parplan.options import SearchOptions
from parplan.registry import Registered
from parplan.rules import Rules, guarded
from parplan.schedule import Schedule
from parplan.search.incumbent import Incumbent
from parplan.search.neighbourhoods.choosing import Bandit
from parplan.search.neighbourhoods.freezing import frozen_model

MOST_TASKS = 2_000
"""Largest problem, in tasks, that is modelled with most of it frozen: about a second each time."""

FIRST_SIZE = 30
"""Tasks that are freed at first."""

LARGEST_SIZE = 120

GROWTH = 1.5
"""How much more is freed after an answer that is proven, and less after one that is not."""

TRIAL_S = 2.0
"""Most seconds of a solver for one part."""

ELITE = 4
"""Good schedules that neighbourhoods are shown."""

IDLE_TRIALS = 40
"""Trials without anything to free after which there is nothing to gain."""


def can_redo_parts(rules: Rules, solver: Solver, schedule: Schedule) -> bool:
    """Return whether size and ticks of a problem let parts of its schedules be solved again."""
    if rules.problem.task_count > MOST_TASKS:
        return False
    tick = granule(rules)
    return model_tick(tick, solver.capabilities, schedule.makespan) == tick


def search_neighbourhoods(
    rules: Rules,
    neighbourhoods: Mapping[str, Registered[Neighbourhood]],
    solver: Solver,
    options: SearchOptions,
    incumbent: Incumbent,
    others: Sequence[Schedule],
    until: float,
) -> None:
    """Improve the incumbent part by part until the gap is closed, or ``until``.

    Every schedule found goes to the incumbent, which checks it. A neighbourhood of a plugin that
    raises ends with a ``PluginError``; a solver that fails ends the loop.

    Parameters
    ----------
    others
        Further good schedules.
    until
        On ``parplan.clock``.
    """
    assert incumbent.schedule is not None
    random = Random(options.seed)
    loop = _Loop(rules, neighbourhoods, solver, options, incumbent, random, granule(rules))
    loop.elite = [incumbent.schedule, *others][:ELITE]
    idle = 0
    while clock.now() < until and incumbent.gap > options.gap and idle < IDLE_TRIALS:
        idle = 0 if loop.step(until) else idle + 1


@define(eq=False)
class _Loop:
    rules: Rules
    neighbourhoods: Mapping[str, Registered[Neighbourhood]]
    solver: Solver
    options: SearchOptions
    incumbent: Incumbent
    random: Random
    tick: int
    elite: list[Schedule] = field(factory=list)
    bandit: Bandit[str] = field(init=False)
    sizes: dict[str, float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.bandit = Bandit(sorted(self.neighbourhoods), self.random)
        self.sizes = dict.fromkeys(self.neighbourhoods, float(FIRST_SIZE))

    def step(self, until: float) -> bool:
        """Try one neighbourhood; return whether it had anything to free."""
        name, begun = self.bandit.choose(), clock.now()
        before = self.incumbent.values[0]
        freedom = self._free(name)
        trial = None
        if freedom is not None and (freedom.choices or freedom.tasks):
            trial = self._solve(name, freedom, min(TRIAL_S, until - begun))
        gain = abs(self.incumbent.values[0] - before)
        self.bandit.learn(name, gain, clock.now() - begun)
        if trial is not None:
            factor = GROWTH if trial.proven else 1 / GROWTH
            size = min(max(factor * self.sizes[name], FIRST_SIZE / 2), LARGEST_SIZE)
            self.sizes[name] = min(size, self.rules.problem.task_count)
        return trial is not None

    def _free(self, name: str) -> Freedom | None:
        """Ask a neighbourhood; whatever it raises names it."""
        entry, size = self.neighbourhoods[name], round(self.sizes[name])
        shown = tuple(self.elite)
        return guarded(
            entry, "free", lambda: entry.value.free(shown, self.rules, size, self.random)
        )

    def _solve(self, name: str, freedom: Freedom, seconds: float) -> _Trial | None:
        """Solve what is freed again, and offer the schedule."""
        schedule, is_makespan = self.elite[0], self.rules.objectives[0].name == "makespan"
        # Of equal makespans none is worth finding: ask for better ones at once.
        horizon = schedule.makespan - (self.tick if is_makespan else 0)
        try:
            model = frozen_model(self.rules, schedule, freedom, self.tick, horizon)
        except InfeasibleError:
            return _Trial(proven=True)
        start = None if is_makespan else model.warm_start(schedule)
        limits = SolveOptions(
            max(seconds, 0.1), self.options.gap, self.options.workers, self.random.randrange(2**31)
        )
        answer = self.solver.solve(model.pyomo, limits, start, self.incumbent.note)
        if answer.termination is Termination.INTERRUPTED:
            raise KeyboardInterrupt
        if answer.values:
            self._offer(model.extract(answer.values), name)
        return _Trial(answer.termination in (Termination.OPTIMAL, Termination.INFEASIBLE))

    def _offer(self, schedule: Schedule, name: str) -> None:
        if self.incumbent.offer(schedule, f"neighbourhood {name}"):
            self.elite = [schedule, *self.elite][:ELITE]


@frozen
class _Trial:
    """How a trial ended: whether the solver has proven that there is nothing better in it."""

    proven: bool
