"""Plans made by hand: a pipeline in which every stage first runs all forwards, then backwards."""

from __future__ import annotations

from parplan.comparison import Comparison, Entry
from parplan.graph import Graph, Kind, Mode, Operator, ParameterGroup, Repeat, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.plans import Bound, Plan
from parplan.problem import Problem
from parplan.schedule import Schedule, Tasks, Transfers
from parplan.workload import Workload

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&{{7*7}}\x1b[31m\u2028\ud800"
"""A name that tries to leave HTML, a script, an attribute, a template and a terminal."""


def pipeline_problem(stages: int = 2, microbatches: int = 3, suffix: str = "") -> Problem:
    """Return a pipeline of stages, one device each; every name ends in ``suffix``."""
    operators, tensors, groups = [], [], []
    for s in range(stages):
        names = {kind: f"{kind}.{s}{suffix}" for kind in "fbo"}
        place = ((f"gpu{s}{suffix}",),)
        groups.append(ParameterGroup(f"w{s}{suffix}", 2**30))
        for letter, kind, seconds in (("f", Kind.FORWARD, 2.0), ("b", Kind.BACKWARD, 4.0)):
            mode = Mode(f"default{suffix}", groups=place, seconds={"*": seconds})
            operators.append(
                Operator(names[letter], kind, 1e12, parameters=(groups[-1].name,), modes=(mode,))
            )
        last = s == stages - 1
        readers = (names["b"],) if last else (names["b"], f"f.{s + 1}{suffix}")
        tensors.append(Tensor(f"x{s}{suffix}", names["f"], readers, 2**28))
        before = (f"b.{s - 1}{suffix}",) if s else ()
        tensors.append(Tensor(f"g{s}{suffix}", names["b"], (*before, names["o"]), 2**20))
        step = Mode(groups=place, seconds={"*": 1.0})
        operators.append(Operator(names["o"], Kind.OPTIMIZER, repeat=Repeat.STEP, modes=(step,)))
    devices = tuple(
        Device(f"gpu{s}{suffix}", "fast", memory_bytes=8 * 2**30, peak_flops={"bf16": 1e12})
        for s in range(stages)
    )
    links = tuple(
        Link(f"{a}to{b}{suffix}", f"gpu{a}{suffix}", f"gpu{b}{suffix}", 2.0**28)
        for s in range(stages - 1)
        for a, b in ((s, s + 1), (s + 1, s))
    )
    return Problem(
        f"pipeline{suffix}",
        Graph(f"graph{suffix}", tuple(operators), tuple(tensors), tuple(groups)),
        Cluster(f"cluster{suffix}", devices, links),
        Workload(microbatches=microbatches),
        tick_s=0.5,
    )


def pipeline_plan(stages: int = 2, microbatches: int = 3, suffix: str = "") -> Plan:
    """Return a plan of ``pipeline_problem``, each task as early as can be."""
    problem = pipeline_problem(stages, microbatches, suffix)
    graph = problem.graph
    tasks: list[tuple[int, int, int, int]] = []
    moves: list[tuple[int, int, int, int, int]] = []
    free = [0] * stages
    held: dict[tuple[int, int], int] = {}
    there: dict[tuple[str, int, int], int] = {}

    def run(letter: str, stage: int, microbatch: int, inputs: list[tuple[str, int]]) -> None:
        index = graph.operator_index[f"{letter}.{stage}{suffix}"]
        start = max([free[stage], *(there[name, m, stage] for name, m in inputs)])
        tasks.append((index, microbatch, 0, start))
        free[stage] = start + problem.ticks(index, problem.alternatives[index][0], microbatch)
        for tensor in graph.outputs[index]:
            name = graph.tensors[tensor].name
            there[name, microbatch, stage] = free[stage]
            step = 1 if letter == "f" else -1
            target = stage + step
            if 0 <= target < stages:
                timing = problem.transfer_timing(graph.tensors[tensor].bytes, stage, target)
                assert timing is not None
                begin = max(free[stage], held.get((stage, target), 0))
                moves.append((tensor, microbatch, stage, target, begin))
                held[stage, target] = begin + timing.occupied
                there[name, microbatch, target] = begin + timing.arrival

    for m in range(microbatches):
        for s in range(stages):
            run("f", s, m, [(f"x{s - 1}{suffix}", m)] if s else [])
    for m in range(microbatches):
        for s in reversed(range(stages)):
            gradient = [(f"g{s + 1}{suffix}", m)] if s < stages - 1 else []
            run("b", s, m, [(f"x{s}{suffix}", m), *gradient])
    for s in range(stages):
        run("o", s, -1, [(f"g{s}{suffix}", m) for m in range(microbatches)])
    columns = [[row[i] for row in tasks] for i in range(4)]
    moved = [[row[i] for row in moves] for i in range(5)]
    schedule = Schedule(problem, Tasks(*columns), Transfers(*moved))
    value = schedule.makespan * problem.tick_s
    return Plan(
        problem,
        schedule,
        {"makespan": value},
        Bound(value / 2, source="device load"),
        solver="hand",
        provenance={"seconds": 0.5, "version": f"1{suffix}"},
    )


def comparison_sample(suffix: str = "") -> Comparison:
    """Return a plan, a schedule half as fast, one of another problem, and one that does not fit."""
    plan = pipeline_plan(suffix=suffix)
    tasks, transfers = plan.schedule.tasks, plan.schedule.transfers
    slow = Schedule(
        plan.problem,
        Tasks(tasks.operator, tasks.microbatch, tasks.alternative, 2 * tasks.start + 1),
        Transfers(
            transfers.tensor,
            transfers.microbatch,
            transfers.source,
            transfers.target,
            2 * transfers.start,
        ),
    )
    value = slow.makespan * plan.problem.tick_s
    return Comparison(
        plan.problem,
        (
            Entry("plan", "", plan),
            Entry(f"1f1b{suffix}", "uniform", Plan(plan.problem, slow, {"makespan": value})),
            Entry(f"two-way{suffix}", "uniform", pipeline_plan(3, 4, suffix), "two directions"),
            Entry(f"gpipe{suffix}", "best", None, "does not fit memory"),
        ),
    )
