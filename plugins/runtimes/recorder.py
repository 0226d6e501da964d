"""Notes what one process does: when, for the recording; and right now, for whoever watches it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import define, field, frozen

STATE_BYTES = 120
"""Length of the note of what a process does; it is written in place."""


@frozen
class Work:
    """Something that a process does for a plan.

    Attributes
    ----------
    title
        What it is called where a run fails.
    operators, action, microbatch
        As in a recording.
    """

    title: str
    operators: tuple[str, ...]
    action: str
    microbatch: int


@frozen
class Timed:
    """Work, or the wait for its input, on the clock that all processes share.

    Attributes
    ----------
    start, end
        Of ``time.monotonic``.
    """

    work: Work
    step: int
    start: float
    end: float
    waiting: bool = False


@define
class Recorder:
    """Collects the actions of one process."""

    path: Path
    timed: list[Timed] = field(factory=list)
    step: int = 0
    _file: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._file = os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600)

    def doing(self, what: str) -> None:
        """Note what the process does from now on."""
        os.pwrite(self._file, what.encode()[:STATE_BYTES].ljust(STATE_BYTES), 0)

    @contextlib.contextmanager
    def action(self, work: Work, *, waiting: bool = False) -> Iterator[None]:
        """Time work, or the wait for its input."""
        what = f"{'waits for the input of' if waiting else 'runs'} {work.title}"
        self.doing(f"{what} of step {self.step}")
        start = time.monotonic()
        yield
        self.timed.append(Timed(work, self.step, start, time.monotonic(), waiting))


def read_state(path: Path) -> str:
    """Return what a process does, or did last; empty if it has not begun."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return ""
