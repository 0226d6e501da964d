"""At most so many microbatches of a stage under way at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import networkx as nx
from attrs import field, frozen

from parplan.contracts import Constraint
from parplan.declarations import Declaration, Held, Resource
from parplan.errors import InputError
from parplan.patterns import matching_operators
from parplan.problem import Problem


@frozen
class InFlight(Constraint):
    """Caps on the microbatches that a stage has begun and not ended, whatever memory allows.

    A stage is any set of operators, e.g. those of one module; a microbatch is under way there from
    the start of the stage's first operator to the end of its last one. Runtimes with a fixed number
    of buffers for each stage have such caps.

    Attributes
    ----------
    limits
        Stage (an operator's name, a module, or a pattern) to the most microbatches. A pattern with
        several modules caps each of them.
    """

    name: ClassVar[str] = "in-flight"

    limits: Mapping[str, int] = field(factory=dict)

    def declare(self, problem: Problem) -> Iterable[Declaration]:
        """Yield a resource per stage, held from its first operator's start to its last's end."""
        for pattern, limit in self.limits.items():
            key = f"constraints.{self.name}.limits.{pattern}"
            if limit < 1:
                raise InputError(f"is {limit}; a stage needs room for at least 1", key=key)
            for module, members in _stages(problem, pattern, key).items():
                first, last = _ends(problem, module, members, key)
                held = Held(first, last)
                yield Resource(f"microbatches in flight on {module}", limit, (held,))


def _stages(problem: Problem, pattern: str, key: str) -> dict[str, list[str]]:
    """Return the operators that a pattern means by module, or by name where they have none."""
    operators, index = problem.graph.operators, problem.graph.operator_index
    stages: dict[str, list[str]] = {}
    for name in matching_operators(pattern, operators, key=key):
        stages.setdefault(operators[index[name]].module or name, []).append(name)
    return stages


def _ends(problem: Problem, stage: str, members: list[str], key: str) -> tuple[str, str]:
    """Return the operators that all others of a stage wait for, and that waits for all others."""
    graph = problem.graph
    inner = {graph.operator_index[name] for name in members}
    first = next(o for o in graph.topological_order if o in inner)
    last = next(o for o in reversed(graph.topological_order) if o in inner)
    after, before = nx.descendants(graph.digraph, first), nx.ancestors(graph.digraph, last)
    if inner - after - {first} or inner - before - {last}:
        raise InputError(
            f"'{stage}' has no single first and last operator, so when a microbatch is under way "
            "there is not clear; name operators between one that all wait for and one that waits "
            "for all",
            key=key,
        )
    return graph.operators[first].name, graph.operators[last].name
