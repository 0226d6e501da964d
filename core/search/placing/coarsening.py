"""Coarsening under a placement: what runs on one device in one go becomes one operator.

``coarsen`` applies, ``Coarse.expand`` inverts: a schedule of the coarse problem becomes one of the
fine problem, with every task at the time it has inside its merged task.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import networkx as nx
from attrs import frozen

from parplan.declarations import (
    Apart,
    Contiguous,
    Forbidden,
    Held,
    Moving,
    Order,
    Resident,
    Resource,
    Running,
    TimeLag,
    Together,
)
from parplan.graph import Graph, Mode, Operator, Tensor
from parplan.problem import Problem
from parplan.rules import Rules
from parplan.scheduling.coupling import meeting_groups
from parplan.scheduling.network import Assignment, Network
from parplan.workload import Workload


@frozen(eq=False)
class Coarse:
    """A coarse problem under one placement, and the way back.

    Attributes
    ----------
    problem, rules, assignment
        What to schedule; every operator has the one alternative of its placement per group.
    members
        Fine operators of each coarse operator, in the order they run.
    tensor_of
        Fine tensor of each coarse tensor that may be transferred; -1 for merged local ones.
    """

    fine: Problem
    fine_assignment: Assignment
    problem: Problem
    rules: Rules
    assignment: Assignment
    members: tuple[tuple[int, ...], ...]
    tensor_of: tuple[int, ...]

    def expand(self, network: Network, starts: Sequence[int]) -> dict[tuple[int, int], int]:
        """Return the start of every fine task, back to back inside its coarse task.

        Parameters
        ----------
        network
            Of the coarse problem and assignment.
        starts
            Start of each of its activities.
        """
        fine, group = self.fine, self.fine.workload.group
        found: dict[tuple[int, int], int] = {}
        for task, (coarse, microbatch) in enumerate(network.tasks):
            time = starts[task]
            for operator in self.members[coarse]:
                found[operator, microbatch] = time
                row = self.fine_assignment[operator, group(microbatch)]
                time += fine.ticks(operator, fine.alternatives[operator][row], microbatch)
        return found

    def expand_transfers(
        self, network: Network, starts: Sequence[int]
    ) -> dict[tuple[int, int, int], int]:
        """Return the start of every fine transfer by (tensor, microbatch, target)."""
        count = len(network.tasks)
        return {
            (self.tensor_of[tensor], microbatch, target): starts[count + t]
            for t, (tensor, microbatch, _, target) in enumerate(network.transfers)
        }


def coarsen(
    problem: Problem, rules: Rules, assignment: Assignment, parts: Sequence[Sequence[int]]
) -> Coarse | None:
    """Return the problem with each part merged into one operator; None if that makes a cycle.

    Parameters
    ----------
    assignment
        Alternative of every (operator, group); all operators of a part must have equal devices.
    parts
        A partition of the operators; the members of a part run without a pause, in topological
        order. O(operators + tensors).
    """
    graph = problem.graph
    position = {o: i for i, o in enumerate(graph.topological_order)}
    members = tuple(tuple(sorted(part, key=position.__getitem__)) for part in parts)
    part_of = [0] * len(graph.operators)
    for p, part in enumerate(members):
        for operator in part:
            part_of[operator] = p
    names = [_part_name(problem, part) for part in members]
    singled = named_operators(rules)
    tensors, tensor_of, internal = _merge_tensors(problem, assignment, part_of, names, singled)
    groups = problem.workload.group_count
    operators, chosen = [], {}
    for p, part in enumerate(members):
        merged = _merge_operators(problem, assignment, part, names[p], internal[p])
        operators.append(merged)
        for g in range(groups):
            chosen[p, g] = g if len(merged.modes) > 1 else 0
    parameters = tuple(
        attrs.evolve(group, weight_bytes=group.bytes, gradient_bytes=0, optimizer_bytes=0)
        for group in graph.parameters
    )
    if not _is_acyclic(len(members), tensors, names):
        return None
    coarse = Problem(
        f"{problem.name} (coarse)",
        Graph(graph.name, tuple(operators), tensors, parameters),
        problem.cluster,
        _without_scales(problem.workload),
        problem.constraints,
        problem.objectives,
        problem.tick_s,
    )
    # What a rule singles out is a part of its own and keeps its name: see named_operators.
    declared = tuple(
        d
        for d in rules.declared
        if not isinstance(d.what, Forbidden | Together | Apart | Contiguous)
    )
    coarse_rules = attrs.evolve(rules, problem=coarse, declared=declared)
    return Coarse(problem, assignment, coarse, coarse_rules, chosen, members, tensor_of)


def named_operators(rules: Rules) -> frozenset[str]:
    """Return the operators that some rule singles out; these must stay parts of their own."""
    found: set[str] = set()
    for declared in rules.declared:
        what = declared.what
        if isinstance(what, TimeLag):
            found |= {what.before, what.after}
        elif isinstance(what, Order):
            found |= set(what.operators)
        elif isinstance(what, Resource):
            for demand in what.demands:
                if isinstance(demand, Held):
                    found |= {demand.from_operator, demand.to_operator}
                elif isinstance(demand, Running):
                    found |= set(demand.operators or ())
                    if not isinstance(demand.amount, int | float):
                        found |= set(demand.amount)
                elif isinstance(demand, Resident | Moving) and demand.tensors:
                    found |= _ends_of(rules.problem.graph, demand.tensors)
    return frozenset(found)


def can_merge(rules: Rules) -> bool:
    """Return whether every resource means the same for merged operators.

    Merging hides modes, and turns tensors inside a part into workspace; so a demand by mode, or for
    tensors without their workspace, must see the operators as they are.
    """
    for _, resource in rules.resources:
        workspace = {
            (d.device, d.amount)
            for d in resource.demands
            if isinstance(d, Running)
            and d.per_workspace_byte
            and d.engine is None
            and d.operators is None
        }
        for demand in resource.demands:
            if isinstance(demand, Running) and demand.modes is not None:
                return False
            if (
                isinstance(demand, Resident)
                and demand.tensors is None
                and (demand.device, demand.amount) not in workspace
            ):
                return False
    return True


def _ends_of(graph: Graph, tensors: frozenset[str]) -> set[str]:
    found: set[str] = set()
    for name in tensors:
        tensor = graph.tensors[graph.tensor_index[name]]
        found |= {tensor.producer, *tensor.consumers}
    return found


def _without_scales(workload: Workload) -> Workload:
    """Scales must be none: a merged operator's time is a sum of times rounded one by one."""
    if len(set(workload.scales)) > 1:
        raise ValueError("microbatches of different length are not merged")
    return attrs.evolve(workload, scales=())


