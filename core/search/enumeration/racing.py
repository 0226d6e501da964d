"""Enumerations that take turns: forwards and backwards, from above and from below."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field, frozen

from parplan import clock
from parplan.search.enumeration.delay_graph import DelayGraph
from parplan.search.enumeration.kernel import LIMIT, MOST_REMEMBERED, Progress, advance, begin
from parplan.search.enumeration.tables import Tables, make_tables

FIRST_TURN = 2_000
"""States of the first turn; each turn has twice as many as the one before, up to the last."""

LAST_TURN = 50_000
"""States of the longest turn: a few tenths of a second."""

STEP = 8
"""From below, a limit goes this part of the way from what is proven to what is known."""

Sequence = tuple[tuple[int, int], ...]
"""(task, device): each task starts as early as it can behind those before it."""


@frozen(eq=False)
class _Way:
    """One of the two ways to run a graph."""

    tables: Tables
    backwards: bool

    def forwards(self, path: Sequence) -> Sequence:
        """Return a path of this way as one of the graph as it is."""
        if not self.backwards:
            return path
        last = len(path) - 1
        return tuple((last - task, device) for task, device in reversed(path))

    @property
    def critical_path(self) -> int:
        """The longest way through a task, in ticks."""
        return int((self.tables.heads + self.tables.least + self.tables.tails).max())


@define(eq=False)
class _Runner:
    """An enumeration under way, begun anew for every limit of its own.

    Attributes
    ----------
    part
        Its limit goes ``1 / part`` of the way from what is proven to what is known.
    """

    way: _Way
    part: int
    progress: Progress

    @classmethod
    def start(cls, way: _Way, part: int, least: int, limit: int, remembered: int) -> _Runner:
        """Return a runner at its start."""
        aim = least + (limit - least) // part
        return cls(way, part, begin(way.tables, aim, remembered))

    @property
    def limit(self) -> int:
        """The longest schedule that it still looks for."""
        return int(self.progress.counts[LIMIT])

    def advance(self, limit: int, states: int) -> bool:
        """Look into further states; return whether no schedule is as short as its limit."""
        self.progress.counts[LIMIT] = min(self.limit, limit)
        return advance(self.way.tables, self.progress, states)

    def restart(self, least: int, limit: int) -> None:
        """Begin again, under the next limit."""
        remembered = len(self.progress.seen)
        self.progress = self.start(self.way, self.part, least, limit, remembered).progress

    @property
    def best(self) -> Sequence:
        """The best schedule found since it began."""
        return self.way.forwards(tuple((int(t), int(d)) for t, d in self.progress.best))


@define(eq=False)
class Race:
    """The search for the shortest schedule, by four enumerations in turn.

    Forks are simple from their root and joins from their sink, so both ways are run; a limit near
    the optimum from below is soon refuted or met, one from above finds schedules meanwhile.

    Attributes
    ----------
    least
        In ticks; no schedule is shorter.
    limit
        Longer schedules do not count: one tick less than the shortest that was found.
    """

    least: int
    limit: int
    _runners: tuple[_Runner, ...] = field(repr=False)

    @classmethod
    def of(cls, graph: DelayGraph, limit: int, remembered: int = MOST_REMEMBERED) -> Race:
        """Return the race for the shortest schedule of at most ``limit`` ticks, not yet begun.

        Parameters
        ----------
        remembered
            States that each enumeration remembers at once, a power of two.
        """
        ways = (_Way(make_tables(graph), False), _Way(make_tables(graph.reversed()), True))
        least = min(max(way.critical_path for way in ways), limit + 1)
        return cls(
            least,
            limit,
            tuple(
                _Runner.start(way, part, min(least, limit), limit, remembered)
                for part in (STEP, 1)
                for way in ways
            ),
        )

    @property
    def is_over(self) -> bool:
        """Whether no schedule is as short as ``limit``."""
        return self.least > self.limit

    def run(self, until: float) -> Iterator[Sequence]:
        """Yield shorter and shorter schedules, until the race is over or the time is.

        All have their first turn, however late it is.
        """
        states = FIRST_TURN
        while not self.is_over:
            for runner in self._runners:
                if self.is_over or (states > FIRST_TURN and clock.now() >= until):
                    return
                aim = min(runner.limit, self.limit)
                through = runner.advance(self.limit, states)
                if runner.limit < aim:
                    self.limit = runner.limit
                    yield runner.best
                if through:
                    self.least = max(self.least, runner.limit + 1)
                    runner.restart(min(self.least, self.limit), self.limit)
            states = min(2 * states, LAST_TURN)
