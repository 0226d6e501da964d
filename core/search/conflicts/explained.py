"""The error for a problem without any plan: what clashes, and what would help."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

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
    clash = _clash(rules, members, possibility.part(CLASH_SHARE))
    if clash is None:
        return _with_spare_memory(error, rules, members, possibility)
    if not clash:
        return error  # routes and modes alone leave nothing: it says which
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
) -> tuple[Requirement, ...] | None:
    """Return a smallest clash: what a quick proof leaves of it, a slow one makes smaller.

    None if no proof that is tried here shows that the members clash.
    """
    part: tuple[Requirement, ...] | None = None
    for proof in possibility.proofs:
        rest = members if part is None else part
        if proof(only(rules, rest)):
            part = irreducible(rest, partial(_proves, proof, rules))
    return part


def _with_spare_memory(
    error: InfeasibleError,
    rules: Rules,
    members: Sequence[Requirement],
    possibility: Possibility,
) -> InfeasibleError:
    """Return the error with how much more memory on all devices is enough, where that is found."""
    resources = [m for m in members if _is_resource(rules, m)]
    memories = [m for m in resources if resource_at(rules, m.declared[0]).unit == "bytes"]
    repair = _capacity(rules, memories, possibility) if memories else None
    if repair is None:
        return error
    return InfeasibleError(
        error.message, conflict=error.conflict, repair=repair.text, repairs=(repair,)
    )


def _proves(proof: Callable[[Rules], bool], rules: Rules, members: Sequence[Requirement]) -> bool:
    return proof(only(rules, members))


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
    """Yield what helps: more of one resource, or of all that clash; a requirement less; modes.

    Where nothing helps by itself, since there are other clashes as well, what helps together.
    """
    resources = [m for m in clash if _is_resource(rules, m)]
    alone = [[m] for m in resources] if len(resources) <= MOST_ALONE else [resources]
    larger = [_capacity(rules, some, possibility) for some in alone]
    found = [repair for repair in larger if repair is not None]
    found.sort(key=lambda repair: repair.enough or 0.0)
    others = [m for m in clash if m not in resources]
    found += [_drop([m]) for m in others if _is_possible(rules, members, [m], possibility)]
    if not found:
        found += _together(rules, members, possibility)
    yield from found
    if resources:
        yield from mode_repairs(rules.problem, registry, possibility)


def _together(
    rules: Rules, members: Sequence[Requirement], possibility: Possibility
) -> Iterator[Repair]:
    """Yield what to change where there are several clashes: nothing of it can be left out."""
    given_up: list[Requirement] = []
    while not _is_possible(rules, members, given_up, possibility):
        rest = [m for m in members if m not in given_up]
        if not rest or not possibility.refutes(only(rules, rest)):
            return  # not known
        clash = _clash(rules, rest, possibility) or tuple(rest)
        given_up.append(next((m for m in clash if _is_resource(rules, m)), clash[0]))
    for member in tuple(given_up):
        fewer = [m for m in given_up if m is not member]
        if _is_possible(rules, members, fewer, possibility):
            given_up = fewer
    if all(_is_resource(rules, m) for m in given_up):
        larger = _capacity(rules, given_up, possibility)
        if larger is not None:
            yield larger
            return
    yield _drop(given_up)


def _is_possible(
    rules: Rules,
    members: Sequence[Requirement],
    given_up: Sequence[Requirement],
    possibility: Possibility,
) -> bool:
    """Return whether a plan is found once some requirements are given up."""
    rest = [member for member in members if member not in given_up]
    return possibility.of(only(rules, rest)).possible is True


def _is_resource(rules: Rules, member: Requirement) -> bool:
    return bool(member.declared) and isinstance(rules.declared[member.declared[0]].what, Resource)


def _drop(members: Sequence[Requirement]) -> Repair:
    texts = tuple(member.clash.text for member in members)
    return Repair(f"drop: {' and '.join(texts)}", "drop", texts)


def _capacity(
    rules: Rules, members: Sequence[Requirement], possibility: Possibility
) -> Repair | None:
    """Return how much more of all these resources is enough; None if nothing is known to be."""
    positions = [member.declared[0] for member in members]
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
