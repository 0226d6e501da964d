"""Any one of four solvers, named alone, plans branches on unequal devices to the proven optimum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from parplan.checking import check_plan
from parplan.contracts import Answer, Availability, Report, SolveOptions, Solver
from parplan.graph import Graph, Mode, Operator, ParameterGroup, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.options import SearchOptions
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.orchestrator import search
from parplan.workload import Workload
from tests.exhaustive import shortest_schedule


def fork() -> Problem:
    """Three branches between a first and a last operator, on a fast and a slow device.

    Weights of all fit on neither, and one wire carries what is sent either way.
    """
    seconds = {"in": (1, 2), "left": (3, 4), "middle": (2, 4), "right": (2, 3), "out": (1, 2)}
    operators = tuple(
        Operator(
            name,
            parameters=(f"w.{name}",),
            modes=(Mode(seconds={"fast": float(fast), "slow": float(slow)}),),
        )
        for name, (fast, slow) in seconds.items()
    )
    branches = ("left", "middle", "right")
    tensors = (
        Tensor("x", "in", branches, 1),
        *(Tensor(f"y.{name}", name, ("out",), size) for size, name in enumerate(branches)),
    )
    devices = tuple(Device(kind, kind=kind, memory_bytes=9) for kind in ("fast", "slow"))
    groups = tuple(ParameterGroup(f"w.{name}", 2) for name in seconds)
    return Problem(
        "fork",
        Graph("fork", operators, tensors, groups),
        Cluster("uneven", devices, (Link("wire", "fast", "slow", 1.0, shared=True),)),
        Workload(),
        tick_s=1.0,
    )


class Counted(Solver):
    """A solver that counts what it is asked to solve."""

    def __init__(self, solver: Solver) -> None:
        self.solver, self.asked = solver, 0
        self.name, self.capabilities = solver.name, solver.capabilities  # type: ignore[misc]  # as it

    def probe(self) -> Availability:
        """Say what the solver says."""
        return self.solver.probe()

    def solve(
        self,
        model: Any,
        options: SolveOptions,
        warm_start: Mapping[str, float] | None = None,
        report: Report | None = None,
    ) -> Answer:
        """Solve, and count it."""
        self.asked += 1
        return self.solver.solve(model, options, warm_start, report)


@pytest.mark.parametrize("name", ["highs", "cp-sat", "scip", "cbc"])
def test_each_solver_alone_proves_the_optimum_of_a_fork(name: str, registry: Registry) -> None:
    found = registry.solvers[name].value.probe()
    if not found.available:
        pytest.skip(found.reason)  # it says how to get the solver
    counted = Counted(registry.solvers[name].value)
    alone = {name: attrs.evolve(registry.solvers[name], value=counted)}
    only = attrs.evolve(registry, solvers=alone)
    problem = fork()
    best = shortest_schedule(problem)
    assert best is not None
    options = SearchOptions(solver=name, time_limit_s=120.0, workers=1)
    plan = search(problem, make_rules(problem, only), only, options)
    assert check_plan(plan, only) == ()
    assert (plan.status, plan.value) == ("optimal", best.makespan)
    assert (plan.provenance["failures"], plan.provenance["rejected"]) == ([], [])
    assert counted.asked > 0
    assert plan.bound is not None
    assert name in plan.bound.source
