"""Task graphs with communication delays whose optimal schedules are published.

Several identical devices, each joined to each other one, without contention: a tensor costs its
delay between two devices and nothing within one. The graphs of 10, 21 and 30 tasks, in the Graph
eXchange Language, are those of O. Sinnen's group (University of Auckland), with an optimum each.
"""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ElementTree
from functools import partial
from pathlib import Path

from attrs import frozen

from benchmarks.cases import Case, Context, Outcome
from parplan.api import load_registry, plan
from parplan.errors import InputError
from parplan.graph import Graph, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.plans import Plan
from parplan.problem import Problem
from parplan.workload import Workload

FOLDER = "auckland"
INDEX = f"{FOLDER}/index.csv"

SOURCE = "optimal makespan, University of Auckland"

SHORT = ("2p_Random_Nodes_10_Density_2.00_CCR_1.02", "4p_Fork_Join_Nodes_10_CCR_1.01")
"""How the names of the cases of the short run begin."""


@frozen
class TaskGraph:
    """A graph of tasks for some identical, fully connected processors, in whole units of time.

    Attributes
    ----------
    durations
        Of each task, by name.
    delays
        Of each edge (task, later task), if the two run on different processors.
    """

    durations: dict[str, int]
    delays: dict[tuple[str, str], int]


def cases(data: Path | None = None) -> tuple[Case, ...]:
    """Return a case for each graph of the index; without the data, one that says what is needed."""
    if data is None or not (data / INDEX).exists():
        return (Case("optimal-schedules/all", _without_data, needs=INDEX),)
    with (data / INDEX).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return tuple(
        Case(
            f"optimal-schedules/{row['name'].removesuffix('_WeightType_Random')}",
            partial(
                optimal_schedule_case,
                row["name"],
                int(row["procs"]),
                int(row["total_schedule_length"]),
            ),
            needs=INDEX,
            time_limit_s=60.0,
            short=row["name"].startswith(SHORT),
        )
        for row in rows
    )


def _without_data(context: Context) -> Outcome:
    raise InputError(f"cannot be run without its index, {context.file(INDEX)}")


def optimal_schedule_case(name: str, processors: int, optimum: int, context: Context) -> Outcome:
    """Plan a task graph; a bound or an optimum that the published one contradicts fails."""
    path = context.file(f"{FOLDER}/gxl/{name}.gxl")
    graph = read_gxl(path.read_text(encoding="utf-8"), str(path))
    registry = load_registry()
    found = plan(
        delay_problem(name, graph, processors),
        registry=registry,
        time_limit_s=context.time_limit_s,
    )
    refuse_wrong_claim(found, optimum)
    return Outcome(plan=found, registry=registry, reference=float(optimum), reference_source=SOURCE)


def refuse_wrong_claim(found: Plan, optimum: int) -> None:
    """Raise InputError if a plan is shorter than a published optimum, or its bound is above it."""
    if found.value < optimum:
        raise InputError(f"its plan takes {found.value:g}, less than the optimum, {optimum}")
    bound = found.bound
    if bound is not None and bound.value > optimum:
        raise InputError(
            f"the bound {bound.value:g} of {bound.source} is above the optimum, {optimum}"
        )


def read_gxl(text: str, name: str) -> TaskGraph:
    """Return the task graph of a file in the Graph eXchange Language.

    Nodes and edges have an integer attribute ``Weight``: a duration, and a delay.

    Raises
    ------
    InputError
        If it is not XML, declares entities (which are never expanded), or lacks a weight.
    """
    if "<!ENTITY" in text:
        raise InputError("declares entities, which are not read", file=name)
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"is not XML: {error}", file=name) from None
    durations = {_attribute(n, "id", name): _weight(n, name) for n in root.iter("node")}
    delays = {
        (_attribute(e, "from", name), _attribute(e, "to", name)): _weight(e, name)
        for e in root.iter("edge")
    }
    unknown = {task for edge in delays for task in edge} - set(durations)
    if unknown:
        raise InputError(f"has edges of unknown nodes: {sorted(unknown)}", file=name)
    return TaskGraph(durations, delays)


def _attribute(element: ElementTree.Element, key: str, name: str) -> str:
    found = element.get(key)
    if found is None:
        raise InputError(f"a {element.tag} has no '{key}'", file=name)
    return found


def _weight(element: ElementTree.Element, name: str) -> int:
    for attribute in element.iter("attr"):
        if attribute.get("name") == "Weight":
            text = attribute.findtext("int", default="")
            if not text.isdecimal():
                raise InputError(f"a {element.tag} has the weight '{text}'", file=name)
            return int(text)
    raise InputError(f"a {element.tag} has no weight: {element.attrib}", file=name)


def delay_problem(name: str, graph: TaskGraph, processors: int) -> Problem:
    """Return the problem of a task graph: a byte of a tensor takes a second, on any link."""
    operators = tuple(
        Operator(task, modes=(Mode(seconds={"*": float(duration)}),))
        for task, duration in graph.durations.items()
    )
    tensors = tuple(
        Tensor(f"{before}>{after}", before, (after,), bytes=delay)
        for (before, after), delay in graph.delays.items()
    )
    devices = tuple(Device(f"p{i}") for i in range(processors))
    links = tuple(
        Link(f"{d.name}-hub", d.name, "hub", bandwidth=1.0, capacity=None, shared=True)
        for d in devices
    )
    return Problem(
        name,
        Graph(name, operators, tensors),
        Cluster(name, devices, links, ("hub",)),
        Workload(),
        tick_s=1.0,
    )
