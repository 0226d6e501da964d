"""The cheapest changes after which nothing clashes: implicit hitting sets over clashes.

Every change that helps takes something of each clash. So the cheapest choice that hits all clashes
known so far is asked for: if it helps, nothing cheaper does; if not, what it leaves clashes, which
is one more to hit (Reiter 1987; Davies and Bacchus 2011 for the cheapest of them).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

from parplan.search.conflicts.hitting_sets import Choice, cheapest_hitting_set


@frozen
class Correction:
    """Changes that help together.

    Attributes
    ----------
    members
        Numbers of the changes.
    proven
        Whether cheaper ones are proven not to help.
    """

    members: Choice
    proven: bool


def cheapest_corrections(
    costs: Sequence[int],
    clash: Sequence[int],
    helps: Callable[[Choice], bool | None],
    clash_without: Callable[[Choice], Sequence[int]],
    most: int,
) -> Iterator[Correction]:
    """Yield the choices of as few changes as help, the cheapest first.

    Parameters
    ----------
    costs
        Of each change. What costs most may cost less than twice what costs least: the fewest
        changes are then the cheapest, and those that are yielded are all equally many.
    clash
        Changes one of which is needed: a clash that is known.
    helps
        Whether changes help together; None where it is not known.
    clash_without
        A clash that is left by changes that do not help.
    most
        Questions of ``helps``. What is not found with them is found by leaving out, of all that is
        in the clashes, one change after the other that is not needed: not proven to be the fewest.
    """
    clashes: list[Sequence[int]] = [clash]
    found: list[Choice] = []
    proven = True
    for _ in range(most):
        choice = cheapest_hitting_set(clashes, costs, found)
        if choice is None or (found and len(choice) > len(found[0])):
            return
        answer = helps(choice)
        if answer is True:
            found.append(choice)
            yield Correction(choice, proven)
        elif answer is False:
            clashes.append(clash_without(choice))
        else:
            proven = False
            clashes.append([member for member in range(len(costs)) if member not in choice])
    if not found:
        yield from _some_correction(frozenset().union(*clashes), helps)


def _some_correction(
    members: Choice, helps: Callable[[Choice], bool | None]
) -> Iterator[Correction]:
    """Yield changes none of which can be left out, if all of the members help."""
    if helps(members) is not True:
        return
    for member in sorted(members, reverse=True):
        if helps(members - {member}) is True:
            members -= {member}
    yield Correction(members, proven=False)
