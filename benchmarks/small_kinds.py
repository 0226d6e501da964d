"""Kinds of random problems, small enough to be judged by trying everything or by any solver.

Each kind draws from one feature of the problem more than from all others: what contradicts can be
told by its kind. Times are whole seconds, a tick each; some problems have no plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import combinations
from random import Random

import attrs

from benchmarks.jobshop import job_shop
from benchmarks.small_problems import TINY, Scale, draw_problem
from parplan.graph import Graph, Kind, Mode, Operator, ParameterGroup, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.problem import Problem, Rule
from parplan.workload import Workload, WorkloadKind

Draw = Callable[[Random], Problem]

FEW = Scale((2, 3), (2, 2), (1, 2), 3)
"""Fewer choices, where every one of them has further ways."""

WIDER = Scale((3, 5), (2, 3), (1, 1), 3)
"""More choices, where only devices count, or every operator has one place."""

MOST_TASKS = 10
"""Tasks of a training step at most."""


def any_graph(random: Random) -> Problem:
    """Return a graph of any shape on unequal devices, with links, memory and modes."""
    return draw_problem(random, TINY)


def training(random: Random) -> Problem:
    """Return a training step: blocks of forward, backward and perhaps weight passes."""
    blocks, apart = random.randint(1, 2), random.random() < 0.5
    passes = 3 if apart else 2
    microbatches = random.randint(1, max(1, MOST_TASKS // (passes * blocks * 2)) + 1)
    graph = _training_graph(random, blocks, apart=apart)
    cluster = _pairwise(random, random.randint(1, 2), memory=(None, 6, 8, 10, 14))
    problem = Problem("training", graph, cluster, Workload(microbatches=microbatches), tick_s=1.0)
    rules = []
    if random.random() < 0.4:
        limits = {f"blocks.{b}": random.randint(1, 2) for b in range(blocks)}
        rules.append(Rule("in-flight", {"limits": limits}))
    if random.random() < 0.4:
        rules.append(Rule("weights"))
    objective = random.choice(("makespan", "makespan", "makespan", "stage-span"))
    return attrs.evolve(
        problem,
        constraints=(*problem.constraints, *rules),
        objectives=(Rule(objective),),
    )


def latency(random: Random) -> Problem:
    """Return the inference of one sample: a graph on devices that share the links of a switch."""
    drawn = draw_problem(random, WIDER)
    names = [device.name for device in drawn.cluster.devices]
    speed, wait = random.choice((1.0, 2.0)), random.choice((0.0, 1.0))
    links = tuple(
        Link(f"{name}{arrow}", *ends, speed, wait, random.choice((1, 1, 2)))
        for name in names
        for arrow, ends in ((">", (name, "hub")), ("<", ("hub", name)))
    )
    engines = random.choice(((None, None), ("send", "receive"), ("compute", "compute")))
    cluster = Cluster("switch", drawn.cluster.devices, links, ("hub",), (), (), engines)
    return attrs.evolve(
        drawn, cluster=cluster, workload=Workload(WorkloadKind.INFERENCE, microbatches=1)
    )


def requests(random: Random) -> Problem:
    """Return requests of unequal sizes that come one after another, first in first out or not."""
    drawn = draw_problem(random, attrs.evolve(FEW, microbatches=(1, 1)))
    groups, scales, releases = (random.random() < 0.5 for _ in range(3))
    workload = Workload(
        WorkloadKind.REQUESTS,
        microbatches=2,
        groups=(0, 1) if groups else (),
        scales=(1.0, 1.5) if scales else (),
        releases_s=(0.0, float(random.randint(1, 3))) if releases else (),
    )
    cluster = attrs.evolve(drawn.cluster, fifo=random.random() < 0.5)
    return attrs.evolve(drawn, cluster=cluster, workload=workload)


def steady_state(random: Random) -> Problem:
    """Return a graph whose busiest engine or link counts, in one row of devices or freely."""
    drawn = draw_problem(random, WIDER)
    engines = random.choice(((None, None), ("compute", "compute")))
    rule = (Rule("placement", {"contiguous": True}),) if random.random() < 0.4 else ()
    return attrs.evolve(
        drawn,
        cluster=attrs.evolve(drawn.cluster, transfer_engines=engines),
        constraints=(*drawn.constraints, *rule),
        objectives=(Rule("steady-state"),),
    )


def shop(random: Random) -> Problem:
    """Return a job shop, in which an operation may have to run on a machine more than once."""
    machines = random.randint(2, 3)
    jobs = [
        [(random.randrange(machines), random.randint(0, 4)) for _ in range(random.randint(2, 3))]
        for _ in range(random.randint(2, 3))
    ]
    return job_shop("shop", jobs)


def modes(random: Random) -> Problem:
    """Return operators that keep a tensor or make it again, where memory is scarce."""
    drawn = draw_problem(random, FEW)
    read = {name for tensor in drawn.graph.tensors for name in tensor.consumers}

    def with_light(operator: Operator) -> Operator:
        if operator.name not in read or len(operator.modes) > 1:
            return operator
        kept = tuple(t.name for t in drawn.graph.tensors if operator.name in t.consumers)[1:]
        only = operator.modes[0]
        longer = {kind: seconds + random.randint(0, 2) for kind, seconds in only.seconds.items()}
        light = attrs.evolve(only, name="light", reads=kept, seconds=longer)
        return attrs.evolve(operator, modes=(only, light))

    operators = tuple(with_light(operator) for operator in drawn.graph.operators)
    graph = attrs.evolve(drawn.graph, operators=operators)
    return _capped(attrs.evolve(drawn, graph=graph), random, (4, 6, 8, 12))


def gangs(random: Random) -> Problem:
    """Return operators that may run on two devices at once, and collectives that hold links."""
    drawn = draw_problem(random, FEW)

    def with_gang(operator: Operator) -> Operator:
        if random.random() < 0.4:
            return operator
        only, steps = operator.modes[0], random.randint(0, 2)
        faster = {kind: math.ceil(seconds / 2) for kind, seconds in only.seconds.items()}
        gang = attrs.evolve(
            only, name="gang", devices=2, seconds=faster, ring_steps=steps, ring_bytes=steps
        )
        return attrs.evolve(operator, modes=(*operator.modes, gang))

    cluster = attrs.evolve(
        drawn.cluster, groups=tuple(combinations((d.name for d in drawn.cluster.devices), 2))
    )
    operators = tuple(with_gang(operator) for operator in drawn.graph.operators)
    graph = attrs.evolve(drawn.graph, operators=operators)
    return attrs.evolve(drawn, graph=graph, cluster=cluster)


def ruled(random: Random) -> Problem:
    """Return a graph with rules on places, on order and on times between operators."""
    drawn = draw_problem(random, attrs.evolve(TINY, operators=(2, 4), devices=(2, 3)))
    names = [operator.name for operator in drawn.graph.operators]
    places = [device.name for device in drawn.cluster.devices]
    one, two = sorted(random.sample(range(len(names)), 2))
    pair = (names[one], names[two])
    options = (
        {"pin": {pair[0]: (random.choice(places),)}},
        {"forbid": {pair[1]: (random.choice(places),)}},
        {"together": (pair,)},
        {"apart": (pair,)},
        {"order": (pair,)},
        {"pin": {names[one]: places[:2]}, "apart": (pair,)},
    )
    rules = [Rule("placement", random.choice(options))]
    if random.random() < 0.5:
        lag = {
            "before": pair[0],
            "after": pair[1],
            "seconds": float(random.randint(0, 2)),
            "before_edge": random.choice(("start", "end")),
            "after_edge": random.choice(("start", "end")),
        }
        rules.append(Rule("precedence", {"lags": (lag,)}))
    return attrs.evolve(drawn, constraints=(*drawn.constraints, *rules))


def scarce(random: Random) -> Problem:
    """Return a graph for which there is hardly any memory, or no way between some devices."""
    drawn = draw_problem(random, attrs.evolve(TINY, operators=(2, 4), devices=(1, 3)))
    links = drawn.cluster.links
    if links and not drawn.cluster.switches and random.random() < 0.5:
        lost = random.randrange(len(links))
        cluster = attrs.evolve(drawn.cluster, links=links[:lost] + links[lost + 1 :])
        drawn = attrs.evolve(drawn, cluster=cluster)
    return _capped(drawn, random, (3, 4, 5, 6, 8))


KINDS: Mapping[str, Draw] = {
    "graph": any_graph,
    "training": training,
    "latency": latency,
    "requests": requests,
    "steady state": steady_state,
    "job shop": shop,
    "modes": modes,
    "gangs": gangs,
    "rules": ruled,
    "scarce": scarce,
}


def _training_graph(random: Random, blocks: int, *, apart: bool) -> Graph:
    """Return blocks in a row; what a forward saves is kept to the last pass of its block."""
    letters = {"f": Kind.FORWARD, "b": Kind.BACKWARD_INPUT, "w": Kind.BACKWARD_WEIGHT}
    if not apart:
        letters = {"f": Kind.FORWARD, "b": Kind.BACKWARD}
    seconds = {letter: float(random.randint(1, 2)) for letter in letters}
    operators = tuple(
        Operator(
            f"{letter}{b}",
            kind,
            parameters=(f"p{b}",),
            module=f"blocks.{b}",
            modes=(Mode(seconds={"*": seconds[letter]}),),
        )
        for b in range(blocks)
        for letter, kind in letters.items()
    )
    tensors = []
    for b in range(blocks):
        weight = (f"w{b}",) if apart else ()
        tensors.append(Tensor(f"saved{b}", f"f{b}", (f"b{b}", *weight), random.randint(1, 3)))
        if b + 1 < blocks:
            tensors.append(Tensor(f"x{b}", f"f{b}", (f"f{b + 1}",), random.randint(0, 2)))
        readers = ((f"b{b - 1}",) if b else ()) + weight
        if readers:
            tensors.append(Tensor(f"g{b}", f"b{b}", readers, random.randint(0, 2)))
    groups = tuple(ParameterGroup(f"p{b}", random.randint(1, 2)) for b in range(blocks))
    return Graph("training", operators, tuple(tensors), groups)


def _pairwise(random: Random, count: int, memory: tuple[int | None, ...]) -> Cluster:
    """Return equal devices with a link each way between any two."""
    names, size = [f"g{n}" for n in range(count)], random.choice(memory)
    devices = tuple(Device(name, memory_bytes=size, peak_flops={"bf16": 1.0}) for name in names)
    wait, width = random.choice((0.0, 1.0)), random.choice((1, None))
    links = tuple(Link(f"{a}>{b}", a, b, 2.0, wait, width) for a in names for b in names if a != b)
    return Cluster("pairwise", devices, links)


def _capped(problem: Problem, random: Random, sizes: tuple[int, ...]) -> Problem:
    """Return a problem with so much memory on each device, or so much on most of them."""
    devices = tuple(
        attrs.evolve(d, memory_bytes=random.choice((*sizes, None) if n else sizes))
        for n, d in enumerate(problem.cluster.devices)
    )
    return attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, devices=devices))
