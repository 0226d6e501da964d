"""What may be changed where no plan exists: requirements given up, and strategies' modes taken."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from enum import IntEnum
from functools import partial

from attrs import field, frozen

from parplan.rules import Rules
from parplan.search.conflicts.irreducible import irreducible
from parplan.search.conflicts.more_modes import Offer, offered_together
from parplan.search.conflicts.possibility import Possibility
from parplan.search.conflicts.requirements import Requirement, only, requirements, resource_of

MOST_ALONE = 3
"""Resources of a clash up to which each is given more by itself; more get the same each."""

ONE = 1000
"""Cost of one change: the fewest are the cheapest."""


class Kind(IntEnum):
    """What a change does; of as many changes, those that give come before those that take away."""

    CAPACITY = 0
    MODES = 1
    DROP = 2


@frozen(eq=False)
class Change:
    """One thing to change.

    Attributes
    ----------
    requirements
        What is given up, or given more of: all of these together.
    offer
        The modes that are taken.
    """

    kind: Kind
    requirements: tuple[Requirement, ...] = ()
    offer: Offer | None = None


@frozen(eq=False)
class Changes:
    """Everything that may be changed about rules, each change known by its number."""

    rules: Rules
    every: tuple[Change, ...]
    _larger: dict[tuple[int, ...], Rules] = field(factory=dict, init=False)

    @property
    def costs(self) -> list[int]:
        """Cost of each change."""
        return [ONE + change.kind for change in self.every]

    def after(self, choice: Iterable[int], kept: Iterable[Requirement] = ()) -> Rules:
        """Return the rules after some changes; a resource that is given more has no limit.

        Parameters
        ----------
        kept
            What is not given up, even so.
        """
        chosen = set(choice)
        rules = self._with_modes(chosen)
        given_up = {r.clash for i in chosen for r in self.every[i].requirements}
        given_up -= {r.clash for r in kept}
        return only(rules, (r for r in requirements(rules) if r.clash not in given_up))

    def _with_modes(self, choice: Iterable[int]) -> Rules:
        """Return the rules, nothing given up, of the problem with the modes that are taken."""
        taken = tuple(sorted(i for i in choice if self.every[i].kind is Kind.MODES))
        if taken not in self._larger:
            offers = [offer for i in taken if (offer := self.every[i].offer) is not None]
            self._larger[taken] = offered_together(self.rules, offers)
        return self._larger[taken]

    def helps(self, possibility: Possibility, choice: Collection[int]) -> bool | None:
        """Return whether there is a plan after some changes; None if it is not known."""
        rules = self.after(choice)
        found = possibility.of(rules).possible
        return False if found is None and possibility.refutes(rules) else found

    def clash_without(self, possibility: Possibility, choice: Collection[int]) -> Sequence[int]:
        """Return changes one of which it takes beside some that do not help by themselves.

        What a quick proof leaves of them, a slow one makes fewer.
        """
        part = [i for i in range(len(self.every)) if i not in choice]
        for proof in possibility.proofs:
            if self._is_refuted(proof, part):
                part = list(irreducible(part, partial(self._is_refuted, proof)))
        return part

    def _is_refuted(self, proof: Callable[[Rules], bool], left: Sequence[int]) -> bool:
        """Return whether nothing helps that leaves some changes undone."""
        return proof(self.after(set(range(len(self.every))) - set(left)))


def find_changes(
    rules: Rules, clash: Sequence[Requirement], offers: Sequence[Offer]
) -> tuple[Changes, list[int]]:
    """Return what may be changed, and the numbers of those changes one of which it takes.

    Each requirement may be given up by itself, but resources of one unit of which a clash has many
    are given more together. With modes that there are not yet the clash may be none, so those of
    any strategy are among what it may take.
    """
    units: dict[str, list[Requirement]] = {}
    for member in clash:
        resource = resource_of(rules, member)
        if resource is not None:
            units.setdefault(resource.unit, []).append(member)
    many = [tuple(some) for some in units.values() if len(some) > MOST_ALONE]
    grouped = {member for some in many for member in some}
    members = requirements(rules)
    alone = [(member,) for member in members if member not in grouped]
    every = [
        Change(Kind.CAPACITY if resource_of(rules, some[0]) else Kind.DROP, some)
        for some in (*many, *alone)
    ]
    every += [Change(Kind.MODES, offer=offer) for offer in offers]
    needed = [
        i
        for i, change in enumerate(every)
        if change.offer is not None or not set(clash).isdisjoint(change.requirements)
    ]
    return Changes(rules, tuple(every)), needed
