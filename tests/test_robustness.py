"""Whatever fails or lies, a checked plan that is there is kept, and what happened is told."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import attrs
import pytest

from parplan import api
from parplan.checking import check_plan
from parplan.cli import main
from parplan.contracts import (
    Answer,
    Availability,
    Capability,
    Progress,
    Solver,
    Termination,
)
from parplan.errors import InfeasibleError, LimitError, SolverError
from parplan.graph import Mode
from parplan.model import schedule_model
from parplan.plan_files.plan_file import load_plan
from parplan.plans import Plan
from parplan.problem import Problem
from parplan.registry import Registered, Registry
from parplan.search import orchestrator, steps
from parplan.search.improving import team
from tests.examples import block, chain

SPECS = Path(__file__).parents[1] / "examples" / "specs"


# -- backends that fail or lie ---------------------------------------------------------------------


class Backend(Solver):
    """Answers whatever it was made with."""

    name = "odd"
    capabilities = frozenset({Capability.CP, Capability.BOUND})

    def __init__(self, answer: Callable[[Any], Answer]) -> None:
        self.answer = answer

    def probe(self) -> Availability:
        return Availability(True, "1")

    def solve(self, model: Any, *_: object) -> Answer:
        return self.answer(model)


def _variables(model: Any) -> dict[str, float]:
    import pyomo.environ as pyo

    return {v.name: 0.0 for v in model.component_data_objects(pyo.Var)}


def _raises(model: Any) -> Answer:
    raise RuntimeError("no licence")


def _says(termination: Termination, **more: Any) -> Callable[[Any], Answer]:
    return lambda model: Answer(termination, "odd", "1", **more)


LIES: dict[str, tuple[Callable[[Any], Answer], str]] = {
    "raises": (_raises, "raised RuntimeError: no licence"),
    "fails": (_says(Termination.FAILED, message="out of memory"), "out of memory"),
    "refuses": (_says(Termination.REFUSED, message="cannot take cumulative"), "cannot take"),
    "claims a false bound": (_says(Termination.TIME_LIMIT, bound=1e9), "refuted by a plan"),
    "claims a false optimum": (_says(Termination.OPTIMAL, objective=1e9), "refuted by a plan"),
    "claims that there is no plan": (_says(Termination.INFEASIBLE), "claims that there is no plan"),
    "gives a wrong schedule": (
        lambda model: Answer(Termination.OPTIMAL, "odd", "1", _variables(model), 1.0),
        "breaks the rules",
    ),
    "gives values of nothing": (
        _says(Termination.OPTIMAL, values={"x": float("nan")}, objective=1.0),
        "raised",
    ),
}


def _with(registry: Registry, backend: Solver, *others: str) -> Registry:
    solvers = {name: registry.solvers[name] for name in others}
    return attrs.evolve(registry, solvers=solvers | {"odd": Registered("odd", backend, "test")})


def _unsolved() -> Problem:
    """Three chains' worth of work that no quick bound proves optimal."""
    return chain(5, devices=2, microbatches=2, size=1)


def _failures(plan: Plan) -> str:
    return "\n".join(f["message"] for f in plan.provenance["failures"])


@pytest.mark.parametrize("lie", LIES)
def test_a_backend_that_fails_or_lies_is_told_and_dropped(lie: str, registry: Registry) -> None:
    answer, told = LIES[lie]
    news: list[Progress] = []
    plan = api.plan(
        _unsolved(),
        registry=_with(registry, Backend(answer)),
        solver="odd",
        report=news.append,
        time_limit_s=20.0,
    )
    assert check_plan(plan, registry) == ()
    assert plan.status == "feasible"
    assert plan.bound is None or not plan.bound.claimed
    assert told in _failures(plan)
    assert any(told in n.message for n in news)


@pytest.mark.parametrize(
    "lie", ["raises", "claims that there is no plan", "gives a wrong schedule"]
)
def test_another_backend_serves_where_one_fails(lie: str, registry: Registry) -> None:
    known = _with(registry, Backend(LIES[lie][0]), "cp-sat")
    plan = api.plan(_unsolved(), registry=known, solver="odd", time_limit_s=30.0)
    assert check_plan(plan, registry) == ()
    assert plan.status == "optimal"
    assert LIES[lie][1] in _failures(plan)


def _gangs_only() -> Problem:
    """A chain whose operators run on devices apart from each other: no list schedule does that."""
    problem = chain(2, devices=3)
    gang = Mode("pair", devices=2, groups=(("g0", "g2"),), seconds={"*": 2.0})
    operators = tuple(attrs.evolve(o, modes=(gang,)) for o in problem.graph.operators)
    return attrs.evolve(problem, graph=attrs.evolve(problem.graph, operators=operators))


def test_gangs_alone_are_solved_exactly(registry: Registry) -> None:
    plan = api.plan(_gangs_only(), registry=registry, time_limit_s=30.0)
    assert (plan.value, plan.status) == (4.0, "optimal")
    assert check_plan(plan, registry) == ()


