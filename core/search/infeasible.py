"""Quick proofs that no plan exists."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from parplan.declarations import Resident, ResidentParameters, Running
from parplan.errors import InfeasibleError
from parplan.problem import Alternative, Problem
from parplan.rules import Rules
from parplan.scheduling.coupling import refute_edges


def refute(problem: Problem, rules: Rules) -> None:
    """Raise InfeasibleError if a quick look shows that no plan exists.

    Every tensor must have a way from its producer to each reader. Every operator must fit some
    device by itself; and parameters and outputs of the graph, each of which is on some device at
    the end, must fit all memories together.
    """
    refute_edges(problem, rules)
    memories = _memories(problem, rules)
    if all(m is None for m in memories):
        return
    _refute_operators(problem, rules, memories)
    if any(m is None for m in memories):
        return
    room = math.floor(sum(m for m in memories if m is not None))
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


def _memories(problem: Problem, rules: Rules) -> list[float | None]:
    """Return what the rules let each device hold of parameters, tensors and workspace together."""
    found: list[float | None] = [None] * len(problem.cluster.devices)
    for d, device in enumerate(problem.cluster.devices):
        held = {
            Resident(device.name),
            ResidentParameters(device.name),
            Running(device.name, per_workspace_byte=True),
        }
        limits = [r.capacity for _, r in rules.resources if held <= set(r.demands)]
        found[d] = min(limits, default=None)
    return found


def _refute_operators(problem: Problem, rules: Rules, memories: Sequence[float | None]) -> None:
    graph = problem.graph
    for operator, rows in _open_rows(rules):
        best: tuple[float, int, int] | None = None
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
