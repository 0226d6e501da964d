"""Job shop as a special case of parplan's problem, and the same written by hand for CP-SAT.

Machines are devices, an operation is an operator that may run on one device only, and a job is a
chain of tensors of zero bytes over links without latency and without a capacity.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

from parplan.errors import InputError
from parplan.graph import Graph, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.problem import Problem
from parplan.workload import Workload

Jobs = list[list[tuple[int, int]]]
"""For each job, its operations in order: (machine, duration)."""


def read_jsplib(text: str, name: str) -> Jobs:
    """Return the jobs of a file in JSPLIB's form.

    Comment lines start with ``#``; the first line counts jobs and machines, then one line per job
    lists machine and duration in turn.

    Raises
    ------
    InputError
        If the numbers do not make up that many jobs on that many machines.
    """
    lines = [line.split() for line in text.splitlines() if line.strip() and line[0] != "#"]
    try:
        numbers = [[int(word) for word in line] for line in lines]
        (jobs, machines), *rows = numbers
    except ValueError as error:
        raise InputError(f"is no job shop: {error}", file=name) from None
    found = [list(zip(row[::2], row[1::2], strict=False)) for row in rows]
    whole = all(len(row) == 2 * machines for row in rows)
    if len(found) != jobs or not whole or not all(m < machines for row in found for m, _ in row):
        raise InputError(f"does not hold {jobs} jobs on {machines} machines", file=name)
    return found


def job_shop(name: str, jobs: Jobs) -> Problem:
    """Return the problem whose shortest step is the job shop's shortest schedule, in seconds."""
    machines = 1 + max(machine for job in jobs for machine, _ in job)
    operators, tensors = [], []
    for j, job in enumerate(jobs):
        names = [f"j{j}.{k}" for k in range(len(job))]
        for operator, (machine, duration) in zip(names, job, strict=True):
            mode = Mode(groups=((f"m{machine}",),), seconds={"*": float(duration)})
            operators.append(Operator(operator, modes=(mode,)))
        tensors += [Tensor(f"{one}>", one, (two,)) for one, two in pairwise(names)]
    links = tuple(
        Link(f"m{m}-hub", f"m{m}", "hub", bandwidth=math.inf, capacity=None, shared=True)
        for m in range(machines)
    )
    return Problem(
        name,
        Graph(name, tuple(operators), tuple(tensors)),
        Cluster(name, tuple(Device(f"m{m}") for m in range(machines)), links, ("hub",)),
        Workload(),
        tick_s=1.0,
    )


def load_jsplib(path: Path) -> Problem:
    """Return a job shop in JSPLIB's form as a problem."""
    return job_shop(path.name, read_jsplib(path.read_text(encoding="utf-8"), str(path)))


def raw_cp_sat(path: Path) -> Any:
    """Return the leanest hand-written ``CpModel`` of a job shop in JSPLIB's form."""
    return hand_written(read_jsplib(path.read_text(encoding="utf-8"), str(path)))


def hand_written(jobs: Jobs) -> Any:
    """Return a ``CpModel``: one start per operation, a makespan, fixed-size intervals.

    One interval per operation, one no-overlap per machine, one row between operations of a job and
    one from the last to the makespan.
    """
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    horizon = sum(duration for job in jobs for _, duration in job)
    makespan = model.new_int_var(0, horizon, "makespan")
    machines: dict[int, list[Any]] = {}
    for j, job in enumerate(jobs):
        end: Any = None
        for k, (machine, duration) in enumerate(job):
            start = model.new_int_var(0, horizon, f"start {j}.{k}")
            interval = model.new_fixed_size_interval_var(start, duration, f"{j}.{k}")
            machines.setdefault(machine, []).append(interval)
            if end is not None:
                model.add(start >= end)
            end = start + duration
        model.add(makespan >= end)
    for intervals in machines.values():
        model.add_no_overlap(intervals)
    model.minimize(makespan)
    return model


def size(model: Any) -> tuple[int, int]:
    """Return how many variables and constraints a ``CpModel`` has."""
    return len(model.proto.variables), len(model.proto.constraints)
