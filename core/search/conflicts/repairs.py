"""The smallest repairs of a problem without a plan, in words and amounts.

The fewest changes come first; of those, the least of each: amounts in all, then blocks whose modes
change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from parplan.clashes import Repair
from parplan.registry import Registry
from parplan.rules import Rules
from parplan.search.conflicts.amounts import LeastAmounts, least_amounts
from parplan.search.conflicts.capacities import larger, least_extra, more_than_anything
from parplan.search.conflicts.changes import Change, Changes, Kind, find_changes
from parplan.search.conflicts.corrections import Correction, cheapest_corrections
from parplan.search.conflicts.more_modes import fewest_blocks, find_offers, listed
from parplan.search.conflicts.possibility import Possibility
from parplan.search.conflicts.requirements import (
    Requirement,
    amount_text,
    requirements,
    resource_at,
    resource_of,
)

MOST_CHOICES = 60
"""Sets of changes that are tried; each that fails costs a smaller clash."""

MOST_AMOUNTS = 60
"""Questions about amounts of several resources."""

MOST_FEWER_BLOCKS = 40
"""Sets of blocks that are tried."""

NAMED = 3
"""Resources that a text names; of more, the first and how many others."""


def smallest_repairs(
    rules: Rules, clash: Sequence[Requirement], registry: Registry, possibility: Possibility
) -> tuple[Repair, ...]:
    """Return the repairs of as few changes as do; those that give come first, the least first.

    Parameters
    ----------
    clash
        Requirements of the rules that clash.
    """
    scarce = any(resource_of(rules, member) is not None for member in requirements(rules))
    offers = tuple(find_offers(rules, registry)) if scarce else ()
    changes, needed = find_changes(rules, clash, offers)
    found = [
        repair
        for correction in cheapest_corrections(
            changes.costs,
            needed,
            lambda choice: changes.helps(possibility, choice),
            lambda choice: changes.clash_without(possibility, choice),
            MOST_CHOICES,
        )
        for repair in _repair(changes, correction, possibility)
    ]
    return tuple(sorted(found, key=_order))


def more_of(
    rules: Rules, members: Sequence[Requirement], possibility: Possibility
) -> Repair | None:
    """Return how much more of resources is enough, the same of each; None if nothing is known."""
    positions = [member.declared[0] for member in members]
    extra = least_extra(rules, positions, possibility)
    if extra is None:
        return None
    unit = resource_at(rules, positions[0]).unit
    names = tuple(resource_at(rules, position).name for position in positions)
    shown = names if len(names) <= NAMED else (names[0], f"{len(names) - 1} others")
    text = f"give {' and '.join(shown)} {amount_text(extra.enough, unit)} more"
    if len(names) > 1:
        text += " each"
    if extra.least < extra.enough:
        text += f" (at least {amount_text(extra.least, unit)} are needed)"
    return Repair(text, "capacity", names, extra.least, extra.enough, unit)


def _order(repair: Repair) -> tuple[int, float]:
    """Return the place of a repair among those with as many changes."""
    kinds = [part.kind for part in repair.parts or (repair,)]
    weights = {"capacity": 0, "modes": 1, "drop": 2}
    return sum(weights[kind] for kind in kinds), repair.enough or 0.0


def _repair(changes: Changes, correction: Correction, possibility: Possibility) -> Iterator[Repair]:
    """Yield the repair that a choice of changes is, with its amounts; nothing if time is over."""
    chosen = [changes.every[i] for i in sorted(correction.members)]
    growing = [change for change in chosen if change.kind is Kind.CAPACITY]
    # What gives more of a resource keeps its limit here, which then grows.
    limits = [r for change in growing for r in change.requirements]
    rules = changes.after(correction.members, kept=limits)
    parts: list[Repair] = []
    if growing:
        grown = _grown(rules, growing, possibility)
        if grown is None:
            return
        rules, more = grown
        parts.append(more)
    for change in chosen:
        if change.offer is not None:
            fewest = fewest_blocks(change.offer, rules, possibility, MOST_FEWER_BLOCKS)
            name = change.offer.strategy
            text = f"use strategy '{name}' for {listed(fewest.blocks)}"
            parts.append(Repair(text, "modes", (name, *fewest.blocks), fewest=fewest.proven))
    for change in chosen:
        if change.kind is Kind.DROP:
            texts = tuple(r.clash.text for r in change.requirements)
            parts.append(Repair(f"drop: {' and '.join(texts)}", "drop", texts))
    yield _joined(parts, proven=correction.proven)


def _joined(parts: Sequence[Repair], *, proven: bool) -> Repair:
    """Return one repair of several changes."""
    fewest = proven and all(part.fewest for part in parts)
    text = " and ".join(part.text for part in parts)
    if not proven:
        text += " (fewer changes may do)"
    if len(parts) == 1:
        return attrs.evolve(parts[0], text=text, fewest=fewest)
    kinds = {part.kind for part in parts}
    kind = kinds.pop() if len(kinds) == 1 else "mixed"
    what = tuple(name for part in parts for name in part.what)
    return Repair(text, kind, what, parts=tuple(parts), fewest=fewest)


def _grown(
    rules: Rules, growing: Sequence[Change], possibility: Possibility
) -> tuple[Rules, Repair] | None:
    """Return the rules with more of resources, and how much that is; None if nothing is known."""
    mine = {r.clash: r for r in requirements(rules)}
    groups = [[mine[r.clash] for r in change.requirements] for change in growing]
    positions = [[member.declared[0] for member in group] for group in groups]
    if len(groups) == 1:
        repair = more_of(rules, groups[0], possibility)
        return None if repair is None else (_with_more(rules, positions, [repair]), repair)
    units = {resource_at(rules, p).unit for some in positions for p in some}
    if len(units) == 1 and all(len(some) == 1 for some in positions):
        amounts = least_amounts(rules, [p for (p,) in positions], possibility, MOST_AMOUNTS)
        return None if amounts is None else _split(rules, positions, amounts)
    return _one_after_another(rules, groups, possibility)


def _split(
    rules: Rules, positions: Sequence[Sequence[int]], amounts: LeastAmounts
) -> tuple[Rules, Repair]:
    """Return the rules with an amount of its own for each resource, and these amounts."""
    unit = resource_at(rules, positions[0][0]).unit
    parts = []
    for (position,), enough in zip(positions, amounts.enough, strict=True):
        name = resource_at(rules, position).name
        text = f"give {name} {amount_text(enough, unit)} more"
        parts.append(Repair(text, "capacity", (name,), enough=enough, unit=unit))
    text = " and ".join(part.text for part in parts)
    total = sum(amounts.enough)
    if amounts.least < total:
        text += f" (at least {amount_text(amounts.least, unit)} are needed in all)"
    names = tuple(name for part in parts for name in part.what)
    repair = Repair(text, "capacity", names, amounts.least, total, unit, tuple(parts))
    return _with_more(rules, positions, parts), repair


def _one_after_another(
    rules: Rules, groups: Sequence[Sequence[Requirement]], possibility: Possibility
) -> tuple[Rules, Repair] | None:
    """Return the least of one resource after another, those that come later without a limit.

    Amounts of different units have no least in all.
    """
    parts: list[Repair] = []
    for number, group in enumerate(groups):
        open_ = rules
        for later in groups[number + 1 :]:
            positions = [member.declared[0] for member in later]
            open_ = larger(open_, positions, more_than_anything(open_, positions))
        repair = more_of(open_, group, possibility)
        if repair is None:
            return None
        parts.append(repair)
        rules = _with_more(rules, [[member.declared[0] for member in group]], [repair])
    return rules, _joined(parts, proven=True)


def _with_more(rules: Rules, positions: Sequence[Sequence[int]], parts: Sequence[Repair]) -> Rules:
    """Return the rules with what each part says is enough of its resources."""
    for some, part in zip(positions, parts, strict=True):
        rules = larger(rules, some, part.enough or 0.0)
    return rules
