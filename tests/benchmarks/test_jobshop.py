from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from benchmarks.jobshop import (
    Jobs,
    hand_written,
    job_shop,
    load_jsplib,
    raw_cp_sat,
    read_jsplib,
    size,
)
from parplan.checking import check_schedule
from parplan.contracts import SolveOptions, Solver, Termination
from parplan.errors import InputError
from parplan.model.cp_sat_writer import write_cp_sat
from parplan.model.schedule_model import ScheduleModel
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules


def _optimum(problem: Problem, solver: str, registry: Registry, limit_s: float = 60.0) -> int:
    """Return the proven, checked shortest makespan in ticks."""
    rules = make_rules(problem, registry)
    model = ScheduleModel(rules)
    backend = registry.get("solvers", solver).value
    assert isinstance(backend, Solver)
    answer = backend.solve(model.pyomo, SolveOptions(time_limit_s=limit_s))
    assert answer.termination is Termination.OPTIMAL, answer
    assert answer.bound == answer.objective
    schedule = model.extract(answer.values)
    assert check_schedule(schedule, rules) == ()
    assert schedule.makespan == answer.objective
    return schedule.makespan


def _random_jobs(jobs: int, machines: int, seed: int) -> Jobs:
    chance = random.Random(seed)
    return [
        [(m, chance.randint(1, 9)) for m in chance.sample(range(machines), machines)]
        for _ in range(jobs)
    ]


def _published(data_dir: Path, name: str) -> tuple[Path, int]:
    """Return the file of an instance and its optimum as JSPLIB states it."""
    folder = data_dir / "jsplib"
    entry = next(
        e for e in json.loads((folder / "instances.json").read_text()) if e["name"] == name
    )
    return folder / entry["path"], entry["optimum"]


TWO_JOBS = """# two jobs that meet on machine 0
2 2
0 3 1 2
0 2 1 4
"""


def test_jsplib_text_becomes_jobs() -> None:
    assert read_jsplib(TWO_JOBS, "two") == [[(0, 3), (1, 2)], [(0, 2), (1, 4)]]


@pytest.mark.parametrize("text", ["", "2 2\n0 3 1 2\n", "1 1\n0 x\n", "1 2\n0 3 2 4\n", "1 1\n0\n"])
def test_what_is_no_job_shop_is_refused_with_the_file(text: str) -> None:
    with pytest.raises(InputError, match=r"^jobs\.txt: "):
        read_jsplib(text, "jobs.txt")


@pytest.mark.parametrize("solver", ["cp-sat", "highs"])
def test_a_job_shop_solved_by_hand(solver: str, registry: Registry) -> None:
    # Job 1 first: machine 0 is busy 0-2-5, machine 1 2-6-8; job 0 first gives 3-5 and 5-9.
    assert _optimum(job_shop("two", read_jsplib(TWO_JOBS, "two")), solver, registry) == 8


@pytest.mark.parametrize("seed", range(4))
def test_our_model_proves_what_the_hand_written_one_proves(seed: int, registry: Registry) -> None:
    from ortools.sat.python import cp_model

    jobs = _random_jobs(5, 4, seed)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    assert solver.solve(hand_written(jobs)) == cp_model.OPTIMAL
    assert _optimum(job_shop("random", jobs), "cp-sat", registry) == solver.objective_value


def test_our_model_is_as_small_as_the_hand_written_one(registry: Registry) -> None:
    jobs = _random_jobs(8, 6, 1)
    ours = size(write_cp_sat(ScheduleModel(make_rules(job_shop("j", jobs), registry)).pyomo).model)
    assert all(a <= 1.05 * b for a, b in zip(ours, size(hand_written(jobs)), strict=True))


@pytest.mark.parametrize("name", ["ft06", "la01", "la02"])
def test_cp_sat_proves_published_optima(name: str, registry: Registry, data_dir: Path) -> None:
    path, optimum = _published(data_dir, name)
    assert _optimum(load_jsplib(path), "cp-sat", registry) == optimum


@pytest.mark.slow
def test_highs_proves_ft06(registry: Registry, data_dir: Path) -> None:
    path, optimum = _published(data_dir, "ft06")
    assert _optimum(load_jsplib(path), "highs", registry, limit_s=180.0) == optimum


@pytest.mark.slow
def test_cp_sat_proves_la19(registry: Registry, data_dir: Path) -> None:
    path, optimum = _published(data_dir, "la19")
    assert _optimum(load_jsplib(path), "cp-sat", registry, limit_s=180.0) == optimum


def test_la19_is_built_and_written_within_half_a_second(registry: Registry, data_dir: Path) -> None:
    path, _ = _published(data_dir, "la19")
    size(raw_cp_sat(path))  # the first import of ortools is not ours to answer for
    begun = time.process_time()
    written = write_cp_sat(ScheduleModel(make_rules(load_jsplib(path), registry)).pyomo)
    assert time.process_time() - begun <= 0.5
    ours, raw = size(written.model), size(raw_cp_sat(path))
    assert all(a <= 1.05 * b for a, b in zip(ours, raw, strict=True))
