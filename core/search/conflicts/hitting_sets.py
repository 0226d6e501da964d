"""The cheapest choice that takes something of each of several sets."""

from __future__ import annotations

from collections.abc import Collection, Sequence

Choice = frozenset[int]
"""Members that are taken."""


def cheapest_hitting_set(
    sets: Sequence[Collection[int]], costs: Sequence[int], excluded: Collection[Choice] = ()
) -> Choice | None:
    """Return the cheapest members of which each set has at least one; None if there are none.

    Depth first: some set that is not hit yet is hit by each of its members in turn, and a member
    that was tried before is not taken again beside those after it. Exponential in the number of
    sets that have no member in common.

    Parameters
    ----------
    sets
        Members are numbers, from 0.
    costs
        Of each member, above zero.
    excluded
        Choices that are not wanted, nor anything that holds one of them.
    """
    best: tuple[int, Choice] | None = None
    pending: list[tuple[int, Choice, Choice]] = [(0, frozenset(), frozenset())]
    while pending:
        cost, taken, barred = pending.pop()
        if best is not None and cost + _least(sets, costs, taken, barred) >= best[0]:
            continue
        if any(one <= taken for one in excluded):
            continue
        missed = [one for one in sets if not taken.intersection(one)]
        if not missed:
            best = cost, taken
            continue
        open_ = min((set(one) - barred for one in missed), key=len)
        tried: Choice = barred
        branches = []
        for member in sorted(open_, key=costs.__getitem__):
            branches.append((cost + costs[member], taken | {member}, tried))
            tried |= {member}
        pending.extend(reversed(branches))
    return None if best is None else best[1]


def _least(
    sets: Sequence[Collection[int]], costs: Sequence[int], taken: Choice, barred: Choice
) -> int:
    """Return the least that sets still cost which have nothing in common and are not hit."""
    seen: set[int] = set()
    total = 0
    for one in sets:
        left = set(one) - barred
        if not taken.intersection(one) and not seen & left:
            total += min((costs[member] for member in left), default=0)
            seen |= left
    return total
