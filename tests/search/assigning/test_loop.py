"""The loop of upper model, timing and cuts: with any solver it ends at the optimum, proven."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parplan import clock
from parplan.errors import InfeasibleError
from parplan.graph import Graph, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.options import SearchOptions
from parplan.plugins.manager import load_registry
from parplan.problem import Problem
from parplan.rules import Rules, make_rules
from parplan.search.assigning import loop
from parplan.search.assigning.loop import search_assignments
from parplan.search.improving.heuristics import first_candidates
from parplan.search.incumbent import Incumbent
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Finisher
from parplan.search.placing.placement import Placer
from parplan.workload import Workload
from tests.differential.generators import declarations, examples, small_problems
from tests.differential.solving import by_cp_sat, optimum, with_declared
from tests.exhaustive import shortest_schedule

REGISTRY = load_registry(installed=False)


def diamond() -> Problem:
    """One operator before two, and one after them, on a fast and a slow device."""
    seconds = [(1, 2), (3, 4), (2, 5), (1, 1)]
    operators = tuple(
        Operator(f"o{n}", modes=(Mode(seconds={"fast": float(a), "slow": float(b)}),))
        for n, (a, b) in enumerate(seconds)
    )
    tensors = (
        Tensor("a", "o0", ("o1", "o2"), 1),
        Tensor("b", "o1", ("o3",), 1),
        Tensor("c", "o2", ("o3",), 2),
    )
    devices = tuple(Device(k, kind=k, peak_flops={"bf16": 1.0}) for k in ("fast", "slow"))
    links = (Link("up", "fast", "slow", 1.0), Link("down", "slow", "fast", 1.0))
    graph, cluster = Graph("diamond", operators, tensors), Cluster("uneven", devices, links)
    return Problem("diamond", graph, cluster, Workload(), tick_s=1.0)


def _searched(rules: Rules, solver: str, seconds: float) -> Incumbent | None:
    """Return what the loop alone makes of the worst start; None if no list schedule fits."""
    placer = Placer(rules.problem, rules, find_blocks(rules.problem, rules))
    incumbent = Incumbent(rules)
    starts = [c for _, c in first_candidates(placer, clock.now() + 1.0)]
    if not starts:
        return None
    incumbent.offer(Finisher(placer).finish(max(starts, key=lambda c: c.figure)), "start")
    options = SearchOptions(time_limit_s=seconds, workers=1)
    chosen = REGISTRY.solvers[solver].value
    search_assignments(placer, chosen, options, incumbent, clock.now() + seconds)
    return incumbent


@pytest.mark.parametrize("solver", ["cp-sat", "highs", "scip", "cbc"])
def test_each_solver_drives_the_loop_alone_to_the_optimum(solver: str) -> None:
    found = REGISTRY.solvers[solver].value.probe()
    if not found.available:
        pytest.skip(found.reason)
    problem = diamond()
    best = shortest_schedule(problem)
    assert best is not None
    incumbent = _searched(make_rules(problem, REGISTRY), solver, 120.0)
    assert incumbent is not None
    assert incumbent.schedule is not None
    assert incumbent.schedule.makespan == best.makespan
    assert (incumbent.gap, incumbent.rejected, incumbent.failures) == (0, [], [])


@pytest.mark.slow
@settings(max_examples=examples(6), suppress_health_check=list(HealthCheck))
@given(data=st.data(), problem=small_problems(5, 3, 6), tries=st.sampled_from([0, 0, 3]))
def test_it_ends_where_the_whole_model_does(
    data: st.DataObject, problem: Problem, tries: int
) -> None:
    """Proofs by solvers hold for whole assignments, or are narrowed down in a few tries."""
    drawn = data.draw(declarations(problem)) if data.draw(st.booleans()) else ()
    rules = with_declared(problem, REGISTRY, drawn)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "SOLVER_TRIES", tries)
        try:
            incumbent = _searched(rules, "highs", 60.0)
        except InfeasibleError:
            assert optimum(rules, by_cp_sat) is None
            return
    if incumbent is None or incumbent.schedule is None:
        return
    assert incumbent.failures == []
    assert incumbent.schedule.makespan == optimum(rules, by_cp_sat)
    assert incumbent.gap == 0
