"""The load bound solves a linear program, and leaves nothing behind."""

from __future__ import annotations

import highspy
import pytest

from parplan.graph import Graph, Mode, Operator
from parplan.hardware import Cluster, Device
from parplan.plugins.manager import load_registry
from parplan.problem import Problem
from parplan.rules import make_rules
from parplan.search.bounds import combinatorial_bounds
from parplan.workload import Workload


def run_highs(threads: int) -> highspy.HighsStatus:
    """Return how HiGHS ends on a small model with that many threads."""
    model = highspy.Highs()
    model.silent()
    model.setOptionValue("threads", threads)
    model.addVar(0.0, 1.0)
    return model.run()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_load_bound_shares_the_process_with_other_uses_of_highs(threads: int) -> None:
    operators = tuple(Operator(name, modes=(Mode(seconds={"*": 1.0}),)) for name in "abc")
    problem = Problem(
        "two devices",
        Graph("independent", operators),
        Cluster("pair", (Device("d0"), Device("d1"))),
        Workload(),
        tick_s=1.0,
    )
    rules = make_rules(problem, load_registry(installed=False))
    for _ in range(2):
        bounds = combinatorial_bounds(problem, rules)
        assert any("load" in bound.source for bound in bounds)
        assert run_highs(threads) == highspy.HighsStatus.kOk
    highspy.Highs.resetGlobalScheduler(True)
