"""Each link carries at most its capacity of transfers and collectives at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from attrs import frozen

from parplan.contracts import Constraint
from parplan.declarations import Declaration, Moving, Resource
from parplan.problem import Problem


@frozen
class Links(Constraint):
    """A transfer holds every link of its route; links without a capacity never queue."""

    name: ClassVar[str] = "links"

    def declare(self, problem: Problem) -> Iterable[Declaration]:
        """Yield one resource per link that has a capacity."""
        for link in problem.cluster.links:
            if link.capacity is not None:
                yield Resource(link.name, link.capacity, (Moving(link.name),), "transfers")
