"""Cuts that come back from the lower level: which parts of an assignment a proof rests on.

A proof that an assignment takes at least L ticks often rests on some of its operators only: those
on a critical path, or those on one busy device. Whatever keeps these as they are takes at least L,
too, so the cut over them alone cuts off many assignments at once (combinatorial Benders cuts,
Codato and Fischetti, "Combinatorial Benders' Cuts for Mixed-Integer Linear Programming", Operations
Research 54, 2006). Which they are is found by leaving out as many as possible and proving again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

Assignment = Mapping[tuple[int, int], int]
Proves = Callable[[Assignment], bool]


def narrowed(
    assignment: Assignment, order: Sequence[tuple[int, int]], proves: Proves, tries: int
) -> Assignment:
    """Return a part of an assignment that still proves what all of it proves.

    Leaves out halves, then quarters, and so on down to single keys, so that proofs with few keys
    are found in few tries; with enough tries no single key can be left out of the result.

    Parameters
    ----------
    order
        The keys, those that are most likely of no use first.
    proves
        Whether a part is enough; it must be true of ``assignment``, and of whatever has a part for
        which it is true.
    tries
        How often ``proves`` is asked at most.
    """
    kept = list(order)
    size = max(len(kept) // 2, 1)
    while kept and tries > 0:
        position = 0
        while position < len(kept) and tries > 0:
            left = kept[:position] + kept[position + size :]
            tries -= 1
            if proves({key: assignment[key] for key in left}):
                kept = left
            else:
                position += size
        if size == 1:
            break
        size = max(size // 2, 1)
    return {key: assignment[key] for key in kept}
