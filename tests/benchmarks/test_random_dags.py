"""Random graphs have the degrees and work they say, and a coarse problem has all the work."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.random_dags import (
    DEGREE,
    Shape,
    coarse_problem,
    heft_seconds,
    one_device,
    random_dag,
    task_graph_of,
)
from parplan.registry import Registry

SHAPE = Shape(60, (1.0, 2.0), 0.5, parts=12, seed=3)


def test_no_node_has_more_inputs_or_outputs_than_the_degree() -> None:
    graph = random_dag(SHAPE).graph
    inputs = Counter(reader for tensor in graph.tensors for reader in tensor.consumers)
    assert max(inputs.values()) == DEGREE
    assert max(len(tensor.consumers) for tensor in graph.tensors) == DEGREE
    assert len(inputs) == len(graph.operators) - 1  # the first node alone reads nothing


def test_a_shape_gives_one_graph() -> None:
    assert random_dag(SHAPE) == random_dag(SHAPE)


def test_the_coarse_problem_has_all_the_work(registry: Registry) -> None:
    problem = random_dag(SHAPE)
    graph = task_graph_of(problem, registry)
    coarse = coarse_problem(problem, graph, SHAPE.parts)
    assert len(coarse.graph.operators) == SHAPE.parts
    assert one_device(coarse) == pytest.approx(one_device(problem))
    assert one_device(problem) / 3 <= heft_seconds(problem, graph) <= 2 * one_device(problem)
