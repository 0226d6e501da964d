"""A problem as arrays, for the bounds: choices, durations, amounts of resources, precedence arcs.

Microbatches that cannot be told apart (same group, scale and release) share one *column*. All
times are ticks, held as floats: whole numbers below 2**53, and infinity for "cannot be".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import networkx as nx
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from parplan.declarations import Edge, Moving, Order, Resource, Running, TimeLag
from parplan.graph import Graph, Repeat
from parplan.problem import STEP, Alternative, Problem
from parplan.rules import Rules
from parplan.search.bounds.transit import Transit, padded_devices
from parplan.ticks import ticks_down, ticks_up

Array = NDArray[np.float64]
Assignment = Mapping[tuple[int, int], int]
"""Alternative index (into ``problem.alternatives``) of each (operator index, placement group)."""


@frozen
class Column:
    """Microbatches that are alike; ``microbatch`` stands for all ``count`` of them."""

    microbatch: int
    count: int
    group: int
    release: int


@frozen
class Arc:
    """``after`` waits for ``before``: for a tensor (by index), or for ``lag`` ticks if -1."""

    before: int
    after: int
    tensor: int = -1
    lag: int = 0
    from_start: bool = False
    to_end: bool = False


@frozen(eq=False)
class Instance:
    """A problem and its rules, compiled once for all bounds.

    Attributes
    ----------
    columns
        Classes of microbatches; operators that run once per step have the one of ``step``.
    choices
        The allowed alternatives of each operator, A of them.
    usable
        Which choices the rules and an assignment leave, ``(columns, A)`` per operator.
    ticks
        Durations, ``(columns, A)`` per operator.
    use
        Per operator, which of ``amounts`` it has.
    amounts
        What a running task holds of each resource, ``(A, resources)`` each.
    arcs
        Every precedence, acyclic; ``order`` is a topological order of the operators.
    """

    problem: Problem
    rules: Rules
    columns: tuple[Column, ...]
    step: tuple[Column, ...]
    choices: tuple[tuple[Alternative, ...], ...]
    usable: tuple[NDArray[np.bool_], ...]
    ticks: tuple[Array, ...]
    use: tuple[int, ...]
    amounts: tuple[Array, ...]
    arcs: tuple[Arc, ...]
    order: tuple[int, ...]
    transit: Transit

    @property
    def resources(self) -> tuple[tuple[str, Resource], ...]:
        """All declared resources with their rules."""
        return self.rules.resources

    def columns_of(self, operator: int) -> tuple[Column, ...]:
        """Return the columns of an operator's arrays."""
        return self.step if is_step(self.problem.graph, operator) else self.columns

    @cached_property
    def incoming(self) -> tuple[tuple[Arc, ...], ...]:
        """Arcs into each operator."""
        found: list[list[Arc]] = [[] for _ in self.choices]
        for arc in self.arcs:
            found[arc.after].append(arc)
        return tuple(tuple(row) for row in found)

    @cached_property
    def outgoing(self) -> tuple[tuple[Arc, ...], ...]:
        """Arcs out of each operator."""
        found: list[list[Arc]] = [[] for _ in self.choices]
        for arc in self.arcs:
            found[arc.before].append(arc)
        return tuple(tuple(row) for row in found)

    @cached_property
    def position(self) -> dict[int, int]:
        """Place of each operator in ``order``."""
        return {o: i for i, o in enumerate(self.order)}

    def delays(self, arc: Arc, microbatch: int) -> Array:
        """Return the delays of a tensor's arc, ``(choices before, choices after)``."""
        before, after = self.choices[arc.before], self.choices[arc.after]
        return self.transit.delays(arc.tensor, microbatch, before, after, arc.after)

    @cached_property
    def capacities(self) -> Array:
        """Capacity of each resource; rounded down to whole demands where all are equal."""
        values = []
        for index, (_, resource) in enumerate(self.resources):
            capacity = resource.capacity
            amounts = {float(v) for table in self.amounts for v in table[:, index] if v > 0}
            amounts |= {d.amount for d in resource.demands if isinstance(d, Moving)}
            timed = all(isinstance(d, Running | Moving) for d in resource.demands)
            if timed and len(amounts) == 1:
                (amount,) = amounts
                capacity = max(math.floor(capacity / amount + 1e-9) * amount, amount)
            values.append(capacity)
        return np.array(values, dtype=float)

    @cached_property
    def shares(self) -> tuple[Array, ...]:
        """Largest part of a resource that a running task holds, ``(A,)`` for each of amounts."""
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = [np.nan_to_num(table / self.capacities, posinf=1.0) for table in self.amounts]
        return tuple(p.max(axis=1, initial=0.0) for p in parts)


