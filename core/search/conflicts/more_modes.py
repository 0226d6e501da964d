"""Strategies whose modes would let a plan exist, and how few operators need them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import attrs
from attrs import frozen

from parplan.contracts import Strategy
from parplan.declarations import Forbidden
from parplan.errors import ParplanError
from parplan.graph import Graph
from parplan.problem import Problem, Rule
from parplan.registry import Registry
from parplan.rules import Declared, Rules, guarded, make_plugin, make_rules
from parplan.schedule import Schedule
from parplan.search.conflicts.corrections import cheapest_corrections
from parplan.search.conflicts.hitting_sets import Choice
from parplan.search.conflicts.irreducible import irreducible
from parplan.search.conflicts.possibility import Possibility

MOST_BLOCKS = 16
"""Blocks up to which the fewest are looked for; of more, some of which none can be left out."""


@frozen(eq=False)
class Offer:
    """What a strategy does to rules, and the modes that it adds: (operator, mode) by block.

    A block is an operator's module, or the operator itself where it has none.
    """

    strategy: str
    enlarge: Callable[[Rules], Rules]
    added: Mapping[str, Sequence[tuple[str, str]]]


@frozen
class FewestBlocks:
    """Blocks whose new modes are enough; ``proven`` if no plan does with fewer."""

    blocks: tuple[str, ...]
    proven: bool


def find_offers(rules: Rules, registry: Registry) -> Iterator[Offer]:
    """Yield what each strategy that has something to offer for a problem would add to it."""
    offering = [n for n, e in registry.strategies.items() if e.value.apply is not Strategy.apply]
    for name in offering:
        enlarge = partial(_enlarged, registry, name)
        try:
            larger = enlarge(rules)
        except ParplanError:
            continue  # it has nothing to offer for this problem
        added = _added(rules.problem, larger.problem)
        if added:
            yield Offer(name, enlarge, added)


def offered_together(rules: Rules, offers: Sequence[Offer]) -> Rules:
    """Return the rules with what strategies offer, one after another as far as they go together."""
    for offer in offers:
        try:
            rules = offer.enlarge(rules)
        except ParplanError:
            continue
    return rules


def fewest_blocks(offer: Offer, rules: Rules, possibility: Possibility, most: int) -> FewestBlocks:
    """Return the fewest blocks of an offer with whose modes rules leave a plan.

    Parameters
    ----------
    rules
        With the modes of all blocks they leave a plan, without any they leave none.
    most
        Questions to ask for the fewest; beyond, only blocks that cannot be left out are sure.
    """
    names = tuple(offer.added)
    found = possibility.of(rules)
    some = names if found.schedule is None else _using(offer, found.schedule)
    some = _irreducible(offer, rules, some, possibility)
    if len(names) > MOST_BLOCKS or len(some) == 1:
        return FewestBlocks(some, proven=len(some) == 1)

    def helps(choice: Choice) -> bool | None:
        blocks = [names[i] for i in sorted(choice)]
        return possibility.of(_with_blocks(offer, rules, blocks)).possible

    def clashes(left: Sequence[int]) -> bool:
        blocks = [name for i, name in enumerate(names) if i not in left]
        return possibility.refutes(_with_blocks(offer, rules, blocks))

    def clash_without(choice: Choice) -> Sequence[int]:
        return irreducible([i for i in range(len(names)) if i not in choice], clashes)

    costs = [1] * len(names)
    for correction in cheapest_corrections(costs, range(len(names)), helps, clash_without, most):
        if correction.proven or len(correction.members) < len(some):
            blocks = tuple(names[i] for i in sorted(correction.members))
            return FewestBlocks(blocks, correction.proven)
        break
    return FewestBlocks(some, proven=False)


def listed(blocks: Sequence[str]) -> str:
    """Return blocks in words."""
    if len(blocks) <= 4:
        return ", ".join(f"'{block}'" for block in blocks)
    return f"{len(blocks)} blocks, '{blocks[0]}' to '{blocks[-1]}'"


def _enlarged(registry: Registry, name: str, rules: Rules) -> Rules:
    problem = rules.problem
    hint = {"cluster": problem.cluster, "workload": problem.workload}
    entry = registry.get("strategies", name)
    strategy: Strategy = make_plugin(entry, Rule(name), f"strategies.{name}")
    graph = guarded(entry, "apply", partial(strategy.apply, problem.graph, hint))
    return make_rules(attrs.evolve(problem, graph=graph), registry)


def _added(problem: Problem, larger: Problem) -> dict[str, list[tuple[str, str]]]:
    """Return the modes that do something new, by block; a strategy may rename what was there."""
    index = problem.graph.operator_index
    found: dict[str, list[tuple[str, str]]] = {}
    for number, operator in enumerate(larger.graph.operators):
        if operator.name not in index:
            continue
        before = index[operator.name]
        old = problem.graph.operators[before].modes
        known = [_does(problem.graph, before, mode) for mode in range(len(old))]
        for mode in range(len(operator.modes)):
            if _does(larger.graph, number, mode) not in known:
                block = operator.module or operator.name
                found.setdefault(block, []).append((operator.name, operator.modes[mode].name))
    return found


def _does(graph: Graph, operator: int, mode: int) -> object:
    """Return what a mode does, whatever it is called."""
    spec, tensors = graph.operators[operator].modes[mode], graph.tensors
    writes = {tensors[t].name: size for t, size in graph.writes(operator, mode).items() if size}
    plain = attrs.evolve(spec, name="default", reads=None, writes=None, estimates={}, source="")
    return plain, {tensors[t].name for t in graph.reads(operator, mode)}, writes


def _using(offer: Offer, schedule: Schedule) -> tuple[str, ...]:
    """Return the blocks whose new modes a schedule uses."""
    used = {(view.operator, view.mode) for view in schedule.task_views()}
    return tuple(block for block, pairs in offer.added.items() if used & set(pairs))


def _irreducible(
    offer: Offer, rules: Rules, blocks: Sequence[str], possibility: Possibility
) -> tuple[str, ...]:
    """Return blocks none of which can be left out, as far as time allows to show it."""
    kept = tuple(blocks)
    for block in blocks:
        if block not in kept:
            continue
        fewer = tuple(other for other in kept if other != block)
        found = possibility.of(_with_blocks(offer, rules, fewer))
        if found.schedule is not None:
            kept = _using(offer, found.schedule)
    return kept


def _with_blocks(offer: Offer, rules: Rules, blocks: Sequence[str]) -> Rules:
    """Return the rules with the new modes of these blocks alone."""
    bans = tuple(
        Declared(offer.strategy, Forbidden(operator, mode=mode))
        for block, pairs in offer.added.items()
        if block not in blocks
        for operator, mode in pairs
    )
    return attrs.evolve(rules, declared=(*rules.declared, *bans))
