"""The error for a problem without any plan: what clashes, and what would help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from parplan.errors import InfeasibleError
from parplan.registry import Registry
from parplan.rules import Rules
from parplan.search.conflicts.irreducible import irreducible
from parplan.search.conflicts.possibility import Possibility
from parplan.search.conflicts.repairs import more_of, smallest_repairs
from parplan.search.conflicts.requirements import Requirement, only, requirements, resource_of
from parplan.search.infeasible import refute

CLASH_SHARE = 0.5
"""Part of the time for what clashes; the rest is for repairs."""

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
    repairs = smallest_repairs(rules, clash, registry, possibility)
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
    memories = [m for m in members if (r := resource_of(rules, m)) and r.unit == "bytes"]
    repair = more_of(rules, memories, possibility) if memories else None
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
