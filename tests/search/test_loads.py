"""The load bound solves a linear program, and leaves nothing behind."""

from __future__ import annotations

import highspy

from parplan.graph import Graph, Mode, Operator
from parplan.hardware import Cluster, Device
from parplan.plugins.manager import load_registry
from parplan.problem import Problem
from parplan.rules import make_rules
from parplan.search.bounds import combinatorial_bounds
from parplan.workload import Workload


def test_highs_may_take_any_number_of_threads_afterwards() -> None:
    operators = tuple(Operator(name, modes=(Mode(seconds={"*": 1.0}),)) for name in "abc")
    problem = Problem(
        "two devices",
        Graph("independent", operators),
        Cluster("pair", (Device("d0"), Device("d1"))),
        Workload(),
        tick_s=1.0,
    )
    bounds = combinatorial_bounds(problem, make_rules(problem, load_registry(installed=False)))
    assert any("load" in bound.source for bound in bounds)
    model = highspy.Highs()
    model.silent()
    model.setOptionValue("threads", 2)
    model.addVar(0.0, 1.0)
    assert model.run() == highspy.HighsStatus.kOk
