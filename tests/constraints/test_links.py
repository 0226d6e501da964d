"""Links carry as many transfers and collectives at once as they have room for."""

from __future__ import annotations

import attrs
import pytest

from parplan.checking import check_schedule
from parplan.graph import Mode
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.schedule import Schedule
from tests.examples import chain, placed


@pytest.mark.parametrize(
    ("capacity", "shift", "expected"),
    [(1, 0, ["g0>g1"]), (1, 3, []), (2, 0, []), (None, 0, [])],
)
def test_capacity_in_transfers_at_once(
    capacity: int | None, shift: int, expected: list[str], registry: Registry
) -> None:
    problem = chain(2, devices=2, microbatches=2, size=3)
    links = tuple(attrs.evolve(k, capacity=capacity) for k in problem.cluster.links)
    problem = attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, links=links))
    schedule = placed(problem, o1="g1")
    transfers = attrs.evolve(schedule.transfers, start=[10, 10 + shift])
    tasks = attrs.evolve(schedule.tasks, start=[0, 1, 20, 21])
    found = check_schedule(Schedule(problem, tasks, transfers), make_rules(problem, registry))
    assert [v.where for v in found] == expected


def test_a_collective_holds_the_links_of_its_ring(registry: Registry) -> None:
    problem = chain(3, devices=2, size=3)
    ring = Mode(devices=2, seconds={"*": 2.0}, engines=("collective",), ring_steps=1)
    operators = (
        *problem.graph.operators[:2],
        attrs.evolve(problem.graph.operators[2], modes=(ring,)),
    )
    graph = attrs.evolve(problem.graph, operators=operators, tensors=problem.graph.tensors[:1])
    cluster = attrs.evolve(problem.cluster, groups=(("g0", "g1"),))
    problem = attrs.evolve(problem, graph=graph, cluster=cluster)
    schedule = placed(problem, o1="g1")
    rules = make_rules(problem, registry)
    # o0 0-1, its transfer 1-4, o1 from 4; the collective beside or after the transfer.
    for start, expected in ((2, ["g0>g1"]), (4, [])):
        tasks = attrs.evolve(schedule.tasks, start=[0, 4, start])
        found = check_schedule(Schedule(problem, tasks, schedule.transfers), rules)
        assert [v.where for v in found] == expected
