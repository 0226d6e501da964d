"""What a critical path consists of: its time by what it waits for, and by kind of work."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from attrs import frozen

from parplan.explaining.causes import Reason
from parplan.explaining.critical_path import Step


class Use(StrEnum):
    """What a stretch of a critical path is spent on.

    ``WORK`` runs tasks, ``TRANSFER`` brings a tensor. ``LINK``, ``MEMORY`` and ``RESOURCE`` are
    what the next step waits for while something else holds it, ``ORDER`` the rules of who goes
    first, ``PAUSE`` a time in which nothing of the chain runs.
    """

    WORK = "work"
    TRANSFER = "transfer"
    LINK = "link"
    MEMORY = "memory"
    RESOURCE = "resource"
    ORDER = "order"
    PAUSE = "pause"


@frozen
class Share:
    """A part of a critical path.

    Attributes
    ----------
    what
        The device group, link or resource; a kind of work where shares are by kind.
    part
        Of the makespan, from 0 to 1.
    steps
        How many steps it consists of.
    """

    use: str
    what: str
    ticks: int
    part: float
    steps: int


WAITS = {
    Reason.LINK: Use.LINK,
    Reason.MEMORY: Use.MEMORY,
    Reason.RESOURCE: Use.RESOURCE,
    Reason.LAG: Use.ORDER,
    Reason.FIFO: Use.ORDER,
}


def shares(steps: Sequence[Step]) -> tuple[Share, ...]:
    """Return what the time goes to, the largest part first.

    A step counts as work or transfer where it is, unless the next one waits for something that it
    holds: a link, memory, another resource. So all parts add up to one.
    """
    after: list[Step | None] = [*steps[1:], None]
    return _summed(steps, [_use(step, later) for step, later in zip(steps, after, strict=True)])


def kinds(steps: Sequence[Step]) -> tuple[Share, ...]:
    """Return the time by kind of work, the largest part first."""
    return _summed(steps, [(step.kind, step.kind) for step in steps])


def _use(step: Step, later: Step | None) -> tuple[str, str]:
    if step.activity < 0:
        return Use.PAUSE, step.place
    reason = None if later is None else later.cause.reason
    if later is not None and reason in WAITS:
        return WAITS[reason], later.cause.what
    return (Use.TRANSFER if step.kind == "transfer" else Use.WORK), step.place


def _summed(steps: Sequence[Step], names: Sequence[tuple[str, str]]) -> tuple[Share, ...]:
    total = sum(step.ticks for step in steps)
    ticks: dict[tuple[str, str], int] = {}
    count: dict[tuple[str, str], int] = {}
    for step, name in zip(steps, names, strict=True):
        ticks[name] = ticks.get(name, 0) + step.ticks
        count[name] = count.get(name, 0) + 1
    found = [
        Share(*name, spent, spent / total if total else 0.0, count[name])
        for name, spent in ticks.items()
    ]
    return tuple(sorted(found, key=lambda share: -share.ticks))
