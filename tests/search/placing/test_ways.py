"""Modes that depend on each other go together in every way that is offered, and ways are free."""

from __future__ import annotations

import itertools

import attrs
from hypothesis import given, settings

from parplan.graph import Graph, Mode, Operator, Tensor
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.scheduling.coupling import mode_clash
from parplan.search.placing.savings import find_savings
from parplan.search.placing.ways import chosen_modes, find_coupled
from tests.differential.generators import examples
from tests.examples import block, chain, recomputing, ruled
from tests.search.drawing import pipeline_problems


def names(problem: Problem, registry: Registry) -> list[list[dict[str, str]]]:
    """The operators of each coupled, with the name of their mode for each way."""
    operators = problem.graph.operators
    return [
        [{operators[o].name: operators[o].modes[m].name for o, m in way.items()} for way in c.ways]
        for c in find_coupled(problem, make_rules(problem, registry))
    ]


def test_a_forward_pass_and_the_backward_pass_that_reads_what_it_saves(registry: Registry) -> None:
    assert names(recomputing(block(2)), registry) == [
        [
            {f"layers.{i}:forward": mode, f"layers.{i}:backward": mode}
            for mode in ("keep", "recompute")
        ]
        for i in range(2)
    ]


def test_a_rule_couples_what_the_graph_leaves_free(registry: Registry) -> None:
    uniform = ruled(recomputing(block(3)), "recomputation", uniform=[["layers.0", "layers.2"]])
    sizes = [len(ways[0]) for ways in names(uniform, registry)]
    assert sorted(sizes) == [2, 4]
    never = ruled(recomputing(block(2)), "recomputation", never=["layers.1"])
    assert [set(ways[0]) for ways in names(never, registry)] == [
        {"layers.0:forward", "layers.0:backward"}
    ]


def test_layouts_couple_a_whole_chain_and_a_mode_that_reads_nothing_ends_it(
    registry: Registry,
) -> None:
    modes = tuple(
        Mode(layout, seconds={"*": seconds}, layout=layout)
        for layout, seconds in (("rows", 2.0), ("columns", 1.0))
    )
    problem = chain(4)
    graph = problem.graph
    operators = [attrs.evolve(o, modes=modes) for o in graph.operators]
    operators[2] = attrs.evolve(operators[2], modes=(Mode(seconds={"*": 1.0}),))
    laid_out = attrs.evolve(problem, graph=attrs.evolve(graph, operators=tuple(operators)))
    assert names(laid_out, registry) == [
        [{"o0": layout, "o1": layout} for layout in ("rows", "columns")],
        [{"o3": "rows"}, {"o3": "columns"}],
    ]


def test_no_way_leads_where_a_reader_without_a_choice_wants_what_is_not_written(
    registry: Registry,
) -> None:
    light = Mode("light", seconds={"*": 1.0}, writes={})
    full = Mode("full", seconds={"*": 5.0})
    graph = Graph(
        "demanding",
        (Operator("a", modes=(light, full)), Operator("b", modes=(Mode(seconds={"*": 1.0}),))),
        (Tensor("t", "a", ("b",), 1),),
    )
    assert names(attrs.evolve(chain(1), graph=graph), registry) == []


@settings(max_examples=examples(60))
@given(problem=pipeline_problems(3))
def test_any_choice_of_ways_goes_together(problem: Problem, registry: Registry) -> None:
    drawn = recomputing(attrs.evolve(problem, graph=_savable(problem.graph)))
    graph = drawn.graph
    coupled = find_coupled(drawn, make_rules(drawn, registry))
    assert coupled
    for ways in itertools.product(*(range(len(c.ways)) for c in coupled)):
        modes = chosen_modes(coupled, ways)
        for tensor, producer in enumerate(graph.producers):
            for consumer in graph.consumers[tensor]:
                made, read = modes.get(producer, 0), modes.get(consumer, 0)
                assert not mode_clash(graph, tensor, made, consumer, read)


def _savable(graph: Graph) -> Graph:
    """The graph with something saved by its first forward pass."""
    tensors = tuple(
        attrs.evolve(t, bytes=max(t.bytes, 1), output=False) if t.name == "saved0" else t
        for t in graph.tensors
    )
    passed_on = Tensor("more", "f0", (), 1, output=True)
    return attrs.evolve(graph, tensors=(*tensors, passed_on))


def test_savings_are_bytes_that_no_backward_pass_waits_for(registry: Registry) -> None:
    problem = recomputing(block(2))
    coupled = find_coupled(problem, make_rules(problem, registry))
    found = find_savings(problem, coupled)
    # Of layer 0, nothing else is kept; layer 1 keeps its input of one byte instead of four.
    assert [(s.coupled, s.way, s.saved, s.ticks) for s in found] == [(0, 1, 4, 1), (1, 1, 3, 1)]
