"""The smallest part of a clash that still clashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def irreducible(members: Sequence[T], clashes: Callable[[Sequence[T]], bool]) -> tuple[T, ...]:
    """Return members that clash, none of which can be left out, in their order.

    QuickXplain (Junker, AAAI 2004): of n members, k of which are returned, at most
    ``2k log2(n / k) + 2k`` questions are asked. Early members are left out first where there is a
    choice.

    Parameters
    ----------
    members
        They clash all together.
    clashes
        Whether members clash; more of them clash too. Where it is not known, False: the answer
        clashes still, but may hold more than it needs.
    """
    if clashes(()):
        return ()
    kept = _needed((), (), members, clashes)
    return tuple(member for member in members if member in kept)


def _needed(
    background: Sequence[T],
    added: Sequence[T],
    members: Sequence[T],
    clashes: Callable[[Sequence[T]], bool],
) -> tuple[T, ...]:
    """Return the members needed beside a background, the last part of which was just added."""
    if added and clashes(background):
        return ()
    if len(members) <= 1:
        return tuple(members)
    middle = len(members) // 2
    first, last = tuple(members[:middle]), tuple(members[middle:])
    of_first = _needed((*background, *last), last, first, clashes)
    of_last = _needed((*background, *of_first), of_first, last, clashes)
    return (*of_first, *of_last)
