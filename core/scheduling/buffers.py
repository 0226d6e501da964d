"""Amounts held between activities, and how an activity of no length hands them on.

What ends at an instant is free for what starts there. An activity of no length that ends one buffer
and begins another does both at one instant: as far as they hold the same, they are one buffer that
goes on, and whoever counts what is held never finds both.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from parplan.declarations import Edge

Amounts = tuple[tuple[int, float], ...]
"""(resource index, amount) pairs."""


class Buffer(NamedTuple):
    """Amounts held from the start of one activity to the end of the last of its releasers.

    Without releasers it is held to the end of the schedule. Where the edges are others, it is held
    less long than said here; list schedules do without that.

    Attributes
    ----------
    through
        The activities of no length that hand it on in between, in their order.
    """

    amounts: Amounts
    allocator: int
    releasers: tuple[int, ...]
    from_edge: Edge = Edge.START
    to_edge: Edge = Edge.END
    through: tuple[int, ...] = ()


def handed_on(
    buffers: Sequence[Buffer],
    durations: Sequence[int],
    successors: Sequence[Sequence[tuple[int, int]]],
) -> list[Buffer]:
    """Return the buffers with those joined that an activity of no length ends and begins.

    Of each pair what both hold becomes one buffer, and the rest stays as it was. What one such
    activity begins and ends itself is held for no time, and goes. Only buffers that one activity
    alone ends are joined, and where an arc puts it behind the one that begins them.
    Linear in buffers, and in the pairs that are joined.

    Parameters
    ----------
    durations, successors
        Of each activity, as in ``network.Network``.
    """
    found: list[Buffer] = []
    begun: dict[int, list[int]] = {}
    ended: dict[int, list[int]] = {}

    def enter(buffer: Buffer) -> None:
        begins, ends = buffer.allocator, buffer.releasers
        if not durations[begins]:
            if ends == (begins,):
                return
            begun.setdefault(begins, []).append(len(found))
        if len(ends) == 1 and not durations[ends[0]]:
            ended.setdefault(ends[0], []).append(len(found))
        found.append(buffer)

    for buffer in buffers:
        enter(buffer)
    for activity, ending in ended.items():
        for i, k in product(ending, begun.get(activity, ())):
            both = _common(found[i].amounts, found[k].amounts)
            if both and _comes_after(activity, found[i], successors):
                one, two = found[i], found[k]
                found[i] = one._replace(amounts=_less(one.amounts, both))
                found[k] = two._replace(amounts=_less(two.amounts, both))
                enter(_joined(one, two, both))
    return [buffer for buffer in found if buffer.amounts]


def _comes_after(
    activity: int, buffer: Buffer, successors: Sequence[Sequence[tuple[int, int]]]
) -> bool:
    """Return whether an arc puts an activity behind the last one that a buffer begins or passes."""
    before = buffer.through[-1] if buffer.through else buffer.allocator
    return any(after == activity and delay >= 0 for after, delay in successors[before])


def _joined(one: Buffer, two: Buffer, both: Amounts) -> Buffer:
    """Return what goes on from one buffer to another, which begins as the first ends."""
    return Buffer(
        both,
        one.allocator,
        two.releasers,
        one.from_edge,
        two.to_edge,
        (*one.through, two.allocator, *two.through),
    )


def _common(one: Amounts, two: Amounts) -> Amounts:
    """Return what two amounts have in common."""
    other = dict(two)
    pairs = ((r, min(x, other.get(r, 0.0))) for r, x in one)
    return tuple((r, x) for r, x in pairs if x > 0)


def _less(amounts: Amounts, part: Amounts) -> Amounts:
    """Return amounts without a part of them."""
    gone = dict(part)
    pairs = ((r, x - gone.get(r, 0.0)) for r, x in amounts)
    return tuple((r, x) for r, x in pairs if x > 0)
