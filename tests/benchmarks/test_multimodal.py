"""Models that branch: what branches in each, and a plan beside chain-shaped pipelines."""

from __future__ import annotations

from pathlib import Path

import attrs
import networkx as nx
import pytest

from benchmarks.cases import Context
from benchmarks.multimodal import SETUPS, Setup, cases, setup_case
from parplan.api import prepare
from parplan.checking import check_plan
from parplan.problem import Problem

CLIP = next(setup for setup in SETUPS if setup.name == "clip-4")
SMALL = attrs.evolve(CLIP, microbatches=4, options={"microbatch": 64, "granularity": "layer"})


def _forward_chain(problem: Problem) -> tuple[int, int]:
    """Return the longest chain of forward operators, and how many there are."""
    graph = problem.graph
    forward = [i for i, o in enumerate(graph.operators) if o.name.endswith(":forward")]
    inside = graph.digraph.subgraph(forward)
    return len(nx.dag_longest_path(inside)), len(forward)


@pytest.mark.parametrize("setup", SETUPS, ids=[setup.name for setup in SETUPS])
def test_no_model_is_a_chain_and_no_cluster_even(setup: Setup) -> None:
    problem = prepare(setup.spec()).problem
    longest, count = _forward_chain(problem)
    assert longest < count
    assert len({device.kind for device in problem.cluster.devices}) == 2


def test_names_are_unique_and_one_is_short() -> None:
    names = [case.name for case in cases(Path())]
    assert len(set(names)) == len(names)
    assert [case.short for case in cases()].count(True) == 1


def test_a_plan_stands_beside_the_best_chain() -> None:
    outcome = setup_case(SMALL, Context(data=None, time_limit_s=4.0))
    assert outcome.plan is not None
    assert outcome.registry is not None
    assert not check_plan(outcome.plan, outcome.registry)
    rows = [row for row in outcome.details["hand_made"] if row["makespan_s"] is not None]
    assert rows
    assert outcome.reference == min(row["makespan_s"] for row in rows if not row["variant"])