def test_gangs_alone_under_list_schedules_say_what_serves(registry: Registry) -> None:
    with pytest.raises(LimitError, match=r"'o0' runs on groups only.*--solver cp-sat"):
        api.plan(_gangs_only(), registry=registry, solver="list", time_limit_s=30.0)


def test_a_claim_that_no_plan_exists_is_asked_of_a_second_backend(registry: Registry) -> None:
    known = _with(registry, Backend(LIES["claims that there is no plan"][0]), "cp-sat")
    plan = api.plan(_gangs_only(), registry=known, solver="odd", time_limit_s=30.0)
    assert (plan.value, plan.solver.split()[0]) == (4.0, "cp-sat")
    assert "claimed no plan exists, refuted by cp-sat" in _failures(plan)


@pytest.mark.parametrize("lie", ["raises", "fails", "refuses", "gives a wrong schedule"])
def test_solver_error_where_nothing_else_serves(lie: str, registry: Registry) -> None:
    answer, told = LIES[lie]
    with pytest.raises(SolverError, match=told) as caught:
        api.plan(_gangs_only(), registry=_with(registry, Backend(answer)), solver="odd")
    assert (caught.value.solver, caught.value.exit_code) == ("odd", 5)


def test_a_solver_that_is_not_there_is_named_with_the_way_to_get_it(registry: Registry) -> None:
    class Missing(Backend):
        def probe(self) -> Availability:
            return Availability(False, reason="no module 'odd'; pip install odd")

    with pytest.raises(SolverError, match="not available: no module 'odd'; pip install odd"):
        api.plan(_unsolved(), registry=_with(registry, Missing(_raises)), solver="odd")