def is_step(graph: Graph, operator: int) -> bool:
    """Return whether an operator runs once per step."""
    return graph.operators[operator].repeat is Repeat.STEP


def compile_instance(
    problem: Problem, rules: Rules, assignment: Assignment | None = None
) -> Instance:
    """Return the arrays of a problem; an assignment leaves one choice where it names one."""
    columns = _columns(problem)
    step = (Column(STEP, 1, 0, 0),)
    choices = _choices(problem, rules)
    of = [step if is_step(problem.graph, o) else columns for o in range(len(choices))]
    use, amounts = _amounts(problem, rules, choices)
    arcs, order = _arcs(problem, rules)
    return Instance(
        problem,
        rules,
        columns,
        step,
        choices,
        tuple(_usable(problem, rules, o, of[o], assignment or {}) for o in range(len(choices))),
        _durations(problem, choices, of),
        use,
        amounts,
        arcs,
        order,
        Transit(problem),
    )


def _columns(problem: Problem) -> tuple[Column, ...]:
    """Return the classes of microbatches, in order of first appearance."""
    found: dict[tuple[int, float, int], list[int]] = {}
    workload = problem.workload
    for k in range(workload.microbatches):
        found.setdefault((workload.group(k), workload.scale(k), problem.release(k)), []).append(k)
    return tuple(
        Column(members[0], len(members), group, release)
        for (group, _, release), members in found.items()
    )


def _choices(problem: Problem, rules: Rules) -> tuple[tuple[Alternative, ...], ...]:
    """Return the allowed alternatives; one tuple for all operators with the same."""
    shared: dict[tuple[Alternative, ...], tuple[Alternative, ...]] = {}
    cache: dict[tuple[int, tuple[int, ...]], tuple[Alternative, ...]] = {}
    result = []
    for alternatives, rows in zip(problem.alternatives, rules.allowed, strict=True):
        key = (id(alternatives), rows)
        if key not in cache:
            chosen = tuple(alternatives[row] for row in rows)
            cache[key] = shared.setdefault(chosen, chosen)
        result.append(cache[key])
    return tuple(result)


def _usable(
    problem: Problem, rules: Rules, operator: int, columns: tuple[Column, ...], given: Assignment
) -> NDArray[np.bool_]:
    rows, by_group = rules.allowed[operator], rules.allowed_by_group[operator]
    mask = np.ones((len(columns), len(rows)), dtype=bool)
    for index, column in enumerate(columns):
        left: Sequence[int] = by_group[column.group]
        chosen = given.get((operator, column.group))
        if chosen is not None:
            left = (chosen,)
        if left is not rows:
            mask[index] = np.isin(rows, left)
    return mask


def _durations(
    problem: Problem, choices: tuple[tuple[Alternative, ...], ...], of: list[tuple[Column, ...]]
) -> tuple[Array, ...]:
    """Return durations ``(columns, A)`` of each operator: as ``Problem.ticks``, but by class."""
    devices = problem.cluster.devices
    looks = [(d.kind, tuple(sorted(d.slowdown.items()))) for d in devices]
    first = {look: d for d, look in reversed(list(enumerate(looks)))}
    index = {look: i for i, look in enumerate(first)}
    device_class = np.array([index[look] for look in looks])
    members: dict[int, NDArray[np.int64]] = {}
    result = []
    for o, chosen in enumerate(choices):
        operator, columns = problem.graph.operators[o], of[o]
        if any(mode.ring_steps for mode in operator.modes):
            rows = [[problem.ticks(o, a, c.microbatch) for a in chosen] for c in columns]
            result.append(np.array(rows, dtype=float))
            continue
        if id(chosen) not in members:
            members[id(chosen)] = padded_devices(chosen)
        modes = np.array([a.mode for a in chosen])
        table = np.zeros((len(columns), len(operator.modes), len(first)))
        for c, column in enumerate(columns):
            scale = problem.workload.scale(column.microbatch)
            for m, mode in enumerate(operator.modes):
                for k, d in enumerate(first.values()):
                    base = mode.seconds_on(devices[d].kind)
                    if base is not None:
                        slow = (devices[d].slowdown.get(e, 1.0) for e in mode.engines)
                        factor = max(slow, default=1.0)
                        table[c, m, k] = ticks_up(base * factor * scale, problem.tick_s)
        classes = device_class[members[id(chosen)]]
        result.append(table[:, modes[:, None], classes].max(axis=2))
    return tuple(result)