def _part_name(problem: Problem, part: Sequence[int]) -> str:
    operators = problem.graph.operators
    if len(part) == 1:
        return operators[part[0]].name
    return f"{operators[part[0]].name} .. {operators[part[-1]].name}"


def _is_acyclic(count: int, tensors: Sequence[Tensor], names: Sequence[str]) -> bool:
    index = {name: i for i, name in enumerate(names)}
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from((index[t.producer], index[c]) for t in tensors for c in t.consumers)
    return bool(nx.is_directed_acyclic_graph(graph))


def _merge_tensors(
    problem: Problem,
    assignment: Assignment,
    part_of: Sequence[int],
    names: Sequence[str],
    singled: frozenset[str],
) -> tuple[tuple[Tensor, ...], tuple[int, ...], list[list[int]]]:
    """Tensors between parts: local ones with equal ends as one, the others as they are.

    Also returns the tensors inside each part.
    """
    graph = problem.graph
    groups = range(problem.workload.group_count)
    internal: list[list[int]] = [[] for _ in names]
    local: dict[tuple[int, tuple[int, ...], bool], int] = {}
    kept: list[tuple[Tensor, int]] = []

    def devices(operator: int, g: int) -> tuple[int, ...]:
        return problem.alternatives[operator][assignment[operator, g]].devices

    for t, tensor in enumerate(graph.tensors):
        producer = graph.producers[t]
        modes = [problem.alternatives[producer][assignment[producer, g]].mode for g in groups]
        first = problem.microbatches_of(producer).start
        sizes = [problem.tensor_bytes(t, mode, first) for mode in modes]
        readers = [
            c
            for c in graph.consumers[t]
            if any(
                t in graph.reads(c, problem.alternatives[c][assignment[c, g]].mode) for g in groups
            )
        ]
        if all(size is None for size in sizes):
            continue
        size = max(s for s in sizes if s is not None)
        source = part_of[producer]
        targets = tuple(sorted({part_of[c] for c in readers} - {source}))
        if not targets and not tensor.output:
            internal[source].append(t)
            continue
        is_local = all(
            devices(producer, g) == devices(c, h)
            for c in readers
            for g, h in meeting_groups(problem, producer, c)
        )
        if is_local and tensor.producer not in singled:
            key = (source, targets, tensor.output)
            local[key] = local.get(key, 0) + size
        else:
            consumers = tuple(names[p] for p in targets)
            kept.append((Tensor(tensor.name, names[source], consumers, size, tensor.output), t))
    merged = [
        Tensor(f"local {i}", names[source], tuple(names[p] for p in targets), size, output)
        for i, ((source, targets, output), size) in enumerate(local.items())
    ]
    return (
        (*merged, *(tensor for tensor, _ in kept)),
        (*(-1 for _ in merged), *(t for _, t in kept)),
        internal,
    )


