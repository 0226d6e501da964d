"""A part of the graph: operators around one, or those of a module, may go anywhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import ClassVar

from parplan.contracts import Freedom, Neighbourhood
from parplan.graph import Graph
from parplan.rules import Rules
from parplan.schedule import Schedule

MODULE_SHARE = 0.3
"""How often a module is freed, where the operator in the middle has one of a fitting size."""


class Subgraph(Neighbourhood):
    """Frees operators that are near to one another in the graph, in all their alternatives."""

    name: ClassVar[str] = "subgraph"

    def free(
        self, elite: Sequence[Schedule], rules: Rules, size: int, random: Random
    ) -> Freedom | None:
        """Return the operators around a random one, or of its module."""
        problem = rules.problem
        per_operator = max(problem.task_count // len(problem.graph.operators), 1)
        count = max(size // per_operator, 1)
        middle = random.randrange(len(problem.graph.operators))
        chosen = _around(problem.graph, middle, count)
        module = problem.graph.operators[middle].module
        if module and random.random() < MODULE_SHARE:
            same = [o for o, spec in enumerate(problem.graph.operators) if spec.module == module]
            chosen = same if len(same) <= count else chosen
        return Freedom(
            {
                (o, group): rules.allowed_by_group[o][group]
                for o in chosen
                for group in problem.groups_of(o)
            }
        )


def _around(graph: Graph, middle: int, count: int) -> list[int]:
    """Return the operators nearest to one, either way along tensors."""
    found, waiting = {middle: None}, deque([middle])
    while waiting and len(found) < count:
        here = waiting.popleft()
        before = [graph.producers[t] for t in graph.inputs[here]]
        after = [reader for t in graph.outputs[here] for reader in graph.consumers[t]]
        for near in (*before, *after):
            if near not in found and len(found) < count:
                found[near] = None
                waiting.append(near)
    return list(found)
