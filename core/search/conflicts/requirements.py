"""What a problem's rules demand, one requirement at a time, each in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs
from attrs import frozen

from parplan.clashes import Clash
from parplan.declarations import Apart, Contiguous, Forbidden, Order, Resource, TimeLag, Together
from parplan.problem import Problem
from parplan.rules import Rules
from parplan.text import bytes_text


@frozen
class Requirement:
    """What may be given up by itself: one or several declarations, or a constraint's own code.

    Attributes
    ----------
    clash
        Its rule, and what it says.
    declared
        Positions in ``Rules.declared``; empty for a constraint with code of its own.
    """

    clash: Clash
    declared: tuple[int, ...] = ()


def requirements(rules: Rules) -> tuple[Requirement, ...]:
    """Return everything that rules demand; what one rule bans for one operator is one of them."""
    bans: dict[tuple[str, str], list[int]] = {}
    found = []
    for position, declared in enumerate(rules.declared):
        if isinstance(declared.what, Forbidden):
            bans.setdefault((declared.rule, declared.what.operator), []).append(position)
        else:
            found.append(Requirement(Clash(declared.rule, _text(declared.what)), (position,)))
    for (rule, operator), positions in bans.items():
        what = [rules.declared[p].what for p in positions]
        text = _ban_text(rules.problem, operator, [b for b in what if isinstance(b, Forbidden)])
        found.append(Requirement(Clash(rule, text), tuple(positions)))
    own = [Clash(c.name, f"constraint {c.name}") for c in rules.escape_hatches]
    return (*found, *(Requirement(clash) for clash in own))


def only(rules: Rules, kept: Iterable[Requirement]) -> Rules:
    """Return the rules that demand these requirements, and nothing else."""
    members = list(kept)
    positions = {p for member in members for p in member.declared}
    own = {member.clash.rule for member in members if not member.declared}
    declared = tuple(d for p, d in enumerate(rules.declared) if p in positions)
    hatches = {c.name for c in rules.escape_hatches}
    named = {d.rule for d in declared}
    constraints = tuple(
        c for c in rules.constraints if c.name in (own if c.name in hatches else named)
    )
    return attrs.evolve(rules, constraints=constraints, declared=declared)


def with_capacity(rules: Rules, position: int, capacity: float) -> Rules:
    """Return the rules with another capacity of the resource that is declared at a position."""
    declared = list(rules.declared)
    resource = resource_at(rules, position)
    larger = attrs.evolve(resource, capacity=capacity)
    declared[position] = attrs.evolve(declared[position], what=larger)
    return attrs.evolve(rules, declared=tuple(declared))


def resource_of(rules: Rules, member: Requirement) -> Resource | None:
    """Return the resource that a requirement limits; None if it is something else."""
    what = rules.declared[member.declared[0]].what if member.declared else None
    return what if isinstance(what, Resource) else None


def resource_at(rules: Rules, position: int) -> Resource:
    """Return the resource that is declared at a position."""
    resource = rules.declared[position].what
    assert isinstance(resource, Resource)
    return resource


# -- words -----------------------------------------------------------------------------------------


def _text(what: object) -> str:
    if isinstance(what, Resource):
        return f"{what.name} holds {amount_text(what.capacity, what.unit)} at most"
    if isinstance(what, Together):
        shared = "one device group" if what.what == "devices" else "modes of one name"
        return f"{_named(what.operators)} in {shared}"
    if isinstance(what, Apart):
        return f"{_named(what.operators)} on different devices"
    if isinstance(what, Contiguous):
        return f"{_named(what.operators)} on devices in a row in which no tensor goes back"
    if isinstance(what, Order):
        return f"{_named(what.operators)} in this order"
    if isinstance(what, TimeLag):
        return (
            f"{what.after_edge} of '{what.after}' at least {what.seconds:g} s after the "
            f"{what.before_edge} of '{what.before}'"
        )
    return str(what)


def amount_text(amount: float, unit: str) -> str:
    """Return an amount of a resource in words."""
    return bytes_text(amount) if unit == "bytes" else f"{amount:.4g} {unit}".rstrip()


def _named(operators: Sequence[str]) -> str:
    shown = [f"'{name}'" for name in operators[:4]]
    if len(operators) > 4:
        shown.append(f"{len(operators) - 4} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]


def _ban_text(problem: Problem, operator: str, bans: Sequence[Forbidden]) -> str:
    return f"'{operator}' {'; '.join(_ban_texts(problem, bans))}"


def _ban_texts(problem: Problem, bans: Sequence[Forbidden]) -> Iterator[str]:
    everywhere = [device.name for device in problem.cluster.devices]
    for group in dict.fromkeys(ban.group for ban in bans):
        mine = [ban for ban in bans if ban.group == group]
        where = "" if group is None else f" in placement group {group}"
        places = {ban.device for ban in mine if ban.mode is None} - {None}
        left = [name for name in everywhere if name not in places]
        if places and len(left) <= len(places):
            yield f"on {' or '.join(left) or 'no device'} only{where}"
        elif places:
            yield f"not on {', '.join(n for n in everywhere if n in places)}{where}"
        for ban in mine:
            if ban.mode is not None:
                on = "" if ban.device is None else f" on {ban.device}"
                yield f"not in mode '{ban.mode}'{on}{where}"