def _merge_operators(
    problem: Problem,
    assignment: Assignment,
    part: Sequence[int],
    name: str,
    internal: Sequence[int],
) -> Operator:
    """One operator with one mode per placement group (or one, if the groups are alike)."""
    graph = problem.graph
    first = graph.operators[part[0]]
    parameters: dict[str, None] = {}
    for operator in part:
        parameters.update(dict.fromkeys(graph.operators[operator].parameters))
    modes: list[Mode] = []
    for g in range(problem.workload.group_count):
        chosen = [problem.alternatives[o][assignment[o, g]] for o in part]
        devices = problem.cluster.devices
        when = problem.microbatches_of(part[0]).start
        ticks = sum(problem.ticks(o, a, when) for o, a in zip(part, chosen, strict=True))
        sizes: dict[str, int] = {}
        for o, a in zip(part, chosen, strict=True):
            for group, size in graph.parameter_bytes(o, a.mode).items():
                key = graph.parameters[group].name
                sizes[key] = max(sizes.get(key, 0), size)
        own = graph.operators[part[0]].modes[chosen[0].mode]
        group_names = tuple(devices[d].name for d in chosen[0].devices)
        factor = 1.0  # seconds are those after any slowdown: undo what ticks() multiplies again
        for d in chosen[0].devices:
            factor = max(factor, *(devices[d].slowdown.get(e, 1.0) for e in own.engines), 1.0)
        modes.append(
            Mode(
                name=f"group {g}",
                devices=len(group_names),
                groups=(group_names,),
                seconds={"*": ticks * problem.tick_s / factor},
                parameter_bytes=sizes,
                workspace_bytes=_workspace(problem, assignment, part, internal, g),
                engines=own.engines,
                ring_bytes=own.ring_bytes if len(part) == 1 else 0,
                ring_steps=own.ring_steps if len(part) == 1 else 0,
                layout=own.layout if len(part) == 1 else "",
            )
        )
    if all(attrs.evolve(m, name=modes[0].name) == modes[0] for m in modes):
        modes = modes[:1]
    return Operator(
        name,
        first.kind,
        sum(graph.operators[o].flops for o in part),
        parameters=tuple(parameters),
        repeat=first.repeat,
        module=first.module,
        modes=tuple(modes),
    )


def _workspace(
    problem: Problem, assignment: Assignment, part: Sequence[int], internal: Sequence[int], g: int
) -> int:
    """Most bytes of workspace and inner tensors at once while the part runs."""
    graph = problem.graph
    place = {operator: i for i, operator in enumerate(part)}
    change = [0] * (len(part) + 1)
    for t in internal:
        producer = graph.producers[t]
        mode = problem.alternatives[producer][assignment[producer, g]].mode
        size = problem.tensor_bytes(t, mode, problem.microbatches_of(producer).start) or 0
        start = place[producer]
        end = max((place[c] for c in graph.consumers[t] if c in place), default=start)
        change[start] += size
        change[end + 1] -= size
    level, peak = 0, 0
    for i, operator in enumerate(part):
        level += change[i]
        mode_index = problem.alternatives[operator][assignment[operator, g]].mode
        peak = max(peak, level + graph.operators[operator].modes[mode_index].workspace_bytes)
    return peak
