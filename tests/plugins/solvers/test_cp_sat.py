from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import attrs
import pyomo.environ as pyo
import pytest

from parplan.contracts import Answer, Progress, SolveOptions, Termination
from parplan.model.terms import Before, Interval, NoOverlap, record
from parplan.plugins.solvers import cp_sat
from parplan.plugins.solvers.cp_sat import CpSat
from parplan.system.contained import Channel


def _jobs(sizes: list[list[int]], seed: int = 0) -> Any:
    """Return a job shop: job j visits the machines in an order of its own."""
    rng = random.Random(seed)
    horizon = sum(map(sum, sizes))
    model = pyo.ConcreteModel()
    keys = [(j, k) for j, row in enumerate(sizes) for k in range(len(row))]
    model.start = pyo.Var(keys, domain=pyo.Integers, bounds=(0, horizon))
    model.makespan = pyo.Var(domain=pyo.Integers, bounds=(0, horizon))
    model.objective = pyo.Objective(expr=0.5 * model.makespan)
    machines: dict[int, list[Interval]] = {}
    for j, row in enumerate(sizes):
        order = rng.sample(range(len(row)), len(row))
        steps = [
            Interval(f"{j}.{k}", model.start[j, k], model.start[j, k] + row[k], row[k])
            for k in range(len(row))
        ]
        for k, step in enumerate(steps):
            machines.setdefault(order[k], []).append(step)
        chain = [*steps, Interval("end", model.makespan, model.makespan, 0)]
        record(model, *(Before(a, b) for a, b in itertools.pairwise(chain)))
    record(model, *(NoOverlap(f"machine {m}", found) for m, found in machines.items()))
    return model


def _large(jobs: int = 30, machines: int = 15) -> Any:
    """Return a job shop that CP-SAT does not prove within a second."""
    rng = random.Random(3)
    return _jobs([[rng.randint(1, 99) for _ in range(machines)] for _ in range(jobs)], seed=4)


ONE = SolveOptions(time_limit_s=30, workers=1)

ANY = SolveOptions(time_limit_s=120, workers=1, gap=0.9)
"""Takes any solution, however long the machine needs to find it."""


def test_the_probe_solves_and_tells_the_version() -> None:
    found = CpSat().probe()
    assert found.available, found.reason
    assert found.version[0].isdigit()


def test_a_missing_package_is_said_with_the_way_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ortools", None)
    found = CpSat().probe()
    assert not found.available
    assert "pip install" in found.reason


def test_an_optimum_comes_with_values_bound_and_version() -> None:
    model = _jobs([[3, 2, 4], [2, 5, 1], [4, 4, 3]])
    answer = CpSat().solve(model, ONE)
    assert answer.termination is Termination.OPTIMAL
    assert answer.objective == answer.bound
    assert answer.objective == 0.5 * answer.values["makespan"]
    assert set(answer.values) == {v.name for v in model.component_data_objects(pyo.Var)}
    assert answer.version


def test_infeasibility_is_an_answer() -> None:
    model = _jobs([[3, 2], [2, 5]])
    model.limit = pyo.Constraint(expr=model.makespan <= 6)
    answer = CpSat().solve(model, ONE)
    assert answer.termination is Termination.INFEASIBLE
    assert answer.values == {}


def test_a_model_that_cannot_be_taken_is_refused_with_the_reason() -> None:
    model = _jobs([[3, 2], [2, 5]])
    model.power = pyo.Var(bounds=(0, 1))
    model.limit = pyo.Constraint(expr=model.makespan <= 100 * model.power)
    answer = CpSat().solve(model, ONE)
    assert answer.termination is Termination.REFUSED
    assert "'power' is continuous" in answer.message


def test_a_cutoff_below_the_optimum_proves_that_there_is_nothing() -> None:
    model = _jobs([[3, 2, 4], [2, 5, 1], [4, 4, 3]])
    best = CpSat().solve(model, ONE).objective
    assert best is not None
    again = CpSat().solve(model, SolveOptions(workers=1, cutoff=best))
    assert (again.termination, again.objective) == (Termination.OPTIMAL, best)
    below = CpSat().solve(model, SolveOptions(workers=1, cutoff=best - 0.5))
    assert below.termination is Termination.INFEASIBLE


