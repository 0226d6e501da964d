"""The error for a problem without any plan: what clashes, and what would help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from parplan.clashes import Repair
from parplan.declarations import Resource
from parplan.errors import InfeasibleError
from parplan.registry import Registry
from parplan.rules import Rules
from parplan.search.conflicts.capacities import least_extra
from parplan.search.conflicts.irreducible import irreducible
from parplan.search.conflicts.more_modes import mode_repairs
from parplan.search.conflicts.possibility import Possibility
from parplan.search.conflicts.requirements import (
    Requirement,
    amount_text,
    only,
    requirements,
    resource_at,
)
from parplan.search.infeasible import refute

CLASH_SHARE = 0.5
"""Part of the time for what clashes; the rest is for repairs."""

MOST_ALONE = 3
"""Resources up to which each is given more by itself; more of them get the same each."""

NAMED = 6
"""Requirements, and repairs, that the message names; the error holds them all."""


def explained(
    error: InfeasibleError, rules: Rules, registry: Registry, possibility: Possibility
) -> InfeasibleError:
    """Return the error with the fewest requirements that clash and the changes that would help.

    What the possibility's time does not allow is left out: then a clash may hold more than it
    needs, and repairs may be missing; what is said is still proven, or found.

    Parameters
    ----------
    error
        The proof that there is no plan, by whatever found it.
    """
    members = requirements(rules)
    if possibility.refutes(only(rules, ())):
        return error  # routes and modes alone leave nothing: it says which
    clash = _clash(rules, members, possibility.part(CLASH_SHARE))
    if len(clash) == len(members) > NAMED:
        return error  # nothing could be left out
    repairs = tuple(_repairs(rules, members, clash, registry, possibility))
    return InfeasibleError(
        _message(rules, clash, error),
        conflict=tuple(sorted({m.clash.rule for m in clash})),
        repair=" or ".join(r.text for r in repairs[:NAMED]) or "relax one of them",
        clashes=tuple(m.clash for m in clash),
        repairs=repairs,
    )


def _clash(
    rules: Rules, members: Sequence[Requirement], possibility: Possibility
) -> tuple[Requirement, ...]:
    """Return a smallest clash, by the quickest proof first."""
    part: Sequence[Requirement] = members
    if possibility.counts_against(rules):
        part = irreducible(part, lambda some: possibility.counts_against(only(rules, some)))
    return irreducible(part, lambda some: possibility.refutes(only(rules, some)))


def _message(rules: Rules, clash: Sequence[Requirement], error: InfeasibleError) -> str:
    texts = [m.clash.text for m in clash[:NAMED]]
    if len(clash) > NAMED:
        texts.append(f"{len(clash) - NAMED} more")
    together = f"no plan keeps all of: {', '.join(texts)}"
    try:
        refute(rules.problem, only(rules, clash))
    except InfeasibleError as why:
        return f"{together}; {why.message}"
    return together


# -- repairs -----------------------------------------------------------------------------------


def _repairs(
    rules: Rules,
    members: Sequence[Requirement],
    clash: Sequence[Requirement],
    registry: Registry,
    possibility: Possibility,
) -> Iterator[Repair]:
    """Yield what helps: more of one resource, or of all that clash; a requirement less; modes."""
    resources = [
        m.declared[0]
        for m in clash
        if m.declared and isinstance(rules.declared[m.declared[0]].what, Resource)
    ]
    alone = resources if len(resources) <= MOST_ALONE else []
    larger = [_capacity(rules, [position], possibility) for position in alone]
    found = [repair for repair in larger if repair is not None]
    if not found and len(resources) > 1:
        found = [r for r in [_capacity(rules, resources, possibility)] if r is not None]
    yield from sorted(found, key=lambda repair: repair.enough or 0.0)
    for member in clash:
        if member.declared and member.declared[0] in resources:
            continue
        rest = [other for other in members if other is not member]
        if possibility.of(only(rules, rest)).possible:
            yield Repair(f"drop: {member.clash.text}", "drop", (member.clash.text,))
    if resources:
        yield from mode_repairs(rules.problem, registry, possibility)


def _capacity(rules: Rules, positions: Sequence[int], possibility: Possibility) -> Repair | None:
    extra = least_extra(rules, positions, possibility)
    if extra is None:
        return None
    resources = [resource_at(rules, position) for position in positions]
    unit, names = resources[0].unit, tuple(r.name for r in resources)
    shown = names if len(names) <= MOST_ALONE else (names[0], f"{len(names) - 1} others")
    text = f"give {' and '.join(shown)} {amount_text(extra.enough, unit)} more"
    if len(names) > 1:
        text += " each"
    if extra.least < extra.enough:
        text += f" (at least {amount_text(extra.least, unit)} are needed)"
    return Repair(text, "capacity", names, extra.least, extra.enough, unit)
