"""Random job shops, and graphs under a placement, as views of orders."""

from __future__ import annotations

import random
from itertools import permutations, product

from benchmarks.jobshop import Jobs, job_shop
from parplan.graph import Graph, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.plugins.manager import load_registry
from parplan.problem import Problem
from parplan.rules import make_rules
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import prepare
from parplan.search.placing.placement import Placer
from parplan.search.sequences.machines import SequenceView
from parplan.workload import Workload


def random_jobs(jobs: int, machines: int, seed: int) -> Jobs:
    """Return jobs that visit every machine, each operation up to 9 long."""
    chance = random.Random(seed)
    return [
        [(m, chance.randint(1, 9)) for m in chance.sample(range(machines), machines)]
        for _ in range(jobs)
    ]


def view_of(jobs: Jobs) -> SequenceView:
    """Return a job shop as machines with orders."""
    problem = job_shop("shop", jobs)
    rules = make_rules(problem, load_registry(installed=False))
    placer = Placer(problem, rules, find_blocks(problem, rules))
    devices = [
        problem.alternatives[block[0]][rules.allowed[block[0]][0]].devices[0]
        for block in placer.blocks.members
    ]
    view = prepare(placer, (tuple(devices),)).view
    assert view is not None
    return view


def graph_view_of(count: int, seed: int) -> SequenceView:
    """Return a random graph placed on three devices, whose transfers hold links between them."""
    chance = random.Random(seed)
    names = [f"o{n}" for n in range(count)]
    readers = {n: chance.sample(range(n), min(n, 2)) for n in range(count)}
    graph = Graph(
        "graph",
        tuple(
            Operator(name, modes=(Mode(seconds={"*": float(chance.randint(1, 9))}),))
            for name in names
        ),
        tuple(
            Tensor(f"{name}>", name, after, bytes=chance.randint(1, 5))
            for n, name in enumerate(names)
            if (after := tuple(names[k] for k, row in readers.items() if n in row))
        ),
    )
    links = tuple(Link(f"{d}-hub", d, "hub", bandwidth=1.0, shared=True) for d in "abc")
    devices = tuple(Device(d) for d in "abc")
    cluster = Cluster("three", devices, links, ("hub",))
    problem = Problem("graph", graph, cluster, Workload(), tick_s=1.0)
    rules = make_rules(problem, load_registry(installed=False))
    placer = Placer(problem, rules, find_blocks(problem, rules))
    row = tuple(chance.randrange(3) for _ in placer.blocks.members)
    view = prepare(placer, (row,)).view
    assert view is not None
    return view


def shortest(jobs: Jobs) -> int:
    """Return the optimal makespan by trying every order of every machine."""
    machines = sorted({machine for job in jobs for machine, _ in job})
    where = [(m, (j, k)) for j, job in enumerate(jobs) for k, (m, _) in enumerate(job)]
    operations = {m: [one for n, one in where if n == m] for m in machines}
    best = sum(duration for job in jobs for _, duration in job)
    for lines in product(*(permutations(operations[m]) for m in machines)):
        best = min(best, _makespan(jobs, lines, best))
    return best


def _makespan(jobs: Jobs, lines: tuple[tuple[tuple[int, int], ...], ...], most: int) -> int:
    """Return the end of the last operation; ``most`` where the orders wait for each other."""
    ready = [0] * len(jobs)
    done = [0] * len(jobs)
    free, turn = [0] * len(lines), [0] * len(lines)
    moving = True
    while moving:
        moving = False
        for q, line in enumerate(lines):
            while turn[q] < len(line) and done[line[turn[q]][0]] == line[turn[q]][1]:
                j, k = line[turn[q]]
                free[q] = ready[j] = max(free[q], ready[j]) + jobs[j][k][1]
                done[j] += 1
                turn[q] += 1
                moving = True
    return max(ready) if all(d == len(job) for d, job in zip(done, jobs, strict=True)) else most
