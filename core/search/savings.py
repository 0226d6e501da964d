"""What the ways of coupled operators save: bytes kept for backward passes, against time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from parplan.graph import Kind
from parplan.problem import Problem
from parplan.search.ways import Coupled

BACKWARD = frozenset({Kind.BACKWARD, Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT})


@frozen
class Saving:
    """A way of some coupled operators that keeps less than their first way.

    Attributes
    ----------
    coupled, way
        Index of the coupled operators, and of their way.
    saved
        Bytes per microbatch that are not kept for backward operators.
    ticks
        Ticks per microbatch that it takes longer, on the busiest engine and elsewhere.
    """

    coupled: int
    way: int
    saved: int
    ticks: int


def find_savings(problem: Problem, coupled: Sequence[Coupled]) -> tuple[Saving, ...]:
    """Return what ways save, the most bytes per tick lost first; what saves nothing is left out.

    O(coupled operators x ways).
    """
    found = []
    for number, one in enumerate(coupled):
        first, *others = (_figures(problem, one, way) for way in one.ways)
        for way, (kept, ticks) in enumerate(others, start=1):
            if kept < first[0]:
                longer = max(ticks - first[1], 0)
                found.append(Saving(number, way, first[0] - kept, longer))
    return tuple(sorted(found, key=lambda s: (-s.saved / (s.ticks + 1), s.coupled, s.way)))


def _figures(problem: Problem, coupled: Coupled, way: Mapping[int, int]) -> tuple[int, int]:
    """Return bytes kept for backward operators and ticks of one microbatch, for one way."""
    graph = problem.graph

    def mode(operator: int) -> int:
        return way.get(operator, 0)

    tensors = {t for o in coupled.members for t in (*graph.inputs[o], *graph.outputs[o])}
    kept = sum(
        graph.writes(producer, mode(producer)).get(t, 0)
        for t in tensors
        for producer in (graph.producers[t],)
        if graph.operators[producer].kind is Kind.FORWARD
        and any(
            graph.operators[c].kind in BACKWARD and t in graph.reads(c, mode(c))
            for c in graph.consumers[t]
        )
    )
    return kept, sum(_ticks(problem, o, mode(o)) for o in coupled.members)


def _ticks(problem: Problem, operator: int, mode: int) -> int:
    """Return the ticks of a mode on the first single device that may run it."""
    for alternative in problem.alternatives[operator]:
        if alternative.mode == mode and len(alternative.devices) == 1:
            return problem.ticks(operator, alternative, problem.microbatches_of(operator).start)
    return 0
