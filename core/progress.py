"""Live progress of a search on standard error: stage, incumbent, bound, gap, time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from parplan import clock
from parplan.contracts import Progress, Report
from parplan.text import percent_text, plain, value_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

PLAIN_INTERVAL_S = 1.0
"""Where standard error is no terminal: at most one line in so many seconds and stage."""


@contextmanager
def show_progress(time_limit_s: float, unit: str, *, quiet: bool = False) -> Iterator[Report]:
    """Yield a report function for a search; what it is told appears on standard error.

    Parameters
    ----------
    time_limit_s
        For the time left, counted from here.
    unit
        Of the first objective.
    quiet
        Show nothing.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if quiet:
        yield _ignore
    elif console.is_terminal:
        with _live(console, time_limit_s, unit) as report:
            yield report
    else:
        yield _Lines(console, unit)


def progress_text(news: Progress, unit: str) -> str:
    """Return stage, incumbent, bound and gap in one line.

    >>> progress_text(Progress("timing", 2.0, 4.0, 3.0), "s")
    'timing   incumbent 4 s   bound 3 s   gap 25.0%'
    """
    parts = [plain(news.stage)]
    if news.incumbent is not None:
        parts.append(f"incumbent {value_text(news.incumbent, unit)}")
    if news.bound is not None:
        parts.append(f"bound {value_text(news.bound, unit)}")
    if news.incumbent is not None and news.bound is not None:
        distance = abs(news.incumbent - news.bound)
        parts.append(f"gap {percent_text(distance / max(abs(news.incumbent), 1e-300))}")
    if news.message:
        parts.append(plain(news.message))
    return "   ".join(parts)


def _ignore(news: Progress) -> None:
    """Show nothing."""


class _Lines:
    """Plain lines: a new stage or message at once, better figures once a second."""

    def __init__(self, console: Console, unit: str) -> None:
        self._console = console
        self._unit = unit
        self._last: Progress | None = None

    def __call__(self, news: Progress) -> None:
        last = self._last
        fresh = last is None or (news.stage, news.message) != (last.stage, last.message)
        if last is not None and not fresh and news.seconds - last.seconds < PLAIN_INTERVAL_S:
            return
        self._last = news
        line = f"{news.seconds:7.1f} s  {progress_text(news, self._unit)}"
        self._console.out(line, highlight=False)


@contextmanager
def _live(console: Console, time_limit_s: float, unit: str) -> Iterator[Report]:
    from rich.live import Live
    from rich.text import Text

    began = clock.now()
    latest = [Progress("starting", 0.0)]

    def line() -> Text:
        left = max(0.0, time_limit_s - (clock.now() - began))
        shown = f"{progress_text(latest[0], unit)}   {left:.0f} s left"
        return Text(shown, no_wrap=True, overflow="ellipsis")

    def report(news: Progress) -> None:
        latest[0] = news
        if news.message:  # stays when the live line has gone
            console.out(f"{news.seconds:7.1f} s  {progress_text(news, unit)}", highlight=False)

    with Live(console=console, get_renderable=line, transient=True, refresh_per_second=4):
        yield report
