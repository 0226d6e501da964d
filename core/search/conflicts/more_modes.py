"""Strategies whose modes would let a plan exist, and how few operators need them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import attrs
from attrs import frozen

from parplan.clashes import Repair
from parplan.contracts import Strategy
from parplan.declarations import Forbidden
from parplan.errors import ParplanError
from parplan.graph import Graph
from parplan.problem import Problem, Rule
from parplan.registry import Registry
from parplan.rules import Declared, Rules, guarded, make_plugin, make_rules
from parplan.schedule import Schedule
from parplan.search.conflicts.possibility import Possibility


def mode_repairs(
    problem: Problem, registry: Registry, possibility: Possibility
) -> Iterator[Repair]:
    """Yield, for each strategy whose modes help, the fewest blocks that were found to need them.

    A block is an operator's module, or the operator itself where it has none.
    """
    for offer in _offers(problem, registry):
        found = possibility.of(offer.rules)
        if found.schedule is None:
            continue
        blocks = _fewest(offer, _using(offer, found.schedule), possibility)
        text = f"use strategy '{offer.strategy}' for {_listed(blocks)}"
        yield Repair(text, "modes", (offer.strategy, *blocks))


@frozen(eq=False)
class _Offer:
    """A problem with the modes that a strategy adds: (operator, mode) by block."""

    strategy: str
    rules: Rules
    added: Mapping[str, Sequence[tuple[str, str]]]


def _offers(problem: Problem, registry: Registry) -> Iterator[_Offer]:
    hint = {"cluster": problem.cluster, "workload": problem.workload}
    offering = [n for n, e in registry.strategies.items() if e.value.apply is not Strategy.apply]
    for name in offering:
        entry = registry.get("strategies", name)
        try:
            strategy: Strategy = make_plugin(entry, Rule(name), f"strategies.{name}")
            graph = guarded(entry, "apply", partial(strategy.apply, problem.graph, hint))
            larger = attrs.evolve(problem, graph=graph)
            rules = make_rules(larger, registry)
        except ParplanError:
            continue  # it has nothing to offer for this problem
        added = _added(problem, larger)
        if added:
            yield _Offer(name, rules, added)


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


def _using(offer: _Offer, schedule: Schedule) -> tuple[str, ...]:
    """Return the blocks whose new modes a schedule uses."""
    used = {(view.operator, view.mode) for view in schedule.task_views()}
    return tuple(block for block, pairs in offer.added.items() if used & set(pairs))


def _fewest(offer: _Offer, blocks: Sequence[str], possibility: Possibility) -> tuple[str, ...]:
    """Return blocks none of which can be left out, as far as time allows to show it."""
    kept = tuple(blocks)
    for block in blocks:
        if block not in kept:
            continue
        fewer = tuple(other for other in kept if other != block)
        found = possibility.of(_without(offer, fewer))
        if found.schedule is not None:
            kept = _using(offer, found.schedule)
    return kept


def _without(offer: _Offer, blocks: Sequence[str]) -> Rules:
    """Return the rules with the new modes of these blocks alone."""
    bans = tuple(
        Declared(offer.strategy, Forbidden(operator, mode=mode))
        for block, pairs in offer.added.items()
        if block not in blocks
        for operator, mode in pairs
    )
    return attrs.evolve(offer.rules, declared=(*offer.rules.declared, *bans))


def _listed(blocks: Sequence[str]) -> str:
    if len(blocks) <= 4:
        return ", ".join(f"'{block}'" for block in blocks)
    return f"{len(blocks)} blocks, '{blocks[0]}' to '{blocks[-1]}'"
