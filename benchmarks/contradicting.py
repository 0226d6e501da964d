"""Looks for contradictions: what searches claim of random small problems, beside the truth.

The truth is the optimum by trying everything (``tests/exhaustive.py``), or where that takes too
long, what CP-SAT proves of the whole model. Each way of searching must not go below it, must reach
it where it claims to, and no bound of it may exceed it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

import attrs
from attrs import frozen

from benchmarks.small_problems import TINY, draw_problem
from parplan.contracts import (
    Answer,
    Availability,
    Capability,
    Report,
    SolveOptions,
    Solver,
    Termination,
)
from parplan.errors import InfeasibleError, LimitError
from parplan.model.schedule_model import ScheduleModel
from parplan.options import SearchOptions
from parplan.plugins.solvers import cp_sat, mip
from parplan.problem import Problem
from parplan.registry import Registered, Registry
from parplan.rules import Rules, make_rules
from parplan.search.orchestrator import search

WAYS = ("cp-sat", "highs", "list")
"""Solvers that search: CP-SAT the whole model, HiGHS the loop of two levels first, and none."""

MOST_NODES = 60_000
"""Starts that full enumeration tries, about a second; else CP-SAT has the last word."""

LIMIT_S = 6.0
"""Seconds of a search: all but a few end by a proof long before."""

LIST_S = 0.5
"""The same where no solver proves anything."""

EQUAL = 1e-6


@frozen
class Truth:
    """The least makespan in seconds; None if there is no plan; and who says so."""

    value: float | None
    source: str


@frozen
class Finding:
    """What a way of searching said of one problem.

    Attributes
    ----------
    contradiction
        What of it cannot be true; empty if nothing contradicts.
    proven
        Whether it claims an optimum, or that there is no plan.
    """

    seed: str
    way: str
    truth: Truth
    proven: bool
    contradiction: str


class _Here(Solver):
    """A built-in solver in this process, which is much faster for models of a few rows."""

    def __init__(self, solver: Solver) -> None:
        self.solver = solver
        self.name, self.capabilities = solver.name, solver.capabilities  # type: ignore[misc]  # as it

    def probe(self) -> Availability:
        """Say that it runs; a solve says otherwise where it does not."""
        return Availability(True)

    def solve(
        self,
        model: Any,
        options: SolveOptions,
        warm_start: Mapping[str, float] | None = None,
        report: Report | None = None,
    ) -> Answer:
        """Solve without a process of its own."""
        if Capability.CP in self.capabilities:
            return cp_sat.solve_here(None, model, options, warm_start)
        adapter = mip.Highs.adapter
        return mip.solve_here(None, model, options, warm_start, adapter=adapter, name=self.name)


def in_this_process(registry: Registry) -> Registry:
    """Return the registry with CP-SAT and HiGHS in this process, and nothing that forks."""
    solvers: dict[str, Registered[Solver]] = {
        name: attrs.evolve(registry.solvers[name], value=_Here(registry.solvers[name].value))
        for name in ("cp-sat", "highs")
    }
    return attrs.evolve(registry, solvers=solvers, executors={})


def find_contradictions(cases: int, seed: int, registry: Registry) -> Iterator[Finding]:
    """Yield what each way of searching said of each of so many problems."""
    here = in_this_process(registry)
    for number in range(cases):
        name = f"{seed}/{number}"
        problem = draw_problem(Random(name), TINY)
        rules = make_rules(problem, here)
        truth = find_truth(problem, rules)
        if truth is not None:
            for way in WAYS:
                yield attrs.evolve(compare(problem, rules, here, way, truth), seed=name)


def find_truth(problem: Problem, rules: Rules) -> Truth | None:
    """Return the optimum; None if nobody knows it."""
    from tests.exhaustive import TooLargeError, shortest_schedule

    try:
        best = shortest_schedule(problem, max_nodes=MOST_NODES)
    except TooLargeError:
        return _truth_by_model(rules)
    value = None if best is None else best.makespan * problem.tick_s
    return Truth(value, "full enumeration")


def _truth_by_model(rules: Rules) -> Truth | None:
    try:
        model = ScheduleModel(rules)
    except InfeasibleError:
        return Truth(None, "whole model")
    answer = cp_sat.solve_here(None, model.pyomo, SolveOptions(time_limit_s=5 * LIMIT_S, workers=1))
    if answer.termination is Termination.INFEASIBLE:
        return Truth(None, "whole model")
    if answer.termination is not Termination.OPTIMAL or answer.objective is None:
        return None
    return Truth(answer.objective * rules.problem.tick_s, "whole model")


def compare(problem: Problem, rules: Rules, registry: Registry, way: str, truth: Truth) -> Finding:
    """Return what one way of searching says beside the truth."""
    options = SearchOptions(
        solver=way, time_limit_s=LIMIT_S if way != "list" else LIST_S, workers=1
    )
    try:
        plan = search(problem, rules, registry, options)
    except InfeasibleError:
        wrong = "" if truth.value is None else f"says there is no plan; one takes {truth.value:g}"
        return Finding("", way, truth, True, wrong)
    except LimitError:
        return Finding("", way, truth, False, "")
    proven = plan.status == "optimal"
    return Finding("", way, truth, proven, _wrong(plan.value, plan.bound, proven, truth))


def _wrong(value: float, bound: Any, proven: bool, truth: Truth) -> str:
    """Return what of a plan's claims cannot be true."""
    if truth.value is None:
        return f"has a plan of {value:g} where there is none"
    if value < truth.value - EQUAL:
        return f"has a plan of {value:g}; the least is {truth.value:g}"
    if bound is not None and bound.value > truth.value + EQUAL:
        return f"has a bound of {bound.value:g} ({bound.source}); a plan takes {truth.value:g}"
    if proven and value > truth.value + EQUAL:
        return f"calls {value:g} optimal; a plan takes {truth.value:g}"
    return ""


def summary(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return how many problems were judged, how many claims are proven, and what contradicts."""
    ways: dict[str, dict[str, int]] = {way: {"claims": 0, "proven": 0} for way in WAYS}
    for finding in findings:
        ways[finding.way]["claims"] += 1
        ways[finding.way]["proven"] += finding.proven
    truths = {finding.seed: finding.truth for finding in findings}
    return {
        "problems": len(truths),
        "by_full_enumeration": sum(t.source == "full enumeration" for t in truths.values()),
        "without_plan": sum(t.value is None for t in truths.values()),
        "ways": ways,
        "contradictions": [
            {"seed": f.seed, "way": f.way, "says": f.contradiction, "truth": f.truth.source}
            for f in findings
            if f.contradiction
        ],
    }
