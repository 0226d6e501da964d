"""The most memory in use on any device at any instant."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from parplan.contracts import Objective
from parplan.figures.usage import peak_memory
from parplan.problem import Alternative, Problem
from parplan.schedule import Schedule


@frozen
class PeakMemory(Objective):
    """The largest peak over all devices: parameters, tensors and workspace.

    It has no expression in the model (a capacity there is a number): schedules are compared by it.
    """

    name: ClassVar[str] = "peak-memory"
    unit: ClassVar[str] = "B"

    def value(self, schedule: Schedule) -> float:
        """Return the largest peak in bytes."""
        return float(max(peak_memory(schedule).values()))

    def bound(self, problem: Problem) -> float | None:
        """Return the larger of two bounds.

        All parameters, each kept at least once, divided over all devices; and what the operator
        that needs most needs by itself: parameters, what it writes, workspace.
        """
        least: dict[int, int] = {}
        hungriest = 0
        for operator, alternatives in enumerate(problem.alternatives):
            needs = []
            kept: dict[int, int] = {}
            for mode in {alternative.mode for alternative in alternatives}:
                sizes = problem.graph.parameter_bytes(operator, mode)
                needs.append(sum(sizes.values()) + _written(problem, operator, mode))
                for group, size in sizes.items():
                    kept[group] = min(kept.get(group, size), size)
            hungriest = max(hungriest, min(needs))
            for group, size in kept.items():
                least[group] = max(least.get(group, 0), size)
        share = -(-sum(least.values()) // len(problem.cluster.devices))
        return float(max(hungriest, share))


def _written(problem: Problem, operator: int, mode: int) -> int:
    """Bytes that a run of an operator surely holds: its largest microbatch's, if it takes time."""
    graph = problem.graph
    found = 0
    for microbatch in problem.microbatches_of(operator):
        chosen = [a for a in problem.alternatives[operator] if a.mode == mode]
        if all(_lasts(problem, operator, a, microbatch) for a in chosen):
            written = [problem.tensor_bytes(t, mode, microbatch) or 0
                       for t in graph.writes(operator, mode)]  # fmt: skip
            workspace = graph.operators[operator].modes[mode].workspace_bytes
            found = max(found, sum(written) + workspace)
    return found


def _lasts(problem: Problem, operator: int, alternative: Alternative, microbatch: int) -> bool:
    return problem.ticks(operator, alternative, microbatch) > 0
