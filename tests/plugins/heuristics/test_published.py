"""Heuristics on the example of Topcuoglu, Hariri, Wu (2002), and on random graphs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from parplan.contracts import PlacementHeuristic, Proposal
from parplan.errors import InfeasibleError, PluginError
from parplan.problem import Problem
from parplan.registry import Registered, Registry
from parplan.rules import make_rules
from parplan.search.graphs.from_problem import can_be_placed, make_task_graph
from parplan.search.graphs.list_schedule import ListSchedules
from parplan.search.graphs.schedules import completed, proposed
from parplan.search.graphs.task_graph import TaskGraph
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.placement import Placer
from tests.search.graphs.heft_example import heft_example
from tests.strategies import problems


def _lists(problem: Problem, registry: Registry) -> ListSchedules | None:
    rules = make_rules(problem, registry)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    return ListSchedules(make_task_graph(placer)) if can_be_placed(placer) else None


@pytest.mark.parametrize(("name", "makespan"), [("heft", 80), ("cpop", 86), ("dynamic-level", 91)])
def test_the_published_makespan(name: str, makespan: int, registry: Registry) -> None:
    """Figure 3 and section 6 of the paper: HEFT 80, CPOP 86, DLS 91."""
    lists = _lists(heft_example(), registry)
    assert lists is not None
    proposal = proposed(lists, registry.heuristics[name])
    assert proposal is not None
    placed = completed(lists, proposal)
    assert placed is not None
    assert placed.makespan == makespan


@settings(max_examples=40, deadline=None)
@given(problem=problems(gangs=False))
def test_every_heuristic_keeps_precedence_and_places(problem: Problem, registry: Registry) -> None:
    """Units with tasks have an allowed device, and tasks start when their inputs are made."""
    try:
        lists = _lists(problem, registry)
    except InfeasibleError:
        return
    if lists is None:
        return
    graph = lists.graph
    for heuristic in registry.heuristics.values():
        proposal = proposed(lists, heuristic)
        placed = None if proposal is None else completed(lists, proposal)
        if placed is None:
            continue
        device = placed.device[graph.unit]
        assert graph.allowed[graph.unit, device].all()
        ends = placed.starts + graph.ticks[range(len(graph)), device]
        for send, producer in enumerate(graph.sends.producer):
            for reader in graph.sends.readers.row(send):
                assert placed.starts[reader] >= ends[producer]
        assert placed.makespan == ends.max()


class _Misshapen(PlacementHeuristic):
    name = "misshapen"

    def place(self, graph: TaskGraph) -> Proposal:
        return Proposal(graph.mean_ticks()[:-1])


def test_a_proposal_of_another_shape_names_the_plugin(registry: Registry) -> None:
    lists = _lists(heft_example(), registry)
    assert lists is not None
    entry: Registered[PlacementHeuristic] = Registered("misshapen", _Misshapen(), "somebody")
    with pytest.raises(PluginError, match=r"misshapen.*shape \(9,\)"):
        proposed(lists, entry)
