"""The clock of time limits, on which compiling takes no time.

Kernels are compiled when they are first called on an installation, which takes longer than many a
search is given. What a search has time for must not depend on that.
"""

from __future__ import annotations

import time

from attrs import define, field


@define
class Clock:
    """Seconds of ``time.monotonic`` without those in which it was stopped.

    Instants of it mean nothing to other processes; what is sent there is told in seconds. While one
    thread has stopped it, others see it run, and set back when it goes on.

    Attributes
    ----------
    stopped_s
        Seconds without which it counts: what was within another stop counts once.
    """

    stopped_s: float = 0.0
    _stops: list[float] = field(factory=list, init=False)

    def now(self) -> float:
        """Return the instant, in seconds."""
        return time.monotonic() - self.stopped_s

    def stop(self) -> None:
        """Let what follows take no time, until ``go_on`` has been called as often as this."""
        self._stops.append(time.monotonic())

    def go_on(self) -> None:
        """End the last stop."""
        begun = self._stops.pop()
        if not self._stops:
            self.stopped_s += time.monotonic() - begun


CLOCK = Clock()
"""The clock of this process; it is stopped by ``parplan.system.compiling``."""


def now() -> float:
    """Return the instant on the clock of this process, in seconds."""
    return CLOCK.now()
