"""Model ticks: how the problem's ticks become coarser ones, rounded to find or to bound.

Rounded up, every schedule of the model is one of the problem when its times are multiplied by the
factor. Rounded down, the model is a relaxation: take any schedule of the problem and replace each
start t by floor(t / factor). What did not overlap does not overlap then, since
``floor(t2) >= floor(t1 + d) >= floor(t1) + floor(d)`` where t2 >= t1 + d (all divided by the
factor); and intervals that overlap pairwise share an instant, so no level rises.
"""

from __future__ import annotations

from enum import StrEnum

from attrs import field, frozen

from parplan.errors import InputError


class Rounding(StrEnum):
    """What a model with coarser ticks is for: finding schedules (up) or bounds (down)."""

    UP = "up"
    DOWN = "down"


@frozen
class Clock:
    """Turns ticks of the problem into ticks of the model, each ``factor`` as long."""

    factor: int = 1
    rounding: Rounding = field(default=Rounding.UP, converter=Rounding)

    def __attrs_post_init__(self) -> None:
        if self.factor < 1:
            raise InputError(f"model tick of {self.factor} ticks; it must be at least 1")

    @property
    def exact(self) -> bool:
        """Whether a model tick is a tick."""
        return self.factor == 1

    @property
    def relaxed(self) -> bool:
        """Whether the model is for bounds, and not every schedule of it is one of the problem."""
        return self.factor > 1 and self.rounding is Rounding.DOWN

    def ticks(self, value: int) -> int:
        """Return a duration, delay or release."""
        return value // self.factor if self.relaxed else -(-value // self.factor)

    def hold(self, offset: int, length: int) -> tuple[int, int]:
        """Return (offset, length) of something held from ``offset`` after a start.

        For bounds it is shrunk at both ends, since ``floor(start) + ceil(offset)`` comes no
        earlier than ``floor(start + offset)``; for schedules it is widened.
        """
        f, end = self.factor, offset + length
        first, last = (-(-offset // f), end // f) if self.relaxed else (offset // f, -(-end // f))
        return (first, max(last - first, 0)) if length else (first, 0)

    def lag(self, value: int, *, to_end: bool) -> int:
        """Return a time lag; ``to_end`` if it is the later one's end that must wait.

        An end is its start plus a rounded length, so for bounds it may come one tick early.
        """
        return self.ticks(value) - (1 if to_end and self.relaxed else 0)
