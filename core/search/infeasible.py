"""Why no plan exists: quick proofs, the fewest rules that clash, and a change that helps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import attrs

from parplan.contracts import SolveOptions, Solver, Termination
from parplan.declarations import Resource
from parplan.errors import InfeasibleError
from parplan.problem import Alternative, Problem
from parplan.rules import Declared, Rules
from parplan.search.scheduling.coupling import refute_edges

TRY_S = 8.0
"""Seconds for one question to a solver while a conflict is narrowed down."""

PRECISION = 0.01
"""A repair is at most this part larger than the smallest one."""


def refute(problem: Problem, rules: Rules) -> None:
    """Raise InfeasibleError if a quick look shows that no plan exists.

    Every tensor must have a way from its producer to each reader. Every operator must fit some
    device by itself; and parameters and outputs of the graph, each of which is on some device at
    the end, must fit all memories together.
    """
    refute_edges(problem, rules)
    memories = [d.usable_bytes for d in problem.cluster.devices]
    if not any(c.name == "memory" for c in rules.constraints):
        return
    _refute_operators(problem, rules, memories)
    if any(m is None for m in memories):
        return
    room = sum(m for m in memories if m is not None)
    graph = problem.graph
    modes = [
        {problem.alternatives[o][row].mode for row in rows} for o, rows in enumerate(rules.allowed)
    ]
    parameters: dict[int, int] = {}
    for operator, own in enumerate(modes):
        needs = [graph.parameter_bytes(operator, mode) for mode in own]
        for group in needs[0]:
            size = min(need[group] for need in needs)
            parameters[group] = max(parameters.get(group, 0), size)
    outputs = 0
    for t, tensor in enumerate(graph.tensors):
        producer = graph.producers[t]
        for m in problem.microbatches_of(producer) if tensor.output else ():
            if not _takes_time(problem, rules, producer, m):
                continue  # its output may be there for no time at all
            outputs += min(problem.tensor_bytes(t, mode, m) or 0 for mode in modes[producer])
    need = sum(parameters.values()) + outputs
    if need > room:
        kept = f" and outputs of {_gib(outputs)}" if outputs else ""
        raise InfeasibleError(
            f"memory: parameters of {_gib(need - outputs)}{kept} must be kept where all devices "
            f"together have {_gib(room)}",
            conflict=("memory",),
            repair=f"{_gib(need - room)} more is the least that could do, on any device",
        )


def _refute_operators(problem: Problem, rules: Rules, memories: Sequence[int | None]) -> None:
    graph = problem.graph
    for operator, rows in _open_rows(rules):
        best: tuple[int, int, int] | None = None
        cache: dict[int, tuple[int, int]] = {}
        for row in rows:
            alternative = problem.alternatives[operator][row]
            mode = alternative.mode
            if mode not in cache:
                cache[mode] = _least_bytes(problem, operator, mode)
            need, held = cache[mode]
            if _takes_time_in(problem, operator, alternative):
                need += held
            rooms = [(room, d) for d in alternative.devices if (room := memories[d]) is not None]
            if not rooms or need <= min(rooms)[0]:
                break
            room, device = min(rooms)
            if best is None or need - room < best[0]:
                best = (need - room, device, need)
        else:
            assert best is not None  # there are always rows
            name = problem.cluster.devices[best[1]].name
            raise InfeasibleError(
                f"memory: operator '{graph.operators[operator].name}' needs {_gib(best[2])} by "
                f"itself, more than any device has that may run it",
                conflict=("memory",),
                repair=f"{_gib(best[0])} more on '{name}' is the least that could do",
            )


def _open_rows(rules: Rules) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield each operator with the alternatives that are left to it, for each placement group."""
    for operator, by_group in enumerate(rules.allowed_by_group):
        for rows in dict.fromkeys(by_group):
            yield operator, rows


def _least_bytes(problem: Problem, operator: int, mode: int) -> tuple[int, int]:
    """Return bytes of parameters, and of tensors and workspace while it runs, in one run."""
    graph = problem.graph
    parameters = sum(graph.parameter_bytes(operator, mode).values())
    scale = min(problem.workload.scale(m) for m in problem.microbatches_of(operator))
    held = graph.operators[operator].modes[mode].workspace_bytes
    return parameters, held + int(sum(graph.writes(operator, mode).values()) * scale)


def _takes_time_in(problem: Problem, operator: int, alternative: Alternative) -> bool:
    """Return whether every run takes time; for no time nothing is held but parameters."""
    return all(problem.ticks(operator, alternative, m) for m in problem.microbatches_of(operator))


