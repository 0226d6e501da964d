"""Blocks: operators that go to one device together, in the order of the model."""

from __future__ import annotations

import networkx as nx
from attrs import frozen

from parplan.declarations import Together
from parplan.problem import Problem
from parplan.rules import Rules


@frozen(eq=False)
class Blocks:
    """A partition of the operators; blocks are numbered in a topological order of their first use.

    Attributes
    ----------
    members
        Operator indices of each block, in topological order.
    block_of
        Block of each operator.
    """

    members: tuple[tuple[int, ...], ...]
    block_of: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.members)


def find_blocks(problem: Problem, rules: Rules) -> Blocks:
    """Return the blocks of a problem.

    Operators are in one block if a rule keeps them on the same devices, or if they are passes of
    one module (forward, backward, optimizer). O(operators + declarations).
    """
    graph = problem.graph
    kept: nx.Graph[int] = nx.Graph()
    kept.add_nodes_from(range(len(graph.operators)))
    for _, together in rules.of(Together):
        if together.what == "devices":
            nx.add_path(kept, [graph.operator_index[name] for name in together.operators])
    modules: dict[str, int] = {}
    for index, operator in enumerate(graph.operators):
        if operator.module:
            kept.add_edge(modules.setdefault(operator.module, index), index)
    component = {o: c for c, group in enumerate(nx.connected_components(kept)) for o in group}
    groups: dict[int, list[int]] = {}
    for index in graph.topological_order:
        groups.setdefault(component[index], []).append(index)
    members = tuple(tuple(group) for group in groups.values())
    block_of = [0] * len(graph.operators)
    for block, group in enumerate(members):
        for index in group:
            block_of[index] = block
    return Blocks(members, tuple(block_of))