def test_the_time_limit_leaves_the_incumbent_and_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a start, which there is time to read however long the machine takes to state it."""
    monkeypatch.setattr("parplan.system.contained.GRACE_S", 300.0)
    monkeypatch.setattr(cp_sat, "LEAST_TIME_S", 2.0)
    heard: list[Progress] = []
    model = _large()
    start = CpSat().solve(model, ANY).values
    options = SolveOptions(time_limit_s=2.0, workers=1)
    answer = CpSat().solve(model, options, start, heard.append)
    assert answer.termination is Termination.TIME_LIMIT
    assert answer.objective is not None
    assert answer.bound is not None
    assert 0 < answer.bound <= answer.objective
    assert answer.message == ""  # it stopped by itself
    found = [news.incumbent for news in heard if news.incumbent is not None]
    assert found == sorted(found, reverse=True)
    assert found[-1] == answer.objective


def test_a_warm_start_is_the_first_incumbent() -> None:
    model = _large()
    any_one = CpSat().solve(model, ANY).objective
    assert any_one is not None
    better = CpSat().solve(model, attrs.evolve(ANY, cutoff=0.9 * any_one))
    assert better.objective is not None
    heard: list[Progress] = []
    CpSat().solve(model, ANY, better.values, heard.append)
    incumbents = [news.incumbent for news in heard if news.incumbent is not None]
    assert incumbents[0] <= better.objective < any_one


def test_the_same_seed_gives_the_same_answer() -> None:
    model = _jobs([[3, 2, 4, 5], [2, 5, 1, 7], [4, 4, 3, 2], [6, 1, 2, 3]])
    answers = [CpSat().solve(model, SolveOptions(workers=1, seed=7)) for _ in range(2)]
    assert answers[0].values == answers[1].values


def _dying(way: Callable[[], object]) -> Callable[..., Answer]:
    """Return a solve that dies as soon as an incumbent has been sent."""

    def solve(channel: Channel, *args: Any) -> Answer:
        send = channel.incumbent

        def send_and_die(payload: Any) -> None:
            send(payload)
            way()

        channel.incumbent = send_and_die  # type: ignore[method-assign]  # of this channel only
        return solve_here(channel, *args)

    solve_here = cp_sat.solve_here
    return solve


@pytest.mark.parametrize(
    ("way", "limit_s", "termination", "words"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), 60.0, Termination.FAILED, "killed"),
        (os.abort, 60.0, Termination.FAILED, "SIGABRT"),
        (threading.Event().wait, 3.0, Termination.TIME_LIMIT, "did not stop"),
    ],
)
def test_a_dead_or_hanging_solver_leaves_its_incumbent(
    way: Callable[[], object],
    limit_s: float,
    termination: Termination,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("parplan.system.contained.GRACE_S", 0.3)
    monkeypatch.setattr(cp_sat, "solve_here", _dying(way))
    answer = CpSat().solve(_large(), SolveOptions(time_limit_s=limit_s, workers=1))
    assert answer.termination is termination
    assert words in answer.message
    assert answer.objective is not None
    assert answer.values["makespan"] == 2 * answer.objective


IMPORTS = """
    import importlib, sys
    import pyomo.environ as pyo
    from parplan.contracts import SolveOptions
    from parplan.plugins.solvers.cp_sat import CpSat

    for name in sys.argv[1].split(","):
        importlib.import_module(name)
    model = pyo.ConcreteModel()
    model.x = pyo.Var(domain=pyo.Integers, bounds=(0, 9))
    model.row = pyo.Constraint(expr=2 * model.x >= 5)
    model.objective = pyo.Objective(expr=model.x)
    print(CpSat().solve(model, SolveOptions(workers=1)).objective)
    if "highspy" in sys.argv[1]:
        highs = pyo.SolverFactory("highs")
        highs.solve(model)
        print(pyo.value(model.x))
"""


@pytest.mark.parametrize(
    "order",
    ["ortools.sat.python.cp_model,highspy", "highspy,ortools.sat.python.cp_model", "highspy"],
)
def test_highspy_and_ortools_share_a_process_in_either_order(order: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(IMPORTS), order],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [float(line) for line in done.stdout.split()] == [3.0, 3.0]


def test_a_solve_loads_ortools_only_in_its_own_process() -> None:
    code = textwrap.dedent(IMPORTS) + 'print("ortools" in sys.modules)\n'
    done = subprocess.run(
        [sys.executable, "-c", code, "json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == ["3.0", "False"], done.stderr