def test_the_default_falls_through_to_what_works(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Backend(_raises)
    known = attrs.evolve(
        registry,
        solvers={**registry.solvers, "cp-sat": Registered("cp-sat", broken, "test")},
    )
    plan = api.plan(_gangs_only(), registry=known, time_limit_s=30.0)
    assert (plan.value, plan.status) == (4.0, "optimal")
    assert plan.solver.startswith("highs")


# -- stages that fail ------------------------------------------------------------------------------


def _fail(*_: object, **__: object) -> Any:
    raise ZeroDivisionError("a fault")


@pytest.mark.parametrize(
    ("stage", "where", "name", "solver"),
    [
        ("bounds", orchestrator, "first_bounds", "list"),
        ("cp-sat", schedule_model, "ScheduleModel", "cp-sat"),
        ("local search", steps, "improved_by_team", "list"),
    ],
)
def test_a_fault_of_a_later_stage_keeps_the_plan(
    stage: str,
    where: object,
    name: str,
    solver: str,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    news: list[Progress] = []
    monkeypatch.setattr(where, name, _fail)
    plan = api.plan(
        _unsolved(),
        registry=registry,
        solver=solver,
        report=news.append,
        time_limit_s=2.0,
        workers=1,
    )
    assert check_plan(plan, registry) == ()
    assert {"stage": stage, "message": "ended by ZeroDivisionError: a fault"} in plan.provenance[
        "failures"
    ]
    assert any("ended by ZeroDivisionError" in n.message for n in news)


def test_a_proof_against_a_plan_that_is_there_is_dropped(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refute(*_: object) -> Any:
        raise InfeasibleError("no plan exists")

    monkeypatch.setattr(steps, "machine_bounds", refute)
    plan = api.plan(_unsolved(), registry=registry, solver="cp-sat", time_limit_s=20.0)
    assert plan.status == "optimal"
    assert "ended by InfeasibleError: no plan exists" in _failures(plan)


def test_a_fault_before_any_plan_is_not_hidden(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "first_candidates", _fail)
    with pytest.raises(ZeroDivisionError):
        api.plan(block(devices=2, microbatches=2), registry=registry, solver="list")


def _die(*_: object) -> Any:
    os._exit(3)


def test_workers_that_die_are_done_without(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, improve = os.getpid(), team.improve

    def fragile(*arguments: Any) -> Any:
        return improve(*arguments) if os.getpid() == parent else _die()

    fragile.__module__, fragile.__qualname__ = team.__name__, "improve"
    monkeypatch.setattr(team, "improve", fragile)
    plan = api.plan(_unsolved(), registry=registry, solver="list", time_limit_s=3.0, workers=2)
    assert check_plan(plan, registry) == ()
    assert BrokenProcessPool.__name__ in _failures(plan)
    assert "goes on without them" in _failures(plan)


# -- the command line, in a process of its own -----------------------------------------------------

JOBS = """
name: jobs
model:
  operators:
{operators}
  tensors:
{tensors}
cluster:
  devices: [{{name: "m{{}}", count: {machines}, kind: machine}}]
  switches: [hub]
  links:
{links}
workload: {{microbatches: 1}}
objectives: [makespan]
"""
"""A job shop: machines are devices, transfers take no time."""


def _job_shop(folder: Path, jobs: int = 15, machines: int = 10) -> Path:
    operators, tensors = [], []
    for j in range(jobs):
        for k in range(machines):
            machine = (5 * j + k * (1 if j % 2 else machines - 1)) % machines
            seconds = 1 + (j * 37 + k * 53 + j * k * 11) % 89
            operators.append(
                f"    - {{name: j{j}.{k}, modes: [{{groups: [[m{machine}]], "
                f"seconds: {{machine: {seconds}}}}}]}}"
            )
            if k:
                tensors.append(
                    f"    - {{name: t{j}.{k}, producer: j{j}.{k - 1}, consumers: [j{j}.{k}]}}"
                )
    path = folder / "jobs.yaml"
    links = [
        f"    - {{source: m{k}, target: hub, bandwidth: inf, two_way: true, capacity: null}}"
        for k in range(machines)
    ]
    parts = ("\n".join(rows) for rows in (operators, tensors, links))
    filled = dict(zip(("operators", "tensors", "links"), parts, strict=True))
    path.write_text(JOBS.format(machines=machines, **filled))
    return path


def test_a_killed_solver_leaves_a_checked_plan(tmp_path: Path, registry: Registry) -> None:
    def kill(news: Progress) -> None:
        if news.stage == "cp-sat" and not news.message:
            for child in multiprocessing.active_children():
                child.kill()

    spec = _job_shop(tmp_path)
    known = attrs.evolve(registry, solvers={"cp-sat": registry.solvers["cp-sat"]})
    plan = api.plan(spec, registry=known, time_limit_s=40.0, report=kill)
    assert check_plan(plan, registry) == ()
    assert plan.provenance["seconds"] < 35
    assert "killed from outside (SIGKILL" in _failures(plan)


@pytest.mark.parametrize("name", sorted(path.name for path in SPECS.glob("*.yaml")))
def test_one_second_gives_a_checked_plan_of_every_example(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "plan.json"
    code = main(["plan", str(SPECS / name), "--time-limit", "1", "-q", "-o", str(target)])
    assert code == 0, capfd.readouterr().err
    assert main(["check", str(target)]) == 0


class _Running:
    """``parplan plan`` in a process of its own; ``alive`` is held open by all its descendants."""

    def __init__(self, spec: Path, target: Path, *options: str) -> None:
        self.alive, held = os.pipe()
        command = [sys.executable, "-m", "parplan", "plan", str(spec), "-o", str(target), *options]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            pass_fds=(held,),
            # Pytest, or a shell's background job, may ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        os.close(held)
        self.told = ""

    def wait_for(self, word: str) -> None:
        """Read what it tells until a word comes."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.told += line
            if word in line:
                return
        pytest.fail(f"ended without '{word}':\n{self.told}")

    def interrupt(self) -> int:
        """Press Ctrl-C as a terminal does, and return the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        _, rest = self.process.communicate(timeout=30)
        self.told += rest
        return self.process.returncode

    def all_gone(self) -> bool:
        ended, _, _ = select.select([self.alive], [], [], 10)
        os.close(self.alive)
        return bool(ended)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "solver", "word"),
    [
        ("gnmt-training.yaml", "list", "incumbent"),
        ("gnmt-training.yaml", "list", "local search"),
        ("jobs", "cp-sat", "cp-sat"),
    ],
    ids=["list search", "local search by workers", "cp-sat"],
)
def test_ctrl_c_saves_the_plan_and_leaves_no_process(
    spec: str, solver: str, word: str, tmp_path: Path, registry: Registry
) -> None:
    path = _job_shop(tmp_path) if spec == "jobs" else SPECS / spec
    target = tmp_path / "plan.json"
    running = _Running(path, target, "--solver", solver, "--time-limit", "30")
    running.wait_for(word)
    begun = time.monotonic()
    assert running.interrupt() == 130
    assert time.monotonic() - begun < 10
    assert f"the best plan so far is in '{target}'" in running.told
    assert "Traceback" not in running.told
    assert check_plan(load_plan(target), registry) == ()
    assert running.all_gone()


@pytest.mark.slow
def test_workers_end_with_a_killed_search(tmp_path: Path) -> None:
    running = _Running(
        SPECS / "gnmt-training.yaml",
        tmp_path / "plan.json",
        "--solver",
        "list",
        "--time-limit",
        "15",
    )
    running.wait_for("local search")
    running.process.kill()
    running.process.communicate(timeout=30)
    assert running.all_gone()


NO_ROUTE = """
name: apart
model:
  operators:
    - {name: first, modes: [{groups: [[left]], seconds: {"*": 1}}]}
    - {name: second, modes: [{groups: [[right]], seconds: {"*": 1}}]}
  tensors:
    - {name: carried, producer: first, consumers: [second], bytes: 1 MB}
cluster:
  devices: [{name: left, kind: a}, {name: right, kind: a}]
workload: {microbatches: 2}
"""


@pytest.mark.parametrize("solver", ["list", "cp-sat"])
def test_operators_without_a_route_are_named(
    solver: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(NO_ROUTE)
    assert main(["plan", str(spec), "-o", str(tmp_path / "plan.json"), "--solver", solver]) == 3
    told = capfd.readouterr().err
    assert "'carried' cannot get from operator 'first' to 'second'" in told
    assert "add a link" in told
    assert not (tmp_path / "plan.json").exists()
