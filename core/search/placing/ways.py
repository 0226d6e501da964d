"""Operators whose modes depend on each other, and the ways in which these modes go together.

Where a backward operator computes what it needs again, its forward operator need not have kept it;
where one mode reads what only one mode of another operator writes, the two are chosen together.
What belongs together is found from the graph and the rules, not from names of strategies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import networkx as nx
from attrs import frozen

from parplan.declarations import Together
from parplan.problem import Problem
from parplan.rules import Rules
from parplan.scheduling.coupling import mode_clash

Ways = tuple[int, ...]
"""Which of its ways each ``Coupled`` takes; empty: the first of each."""


@frozen(eq=False)
class Coupled:
    """Operators that choose their modes together; one alone where nothing depends on its mode.

    Attributes
    ----------
    members
        Operator indices, in topological order.
    ways
        The mode of each member, for each way. The first is what is taken without need.
    """

    members: tuple[int, ...]
    ways: tuple[Mapping[int, int], ...]


def find_coupled(problem: Problem, rules: Rules) -> tuple[Coupled, ...]:
    """Return the operators that have a choice of ways, in topological order of their first members.

    A way is named by a mode: members that have a mode of this name take it, and the others the one
    that takes the least time, and then writes the least, of those that go with their readers'.
    Only modes on single devices count. O(operators + tensors x pairs of modes).
    """
    modes = _single_device_modes(problem, rules)
    graph = problem.graph
    order = {o: i for i, o in enumerate(graph.topological_order)}
    kept: nx.Graph[int] = nx.Graph()
    kept.add_nodes_from(o for o, own in enumerate(modes) if len(own) > 1)
    for tensor, producer in enumerate(graph.producers):
        for consumer in graph.consumers[tensor]:
            if (
                producer in kept
                and consumer in kept
                and _may_clash(problem, modes, tensor, consumer)
            ):
                kept.add_edge(producer, consumer)
    for _, together in rules.of(Together):
        if together.what == "mode":
            inside = [graph.operator_index[name] for name in together.operators]
            nx.add_path(kept, [o for o in inside if o in kept])
    found = []
    for component in nx.connected_components(kept):
        members = sorted(component, key=order.__getitem__)
        ways = tuple(_ways(problem, modes, members))
        if len(ways) > 1:
            found.append(Coupled(tuple(members), ways))
    return tuple(sorted(found, key=lambda c: order[c.members[0]]))


def chosen_modes(coupled: Sequence[Coupled], ways: Ways) -> dict[int, int]:
    """Return the mode of each operator that has a choice, under these ways."""
    found: dict[int, int] = {}
    for number, one in enumerate(coupled):
        found.update(one.ways[ways[number] if ways else 0])
    return found


def _single_device_modes(problem: Problem, rules: Rules) -> list[dict[int, int]]:
    """Return, for each operator, its allowed modes on single devices with their least ticks.

    Of an only mode nobody asks for the ticks: they count as 0.
    """
    result = []
    for operator, by_group in enumerate(rules.allowed_by_group):
        alternatives = problem.alternatives[operator]
        if len(problem.graph.operators[operator].modes) == 1:
            single = any(len(alternatives[row].devices) == 1 for rows in by_group for row in rows)
            result.append({0: 0} if single else {})
            continue
        microbatch = problem.microbatches_of(operator).start
        found: dict[int, int] = {}
        for row in sorted({row for rows in by_group for row in rows}):
            one = alternatives[row]
            if len(one.devices) == 1:
                ticks = problem.ticks(operator, one, microbatch)
                found[one.mode] = min(ticks, found.get(one.mode, ticks))
        result.append(found)
    return result


def _may_clash(
    problem: Problem, modes: Sequence[Mapping[int, int]], tensor: int, consumer: int
) -> bool:
    """Return whether some modes of a tensor's two ends do not go together."""
    graph = problem.graph
    producer = graph.producers[tensor]
    return any(
        mode_clash(graph, tensor, made, consumer, read)
        for made in modes[producer]
        for read in modes[consumer]
    )


def _ways(
    problem: Problem, modes: Sequence[Mapping[int, int]], members: Sequence[int]
) -> Iterator[dict[int, int]]:
    """Yield the different ways that go together, in the order of the modes that name them."""
    operators = problem.graph.operators
    names = dict.fromkeys(operators[o].modes[m].name for o in members for m in modes[o])
    seen: set[tuple[int, ...]] = set()
    for name in names:
        way = _way(problem, modes, members, name)
        key = () if way is None else tuple(way[o] for o in members)
        if way is not None and key not in seen:
            seen.add(key)
            yield way


def _way(
    problem: Problem, modes: Sequence[Mapping[int, int]], members: Sequence[int], name: str
) -> dict[int, int] | None:
    """Return the way that a mode names; None if there is none that goes together."""
    graph = problem.graph
    way: dict[int, int] = {}

    def fits(operator: int, mode: int) -> bool:
        """Return whether a mode writes what chosen readers read, and those without a choice."""
        return not any(
            mode_clash(
                graph, tensor, mode, consumer, way.get(consumer, next(iter(modes[consumer]), 0))
            )
            for tensor in graph.outputs[operator]
            for consumer in graph.consumers[tensor]
            if consumer in way or len(modes[consumer]) < 2
        )

    def weight(operator: int, mode: int) -> tuple[int, int, int]:
        return modes[operator][mode], sum(graph.writes(operator, mode).values()), mode

    for operator in reversed(members):
        own = graph.operators[operator].modes
        named = [m for m in modes[operator] if own[m].name == name]
        fitting = [m for m in named or modes[operator] if fits(operator, m)]
        if not fitting:
            return None
        way[operator] = min(fitting, key=lambda m: weight(operator, m))
    for operator in members:
        for tensor in graph.inputs[operator]:
            producer = graph.producers[tensor]
            if producer not in way and len(modes[producer]) == 1:
                made = next(iter(modes[producer]))
                if mode_clash(graph, tensor, made, operator, way[operator]):
                    return None
    return way
