"""Operators that share a parameter group run on the same devices, so that it exists once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from attrs import frozen

from parplan.contracts import Constraint
from parplan.declarations import Declaration, Together
from parplan.problem import Problem


@frozen
class Weights(Constraint):
    """Forward, backward and optimizer of a block stay with its weights.

    Attributes
    ----------
    replicas
        Let readers of a group run on different devices, each with a copy of the group. Keeping
        the copies equal (an all-reduce of gradients) is then the business of the graph.
    """

    name: ClassVar[str] = "weights"

    replicas: bool = False

    def declare(self, problem: Problem) -> Iterable[Declaration]:
        """Yield the readers of each parameter group as operators that stay together."""
        if self.replicas:
            return
        readers: dict[str, list[str]] = {}
        for operator in problem.graph.operators:
            for group in operator.parameters:
                readers.setdefault(group, []).append(operator.name)
        # Groups with the same readers (weight and bias) say the same: say it once.
        for names in dict.fromkeys(tuple(names) for names in readers.values()):
            if len(names) > 1:
                yield Together(names)
