"""The least capacity of resources with which a plan exists."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from attrs import frozen

from parplan.checking.facts import Facts
from parplan.checking.usage import Usage
from parplan.declarations import Resident, ResidentParameters, Resource, Running
from parplan.problem import Problem
from parplan.rules import Rules
from parplan.schedule import Schedule
from parplan.search.conflicts.possibility import Possibility
from parplan.search.conflicts.requirements import resource_at, with_capacity

PRECISION = 0.01
"""What is enough is at most this part more than what is proven to be needed."""


@frozen
class Extra:
    """How much more of some resources a plan takes.

    ``least`` or more is needed of at least one of them; with ``enough`` more of each there is a
    plan.
    """

    least: float
    enough: float


def least_extra(rules: Rules, positions: Sequence[int], possibility: Possibility) -> Extra | None:
    """Return how much more of resources there must be, the same of each.

    A schedule that is found says by its own peak how much is enough, a proof how much is not; what
    is between is halved, until the two meet within ``PRECISION``.

    Parameters
    ----------
    positions
        Of the resources in ``rules.declared``. The rules as they are leave no plan.

    Returns
    -------
    Extra | None
        None if no amount is known to be enough.
    """
    resources = [resource_at(rules, p) for p in positions]
    step = granule(rules.problem, resources)
    huge = more_than_anything(rules, positions)
    found = possibility.of(larger(rules, positions, huge))
    if found.schedule is None:
        return None
    high = extra_used(found.schedule, resources)
    refuted = missed = _counted(rules, positions, high, step, possibility)
    while high - missed > max(PRECISION * high, step) and not possibility.is_over:
        middle = math.sqrt(missed * high) if 0 < 4 * missed < high else (missed + high) / 2
        found = possibility.of(larger(rules, positions, middle))
        if found.schedule is not None:
            high = min(extra_used(found.schedule, resources), middle)
            continue
        missed = middle
        if found.possible is False:
            refuted = middle
    # Levels are whole steps: below the next one that is above what is refuted nothing is gained.
    more = min(step - (r.capacity + refuted) % step for r in resources) if step else 0.0
    return Extra(min(refuted + more, high), high)


def _counted(
    rules: Rules, positions: Sequence[int], high: float, step: float, possibility: Possibility
) -> float:
    """Return how much more is not enough, by counting alone."""
    low = 0.0
    while high - low > max(PRECISION * high, step):
        middle = (low + high) / 2
        if possibility.counts_against(larger(rules, positions, middle)):
            low = middle
        else:
            high = middle
    return low


def more_than_anything(rules: Rules, positions: Sequence[int]) -> float:
    """Return more of some resources than any schedule is thought to hold at once."""
    resources = [resource_at(rules, p) for p in positions]
    if not granule(rules.problem, resources):
        return 1e6 * (1 + sum(r.capacity for r in resources))
    return float(sum(_all_bytes(rules.problem))) * (rules.problem.workload.microbatches + 1)


def larger(rules: Rules, positions: Sequence[int], extra: float) -> Rules:
    """Return the rules with more of the resources that are declared at these positions."""
    for position in positions:
        capacity = resource_at(rules, position).capacity + extra
        rules = with_capacity(rules, position, capacity)
    return rules


def extra_used(schedule: Schedule, resources: Sequence[Resource]) -> float:
    """Return by how much a schedule's highest level is above a resource's capacity."""
    usage = Usage(Facts(schedule))
    return max(usage.profile(resource).peak - resource.capacity for resource in resources)


def granule(problem: Problem, resources: Sequence[Resource]) -> float:
    """Return what every level of these resources is a multiple of; 0 where there is no such."""
    bytes_ = (Resident, ResidentParameters, Running)
    demands = [demand for resource in resources for demand in resource.demands]
    if all(
        isinstance(d, bytes_) and d.amount == 1.0 and getattr(d, "per_workspace_byte", True)
        for d in demands
    ):
        return float(math.gcd(*_all_bytes(problem)) or 1)
    return 0.0


def _all_bytes(problem: Problem) -> Iterator[int]:
    """Yield the sizes of everything that may lie in memory, each at least once."""
    graph, workload = problem.graph, problem.workload
    yield 0
    for index, operator in enumerate(graph.operators):
        runs = problem.microbatches_of(index)
        samples = runs if workload.scales else runs[:1]
        for mode in range(len(operator.modes)):
            yield operator.modes[mode].workspace_bytes
            yield from graph.parameter_bytes(index, mode).values()
            for tensor in graph.writes(index, mode):
                for m in samples:
                    yield problem.tensor_bytes(tensor, mode, m) or 0
