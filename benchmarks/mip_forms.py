"""Forms of the MIP side by side on problems of a few operators, each solved by HiGHS alone."""

from __future__ import annotations

import random
import time
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import pyomo.environ as pyo

from benchmarks.cases import Case, Context, Outcome
from benchmarks.jobshop import job_shop
from benchmarks.overhead import random_shop
from parplan.api import load_registry
from parplan.contracts import SolveOptions
from parplan.graph import Graph, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.model.mip import lowered
from parplan.model.schedule_model import ScheduleModel
from parplan.options import MipForm, MipProducts
from parplan.plugins.solvers.mip import Highs, solve_here
from parplan.problem import Problem
from parplan.rules import make_rules
from parplan.workload import Workload

SHOPS = ((4, 3), (5, 4), (6, 5))
"""Jobs and machines of the shops on which forms are compared."""

SHOP_UNIT = 10
"""Durations of the shops are drawn up to 99, and rounded up to tens: a horizon of few ticks."""

FREE = (8, 12)
"""Operators of the trees, free on three devices, on which products are compared."""

LIMIT_S = 30.0


def cases(_: Path | None = None) -> tuple[Case, ...]:
    """Return a case for each shop and form, and for each free graph and way with products."""
    shops = [
        Case(
            f"mip-forms/shop-{jobs}x{machines}-{form}",
            partial(shop_case, jobs, machines, form),
            time_limit_s=LIMIT_S,
            short=(jobs, machines) == SHOPS[0],
        )
        for jobs, machines in SHOPS
        for form in MipForm
    ]
    free = [
        Case(
            f"mip-forms/free-{count}-{products}",
            partial(free_case, count, products),
            time_limit_s=LIMIT_S,
        )
        for count in FREE
        for products in MipProducts
    ]
    return (*shops, *free)


def shop_case(jobs: int, machines: int, form: MipForm, context: Context) -> Outcome:
    """Solve a random job shop under a form."""
    drawn = random_shop(jobs, machines, seed=jobs)
    rounded = [[(m, -(-duration // SHOP_UNIT)) for m, duration in job] for job in drawn]
    return solved(job_shop(f"shop-{jobs}x{machines}", rounded), form, MipProducts.SEPARATE, context)


def free_case(count: int, products: MipProducts, context: Context) -> Outcome:
    """Solve a random tree on three devices with a way to write products."""
    return solved(free_graph(count), MipForm.DISJUNCTIVE, products, context)


def free_graph(count: int) -> Problem:
    """Return a random tree whose operators may run on any of three devices, five ticks apart."""
    chance = random.Random(count)
    names = [f"o{n}" for n in range(count)]
    operators = [
        Operator(name, modes=(Mode(seconds={"*": float(chance.randint(1, 9))}),)) for name in names
    ]
    read = {n: chance.randrange(n) for n in range(1, count)}
    tensors = [
        Tensor(f"{name}>", name, tuple(names[n] for n, m in read.items() if m == maker), bytes=1)
        for maker, name in enumerate(names)
        if maker in read.values()
    ]
    devices = ("a", "b", "c")
    links = tuple(
        Link(f"{one}-{two}", one, two, bandwidth=1.0, latency_s=4.0, capacity=None, shared=True)
        for one, two in combinations(devices, 2)
    )
    return Problem(
        f"free-{count}",
        Graph("free", tuple(operators), tuple(tensors)),
        Cluster("three", tuple(map(Device, devices)), links),
        Workload(),
        tick_s=1.0,
    )


def solved(problem: Problem, form: MipForm, products: MipProducts, context: Context) -> Outcome:
    """Return what HiGHS finds without any start, the size of the MIP, and its relaxation."""
    model = ScheduleModel(make_rules(problem, load_registry())).pyomo
    options = SolveOptions(context.time_limit_s, workers=1, form=form, products=products)
    figures = sizes(model, options)
    begun = time.perf_counter()
    answer = solve_here(None, model, options, adapter=Highs.adapter, name=Highs.name)
    return Outcome(
        value=answer.objective,
        bound=answer.bound,
        solver=f"{answer.solver} {answer.version}",
        details={**figures, "seconds": time.perf_counter() - begun, "answer": answer.termination},
    )


def sizes(model: Any, options: SolveOptions) -> dict[str, float | None]:
    """Return columns and rows of the MIP that a model becomes, and the value of its relaxation."""
    with lowered(model, options.form, options.products):
        columns = list(model.component_data_objects(pyo.Var, active=True))
        rows = sum(1 for _ in model.component_data_objects(pyo.Constraint, active=True))
        domains = [(column, column.domain, column.bounds) for column in columns]
        for column, _, (low, high) in domains:
            column.domain = pyo.Reals
            column.setlb(low)
            column.setub(high)
        relaxed = Highs.adapter.solve(model, options, warm=False)
        for column, domain, _ in domains:
            column.domain = domain
    return {"columns": len(columns), "rows": rows, "relaxation": relaxed.objective}
