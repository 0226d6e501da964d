"""The problem of tasks with delays: what enumeration can decide, and whether a problem is one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from parplan.declarations import (
    Demand,
    Forbidden,
    Resident,
    ResidentParameters,
    Resource,
    Running,
)
from parplan.problem import Problem
from parplan.rules import Rules

Whole = NDArray[np.int64]

NEVER = 2**40
"""Ticks that stand for what cannot be: a task on a device that may not run it, or no route."""

LATEST = 2**36
"""Ticks in which everything, one after the other with every delay, must end."""

MOST_TASKS = 64
MOST_DEVICES = 64


@frozen(eq=False)
class DelayGraph:
    """Tasks in topological order; devices run one at a time; edges cost a delay between devices.

    Attributes
    ----------
    durations
        In ticks, at least 1, ``(n, D)``; NEVER where a device may not run a task.
    edges
        (task, later task), each pair once, ``(E, 2)``.
    delays
        Ticks from the end of an edge's first task on one device to the start of its second on
        another, ``(E, D, D)``, 0 on the diagonal; NEVER where there is no route.
    """

    durations: Whole
    edges: Whole
    delays: Whole

    def __len__(self) -> int:
        return len(self.durations)

    def reversed(self) -> DelayGraph:
        """Return the graph run backwards: its schedules are those of this one, read from the end.

        Task i becomes task n - 1 - i.
        """
        last = len(self) - 1
        return DelayGraph(
            np.ascontiguousarray(self.durations[::-1]),
            np.ascontiguousarray(last - self.edges[::-1, ::-1]),
            np.ascontiguousarray(self.delays[::-1].transpose(0, 2, 1)),
        )


def least_delays(graph: DelayGraph) -> Whole:
    """Return the least delay of each edge between different devices, ``(E,)``."""
    devices = graph.delays.shape[1]
    least: Whole = np.where(np.eye(devices, dtype=bool), NEVER, graph.delays).min(axis=(1, 2))
    return least


def as_delay_graph(problem: Problem, rules: Rules) -> DelayGraph | None:
    """Return a problem as a graph of tasks with delays; None if it is more than that.

    Task i is the operator ``problem.graph.topological_order[i]``.

    It is no more than that if

    - there is one microbatch, released at 0, and every operator is left one mode, on single
      devices, and takes time there;
    - on every device some resource admits one task at a time, whichever they are;
    - no other resource can ever bind: all that could use it fits at once;
    - transfers hold no engine and keep no order, and every tensor's reader fits its writer;
    - rules declare resources and what is forbidden, no more, and write no rows of their own.
    """
    modes = _only_modes(problem, rules) if _is_plain(problem, rules) else None
    if modes is None:
        return None
    order = problem.graph.topological_order
    found = _edges(problem, modes, order)
    if found is None:
        return None
    durations = _durations(problem, rules, order)
    edges, delays = found
    finite = np.where(delays < NEVER, delays, 0)
    longest = np.where(durations < NEVER, durations, 0).max(axis=1).sum()
    longest += finite.max(axis=(1, 2)).sum()
    takes_time = durations.min() >= 1 and longest <= LATEST
    if not takes_time or not _runs_one_at_a_time(problem, rules, modes, durations, order):
        return None
    return DelayGraph(durations, edges, delays)


def _is_plain(problem: Problem, rules: Rules) -> bool:
    """Return whether nothing couples tasks but tensors and resources."""
    workload, cluster = problem.workload, problem.cluster
    return (
        workload.microbatches == 1
        and problem.release(0) == 0
        and len(problem.graph.operators) <= MOST_TASKS
        and len(cluster.devices) <= MOST_DEVICES
        and not cluster.fifo
        and cluster.transfer_engines == (None, None)
        and not rules.escape_hatches
        and all(isinstance(declared.what, Resource | Forbidden) for declared in rules.declared)
    )


def _only_modes(problem: Problem, rules: Rules) -> tuple[int, ...] | None:
    """Return the mode of each operator; None if one has several, or runs on a group of devices."""
    found = []
    for operator, rows in enumerate(rules.allowed):
        alternatives = [problem.alternatives[operator][row] for row in rows]
        if len({a.mode for a in alternatives}) > 1 or any(len(a.devices) > 1 for a in alternatives):
            return None
        found.append(alternatives[0].mode)
    return tuple(found)


def _durations(problem: Problem, rules: Rules, order: tuple[int, ...]) -> Whole:
    """Return ticks of each task on each device."""
    found = np.full((len(order), len(problem.cluster.devices)), NEVER, dtype=np.int64)
    for task, operator in enumerate(order):
        for row in rules.allowed[operator]:
            alternative = problem.alternatives[operator][row]
            microbatch = problem.microbatches_of(operator)[0]
            ticks = problem.ticks(operator, alternative, microbatch)
            found[task, alternative.devices[0]] = ticks
    return found


def _edges(
    problem: Problem, modes: Sequence[int], order: tuple[int, ...]
) -> tuple[Whole, Whole] | None:
    """Return edges and delays; None if a reader's mode does not fit its writer's."""
    graph, count = problem.graph, len(problem.cluster.devices)
    task_of = {operator: task for task, operator in enumerate(order)}
    found: dict[tuple[int, int], Whole] = {}
    for reader in order:
        for tensor in graph.reads(reader, modes[reader]):
            writer = graph.producers[tensor]
            microbatch = problem.microbatches_of(writer)[0]
            size = problem.tensor_bytes(tensor, modes[writer], microbatch)
            layouts = {graph.operators[o].modes[modes[o]].layout for o in (reader, writer)} - {""}
            if size is None or len(layouts) > 1:
                return None
            delays = np.zeros((count, count), dtype=np.int64)
            for source in range(count):
                for target in set(range(count)) - {source}:
                    timing = problem.transfer_timing(size, source, target)
                    delays[source, target] = NEVER if timing is None else timing.arrival
            key = (task_of[writer], task_of[reader])
            found[key] = np.maximum(found[key], delays) if key in found else delays
    edges = np.array(list(found), dtype=np.int64).reshape(-1, 2)
    stacked = np.array(list(found.values()), dtype=np.int64).reshape(-1, count, count)
    return edges, stacked


# -- resources ------------------------------------------------------------------------------------


def _runs_one_at_a_time(
    problem: Problem,
    rules: Rules,
    modes: Sequence[int],
    durations: Whole,
    order: tuple[int, ...],
) -> bool:
    """Return whether every device runs one task at a time, and no other resource can bind."""
    kept_apart: set[int] = set()
    for _, resource in rules.resources:
        device = _device_of(problem, resource)
        here = [] if device is None else np.flatnonzero(durations[:, device] < NEVER).tolist()
        if device is not None and _keeps_apart(problem, modes, resource, [order[t] for t in here]):
            kept_apart.add(device)
        elif sum(_at_most(problem, modes, demand) for demand in resource.demands) > (
            resource.capacity
        ):
            return False
    used = np.flatnonzero((durations < NEVER).any(axis=0)).tolist()
    return kept_apart.issuperset(used)


def _device_of(problem: Problem, resource: Resource) -> int | None:
    """Return the only device on which running tasks, and nothing else, use a resource."""
    names = {demand.device for demand in resource.demands if isinstance(demand, Running)}
    if len(names) != 1 or not all(isinstance(demand, Running) for demand in resource.demands):
        return None
    return problem.cluster.device_index[names.pop()]


def _keeps_apart(
    problem: Problem, modes: Sequence[int], resource: Resource, operators: Sequence[int]
) -> bool:
    """Return whether each operator fits a resource while it runs, and no two of them do."""
    amounts = sorted(
        sum(_while_running(problem, modes, demand, o) for demand in resource.demands)
        for o in operators
    )
    alone = not amounts or amounts[-1] <= resource.capacity
    return alone and (len(amounts) < 2 or amounts[0] + amounts[1] > resource.capacity)


def _while_running(problem: Problem, modes: Sequence[int], demand: Demand, operator: int) -> float:
    """Return how much an operator takes of a resource by a demand while it runs."""
    if not isinstance(demand, Running):
        return 0.0
    spec = problem.graph.operators[operator]
    mode = spec.modes[modes[operator]]
    if (
        (demand.operators is not None and spec.name not in demand.operators)
        or (demand.modes is not None and mode.name not in demand.modes)
        or (demand.engine is not None and demand.engine not in mode.engines)
    ):
        return 0.0
    amount = demand.amount
    each = amount.get(spec.name, 0.0) if isinstance(amount, Mapping) else amount
    return each * (mode.workspace_bytes if demand.per_workspace_byte else 1)


def _at_most(problem: Problem, modes: Sequence[int], demand: Demand) -> float:
    """Return the most that a demand may come to; infinite for kinds that are not looked into."""
    graph = problem.graph
    if isinstance(demand, Running):
        return sum(_while_running(problem, modes, demand, o) for o in range(len(modes)))
    if isinstance(demand, Resident):
        return demand.amount * sum(
            size
            for operator, mode in enumerate(modes)
            for tensor, size in graph.writes(operator, mode).items()
            if demand.tensors is None or graph.tensors[tensor].name in demand.tensors
        )
    if isinstance(demand, ResidentParameters):
        return demand.amount * sum(
            size
            for operator, mode in enumerate(modes)
            for group, size in graph.parameter_bytes(operator, mode).items()
            if demand.groups is None or graph.parameters[group].name in demand.groups
        )
    return math.inf
