"""One search under way: what its steps read, and where they leave what they find."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import cached_property

from attrs import field, frozen

from parplan import clock
from parplan.errors import InputError, ParplanError, PluginError
from parplan.options import SearchOptions
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import Rules
from parplan.search.graphs.from_problem import make_task_graph
from parplan.search.graphs.list_schedule import ListSchedules
from parplan.search.incumbent import Incumbent
from parplan.search.objective_bounds import AS_PLANNED
from parplan.search.placing.evaluation import Candidate, Finisher
from parplan.search.placing.placement import Placer


@frozen(eq=False)
class Run:
    """A search under way.

    Attributes
    ----------
    deadline
        On ``parplan.clock``.
    candidates
        What was found so far, in the order it was found.
    """

    placer: Placer
    registry: Registry
    options: SearchOptions
    incumbent: Incumbent
    deadline: float
    candidates: list[Candidate] = field(factory=list)

    @property
    def rules(self) -> Rules:
        """The rules of the problem."""
        return self.placer.rules

    @property
    def problem(self) -> Problem:
        """The problem."""
        return self.placer.problem

    @property
    def is_open(self) -> bool:
        """Whether the gap is wider than what was asked for."""
        return self.incumbent.gap > self.options.gap

    def part_of_limit(self, part: float) -> float:
        """Return the instant at which a part of the whole limit will be over, counted from now."""
        return min(self.deadline, clock.now() + part * self.options.time_limit_s)

    def part_of_rest(self, part: float) -> float:
        """Return the instant at which a part of the time that is left will be over."""
        now = clock.now()
        return now + part * max(self.deadline - now, 0.0)

    def target(self) -> int:
        """Return the figure in ticks at which the gap asked for is reached."""
        objective = self.rules.objectives[0]
        scope = AS_PLANNED if objective.follows is None else "problem"
        known = [b.value for b in self.incumbent.bounds if b.scope == scope]
        figures = (objective.to_figure(self.problem, value) for value in known)
        return int(max(figures, default=0.0) / (1 - self.options.gap) + 0.5)

    def take(self, candidate: Candidate, found_by: str) -> None:
        """Keep a candidate and offer its schedule."""
        self.candidates.append(candidate)
        self.incumbent.offer(Finisher(self.placer).finish(candidate), found_by)

    @cached_property
    def lists(self) -> ListSchedules:
        """The problem as a task graph, ready for list schedules; its blocks run on one device."""
        return ListSchedules(make_task_graph(self.placer))

    @contextlib.contextmanager
    def contained(self, step: str, *, optional: bool = False) -> Iterator[None]:
        """Let no fault of a step lose a plan that is already there; say what it was.

        Parameters
        ----------
        optional
            Whether a plan can be found without this step: then only what it says of the problem
            counts.
        """
        try:
            yield
        except Exception as error:
            # A plugin or an option at fault is the user's to mend; a proof against a plan is wrong.
            missing = self.incumbent.schedule is None
            needed = missing and (not optional or isinstance(error, ParplanError))
            if needed or isinstance(error, PluginError | InputError):
                raise
            self.incumbent.fail(step, f"ended by {type(error).__name__}: {error}")

    def with_workers(self, step: str, work: Callable[[Executor | None], None]) -> None:
        """Do a step on as many workers as there may be; without any where they fail."""
        factory, workers = self.registry.executors.get("processes"), self.options.workers
        executor = factory.value.create(workers) if factory and workers > 1 else None
        self.incumbent.tell(step)
        if executor is not None:
            try:
                work(executor)
            except Exception as error:  # noqa: BLE001  # a worker died, or a plugin cannot be sent
                message = f"workers failed ({type(error).__name__}: {error}); goes on without them"
                self.incumbent.fail(step, message)
            else:
                return
            finally:
                executor.shutdown(wait=False, cancel_futures=True)
        work(None)