def _amounts(
    problem: Problem, rules: Rules, choices: tuple[tuple[Alternative, ...], ...]
) -> tuple[tuple[int, ...], tuple[Array, ...]]:
    """Return the table of amounts of each operator, equal tables shared."""
    named: set[str] = set()
    for _, resource in rules.resources:
        for demand in resource.demands:
            if isinstance(demand, Running):
                named |= demand.operators or set()
                named |= set(demand.amount) if isinstance(demand.amount, Mapping) else set()
    keys: dict[object, int] = {}
    tables: list[Array] = []
    use = []
    for o, chosen in enumerate(choices):
        operator = problem.graph.operators[o]
        key = (
            id(chosen),
            tuple((m.name, m.engines, m.workspace_bytes, m.ring_steps > 0) for m in operator.modes),
            operator.name if operator.name in named else None,
        )
        if key not in keys:
            keys[key] = len(tables)
            tables.append(_table(problem, rules, o, chosen))
        use.append(keys[key])
    return tuple(use), tuple(tables)


def _table(
    problem: Problem, rules: Rules, operator: int, choices: tuple[Alternative, ...]
) -> Array:
    """Return what a running task of one operator holds, ``(A, resources)``."""
    table = np.zeros((len(choices), len(rules.resources)))
    spec, devices = problem.graph.operators[operator], problem.cluster.device_index
    links = [set(problem.collective_links(operator, a)) for a in choices]
    for r, (_, resource) in enumerate(rules.resources):
        for demand in resource.demands:
            if isinstance(demand, Running):
                amount = demand.amount
                if isinstance(amount, Mapping):
                    amount = amount.get(spec.name, 0.0)
                if demand.operators is not None and spec.name not in demand.operators:
                    continue
                device = devices[demand.device]
                for row, choice in enumerate(choices):
                    mode = spec.modes[choice.mode]
                    if device not in choice.devices:
                        continue
                    if demand.engine is not None and demand.engine not in mode.engines:
                        continue
                    if demand.modes is not None and mode.name not in demand.modes:
                        continue
                    factor = mode.workspace_bytes if demand.per_workspace_byte else 1
                    table[row, r] += amount * factor
            elif isinstance(demand, Moving) and demand.tensors is None:
                link = problem.cluster.link_index[demand.link]
                table[:, r] += [demand.amount * (link in held) for held in links]
    return table


def _arcs(problem: Problem, rules: Rules) -> tuple[tuple[Arc, ...], tuple[int, ...]]:
    """Return all arcs and a topological order; lags that would close a cycle are left out."""
    graph = problem.graph
    arcs = [
        Arc(graph.producers[t], reader, t)
        for t, readers in enumerate(graph.consumers)
        for reader in readers
    ]
    extra = _declared_arcs(problem, rules)
    if not extra:
        return tuple(arcs), graph.topological_order
    union: nx.DiGraph[int] = nx.DiGraph(graph.digraph)
    union.add_edges_from((a.before, a.after) for a in extra)
    if not nx.is_directed_acyclic_graph(union):
        union, kept = nx.DiGraph(graph.digraph), []
        for arc in extra:
            if not nx.has_path(union, arc.after, arc.before):
                union.add_edge(arc.before, arc.after)
                kept.append(arc)
        extra = kept
    return tuple(arcs + extra), tuple(nx.lexicographical_topological_sort(union))


def _declared_arcs(problem: Problem, rules: Rules) -> list[Arc]:
    """Return lags and orders that tie equal microbatches; the others are relaxed."""
    graph, index = problem.graph, problem.graph.operator_index
    found = []
    for _, lag in rules.of(TimeLag):
        a, b = index[lag.before], index[lag.after]
        if lag.offset == 0 and a != b and is_step(graph, a) == is_step(graph, b):
            ticks = ticks_down(lag.seconds, problem.tick_s)
            from_start, to_end = lag.before_edge is Edge.START, lag.after_edge is Edge.END
            found.append(Arc(a, b, lag=ticks, from_start=from_start, to_end=to_end))
    for _, order in rules.of(Order):
        for before, after in zip(order.operators, order.operators[1:], strict=False):
            a, b = index[before], index[after]
            if is_step(graph, a) == is_step(graph, b):
                found.append(Arc(a, b))
    return found
