"""Parents that cannot all be beside their child: by hand, and against all schedules."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from parplan.graph import Graph, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.bounds import combinatorial_bounds
from parplan.search.bounds.beside import Beside
from parplan.search.bounds.instance import compile_instance
from parplan.search.bounds.paths import find_windows
from parplan.workload import Workload
from tests.exhaustive import TooLargeError, shortest_schedule
from tests.search.enumeration.drawing import delay_problems


def hub(*kinds: str, engines: int = 1) -> Cluster:
    """Return devices behind a switch whose links never queue; a byte takes a second."""
    return Cluster(
        "hub",
        tuple(Device(f"d{i}", k, engines={"compute": engines}) for i, k in enumerate(kinds)),
        tuple(
            Link(f"d{i}-hub", f"d{i}", "hub", 1.0, capacity=None, shared=True)
            for i in range(len(kinds))
        ),
        ("hub",),
    )


def join(cluster: Cluster, *parents: tuple[float, int]) -> Problem:
    """Return parents of (seconds, bytes) that one operator of a second reads."""
    operators = [
        Operator(f"p{i}", modes=(Mode(seconds={"*": s}),)) for i, (s, _) in enumerate(parents)
    ]
    tensors = [Tensor(f"t{i}", f"p{i}", ("end",), b) for i, (_, b) in enumerate(parents)]
    end = Operator("end", modes=(Mode(seconds={"*": 1.0}),))
    graph = Graph("join", (*operators, end), tuple(tensors))
    return Problem("join", graph, cluster, Workload(), tick_s=1.0)


def head_of_end(problem: Problem, registry: Registry) -> float:
    windows = find_windows(compile_instance(problem, make_rules(problem, registry)))
    return float(windows.head[-1][0])


@pytest.mark.parametrize(
    ("parents", "head"),
    [
        (((3, 2),), 3),  # beside its only parent
        (((3, 2), (3, 4)), 5),  # beside the later one, and 3 + 2 from the other
        (((3, 9), (3, 9)), 6),  # beside both
        (((3, 9), (3, 9), (3, 1)), 6),  # beside two, and 3 + 1 from the third
        (((5, 0), (5, 0)), 5),  # no delay
    ],
)
def test_a_join_waits_for_what_is_beside_it_or_for_delays(
    parents: tuple[tuple[float, int], ...], head: float, registry: Registry
) -> None:
    assert head_of_end(join(hub("a", "a", "a"), *parents), registry) == head


def test_a_device_that_takes_two_at_once_halves_the_work(registry: Registry) -> None:
    assert head_of_end(join(hub("a", "a", engines=2), *[(3.0, 99)] * 4), registry) == 6


def test_a_fork_is_a_join_from_its_end(registry: Registry) -> None:
    problem = join(hub("a", "a", "a"), (3, 9), (3, 9), (3, 1))
    readers = {f"p{i}": f"t{i}" for i in range(3)}
    tensors = tuple(
        attrs.evolve(t, producer="end", consumers=(reader,))
        for t, reader in zip(problem.graph.tensors, readers, strict=True)
    )
    fork = attrs.evolve(problem, graph=attrs.evolve(problem.graph, tensors=tensors))
    windows = find_windows(compile_instance(fork, make_rules(fork, registry)))
    assert windows.tail[-1].tolist() == [6.0]


def test_too_many_joins_are_left_to_other_bounds(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = join(hub("a", "a"), (3, 9), (3, 9))
    monkeypatch.setattr("parplan.search.bounds.beside.MOST_JOINS", 0)
    instance = compile_instance(problem, make_rules(problem, registry))
    assert Beside(instance).heads([], 2) is None
    assert head_of_end(problem, registry) == 3


@settings(max_examples=60, deadline=None)
@given(data=st.data(), problem=delay_problems(most_tasks=4, most_devices=2))
def test_no_bound_is_above_the_shortest_of_all_schedules(
    data: st.DataObject, problem: Problem, registry: Registry
) -> None:
    engines = data.draw(st.sampled_from([1, 1, 2]))
    queue = data.draw(st.sampled_from([None, 1]))
    cluster = attrs.evolve(
        problem.cluster,
        devices=tuple(
            attrs.evolve(d, engines={"compute": engines}) for d in problem.cluster.devices
        ),
        links=tuple(attrs.evolve(link, capacity=queue) for link in problem.cluster.links),
    )
    problem = attrs.evolve(problem, cluster=cluster)
    try:
        best = shortest_schedule(problem, max_nodes=100_000)
    except TooLargeError:
        reject()
    assert best is not None
    for bound in combinatorial_bounds(problem, make_rules(problem, registry)):
        assert bound.value <= best.makespan, bound
