"""Published job shops, planned beside CP-SAT by hand and PyJobShop: same seconds, same workers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.cases import Case, Context, Outcome
from benchmarks.jobshop import Jobs, hand_written, load_jsplib, read_jsplib
from benchmarks.overhead import in_fork
from parplan.api import load_registry, plan
from parplan.errors import InputError
from parplan.options import SearchOptions

INSTANCES = "jsplib/instances.json"
SETS = re.compile(r"(la|abz|ft|orb)\d+|swv0[1-5]")
"""Names of the instances that are planned."""

SHORT = ("ft06", "la01")

Found = dict[str, Any]
"""Value, bound and seconds of another planner."""

Planner = Callable[[Jobs, float, int], Found]
"""Plans jobs within so many seconds on so many workers."""


def cases(data: Path | None) -> tuple[Case, ...]:
    """Return a case for each instance of the sets that is there; a few fast ones without data."""
    file = None if data is None else data / INSTANCES
    names: tuple[str, ...] = SHORT
    if file is not None and file.exists():
        entries = json.loads(file.read_text(encoding="utf-8"))
        there = (e for e in entries if (file.parent / e["path"]).exists())
        names = tuple(e["name"] for e in there if SETS.fullmatch(e["name"]))
    return tuple(
        Case(
            f"jobshop/{name}",
            partial(job_shop_case, name),
            needs=INSTANCES,
            time_limit_s=60.0,
            short=name in SHORT,
        )
        for name in names
    )


def job_shop_case(name: str, context: Context) -> Outcome:
    """Plan an instance, and let every other planner plan it under the same limits."""
    entry = instance(name, context)
    path = context.file(f"jsplib/{entry['path']}")
    jobs = read_jsplib(path.read_text(encoding="utf-8"), str(path))
    limits = SearchOptions(time_limit_s=context.time_limit_s)
    others = {
        title: beside(planner, jobs, limits) if find_spec(package) else {"missing": missing}
        for title, (planner, package, missing) in PLANNERS.items()
    }
    registry = load_registry()
    found = plan(load_jsplib(path), registry=registry, time_limit_s=context.time_limit_s)
    return Outcome(
        plan=found,
        registry=registry,
        reference=best_known(entry),
        reference_source="optimum or best known makespan, JSPLIB instances.json",
        details={"planners": others},
    )


def instance(name: str, context: Context) -> Mapping[str, Any]:
    """Return the entry of an instance in JSPLIB's list.

    Raises
    ------
    InputError
        If the list has no such instance.
    """
    entries = json.loads(context.file(INSTANCES).read_text(encoding="utf-8"))
    for entry in entries:
        if entry["name"] == name:
            found: Mapping[str, Any] = entry
            return found
    raise InputError(f"has no instance '{name}'", file=INSTANCES)


def best_known(entry: Mapping[str, Any]) -> float:
    """Return the optimum of an instance, or where it is open the shortest makespan known."""
    optimum = entry.get("optimum")
    return float(entry["bounds"]["upper"] if optimum is None else optimum)


def beside(planner: Planner, jobs: Jobs, limits: SearchOptions) -> Found:
    """Return what a planner finds, in a process of its own."""
    found = in_fork(lambda: planner(jobs, limits.time_limit_s, limits.workers))
    return {key: found[key] for key in ("value", "bound", "seconds")}


def raw_cp_sat(jobs: Jobs, seconds: float, workers: int) -> Found:
    """Plan by CP-SAT alone, with the leanest model that can be written by hand."""
    from ortools.sat.python import cp_model

    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = workers
    status = solver.solve(hand_written(jobs))
    found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    return {
        "value": solver.objective_value if found else None,
        "bound": solver.best_objective_bound,
        "seconds": solver.wall_time,
    }


def pyjobshop(jobs: Jobs, seconds: float, workers: int) -> Found:
    """Plan by PyJobShop (Lan and Berkhout 2025), on its own choice of solver."""
    from pyjobshop import Model

    model = Model()
    machines = [model.add_machine() for _ in range(1 + max(m for job in jobs for m, _ in job))]
    for operations in jobs:
        job, before = model.add_job(), None
        for machine, duration in operations:
            task = model.add_task(job)
            model.add_mode(task, machines[machine], duration)
            if before is not None:
                model.add_end_before_start(before, task)
            before = task
    result = model.solve(time_limit=seconds, num_workers=workers, display=False)
    found = result.best.tasks
    return {
        "value": result.objective if found else None,
        "bound": result.lower_bound,
        "seconds": result.runtime,
    }


PLANNERS: dict[str, tuple[Planner, str, str]] = {
    "raw CP-SAT": (raw_cp_sat, "ortools", "not installed: pip install ortools"),
    "PyJobShop": (pyjobshop, "pyjobshop", "not installed: pip install pyjobshop"),
}
"""Other planners: how they plan, the package they need, and what is said where it is missing."""