def _takes_time(problem: Problem, rules: Rules, operator: int, microbatch: int) -> bool:
    rows = rules.allowed_by_group[operator][problem.workload.group(microbatch)]
    alternatives = (problem.alternatives[operator][row] for row in rows)
    return all(problem.ticks(operator, a, microbatch) for a in alternatives)


def _gib(amount: float) -> str:
    return f"{amount / 2**30:.4g} GiB"


def explain(rules: Rules, solver: Solver, workers: int, deadline: float) -> InfeasibleError:
    """Return the error for a problem that a solver proved to have no plan.

    A deletion filter over the rules finds a smallest set that clashes; then, for each resource
    among them, bisection finds how much more of it alone would do. What the deadline (on
    ``time.monotonic``'s clock) does not allow is left out.
    """

    def feasible(trial: Rules) -> bool | None:
        left = min(TRY_S, deadline - time.monotonic())
        if left <= 0:
            return None
        return _is_feasible(trial, solver, workers, left)

    kept = [c.name for c in rules.constraints]
    for name in tuple(kept):
        rest = [other for other in kept if other != name]
        if feasible(_only(rules, rest)) is False:
            kept = rest
    conflict = tuple(kept)
    if not conflict:
        return InfeasibleError(
            "no plan exists even without any constraint: operators that must exchange tensors "
            "have no route, or no modes that go together",
            conflict=("routes",),
            repair="add links, or modes that read what others write",
        )
    repairs = _repairs(_only(rules, conflict), feasible)
    advice = " or ".join(repairs) or f"relax one of: {', '.join(conflict)}"
    return InfeasibleError(
        f"no plan obeys {' and '.join(conflict)} together", conflict=conflict, repair=advice
    )


def _only(rules: Rules, names: Sequence[str]) -> Rules:
    """Return the rules of these names alone."""
    return attrs.evolve(
        rules,
        constraints=tuple(c for c in rules.constraints if c.name in names),
        declared=tuple(d for d in rules.declared if d.rule in names),
    )


def _is_feasible(rules: Rules, solver: Solver, workers: int, seconds: float) -> bool | None:
    """Return whether a schedule exists; None if the solver cannot tell in time."""
    from parplan.model.schedule_model import ScheduleModel  # loads Pyomo, which takes a second

    try:
        model = ScheduleModel(rules)
    except InfeasibleError:
        return False
    answer = solver.solve(model.pyomo, SolveOptions(seconds, gap=0.99, workers=workers))
    if answer.termination is Termination.INFEASIBLE:
        return False
    return True if answer.values else None


def _repairs(rules: Rules, feasible: Callable[[Rules], bool | None]) -> list[str]:
    """Return, for each resource that alone would help, how much more of it does."""
    found: list[tuple[float, str]] = []
    for declared in rules.declared:
        if not isinstance(declared.what, Resource):
            continue
        resource = declared.what
        step = max(resource.capacity, 1.0)
        if feasible(_with_capacity(rules, declared, resource.capacity + 1e6 * step)) is not True:
            continue
        extra = _smallest(rules, declared, resource, feasible)
        if extra is not None:
            amount = f"{extra / 2**30:.3g} GiB" if resource.unit == "bytes" else f"{extra:.4g}"
            unit = "" if resource.unit == "bytes" else f" {resource.unit}"
            text = f"give '{resource.name}' {amount}{unit} more"
            found.append((extra / step, text))
    return [text for _, text in sorted(found)[:2]]


def _smallest(
    rules: Rules,
    declared: Declared,
    resource: Resource,
    feasible: Callable[[Rules], bool | None],
) -> float | None:
    """Return an extra capacity that does, at most PRECISION above the smallest."""
    low, high = 0.0, max(resource.capacity, 1.0) * 1e-3
    while feasible(_with_capacity(rules, declared, resource.capacity + high)) is False:
        low, high = high, high * 2
    if feasible(_with_capacity(rules, declared, resource.capacity + high)) is not True:
        return None
    while high - low > PRECISION * high and high > 1e-9 * max(resource.capacity, 1.0):
        middle = (low + high) / 2
        answer = feasible(_with_capacity(rules, declared, resource.capacity + middle))
        if answer is None:
            break
        low, high = (low, middle) if answer else (middle, high)
    return high


def _with_capacity(rules: Rules, declared: Declared, capacity: float) -> Rules:
    assert isinstance(declared.what, Resource)
    larger = attrs.evolve(declared, what=attrs.evolve(declared.what, capacity=capacity))
    return attrs.evolve(
        rules, declared=tuple(larger if d is declared else d for d in rules.declared)
    )
