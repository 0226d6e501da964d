"""What the ways of coupled operators save: bytes kept for backward passes, against time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from parplan.graph import Kind
from parplan.problem import Problem
from parplan.saved_tensors import BACKWARD
from parplan.search.placing.ways import Coupled, Ways


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
    moved
        Bytes per microbatch that go to another place instead, and come back.
    keeper
        An operator without an engine that stands in that place; -1 if nothing is moved.
    """

    coupled: int
    way: int
    saved: int
    ticks: int
    moved: int = 0
    keeper: int = -1


def find_savings(problem: Problem, coupled: Sequence[Coupled]) -> tuple[Saving, ...]:
    """Return what ways save, the most bytes per tick lost first; what saves nothing is left out.

    O(coupled operators x ways).
    """
    found = []
    for number, one in enumerate(coupled):
        first, *others = one.ways
        most, least = _kept_bytes(problem, one, first), _ticks(problem, one, first)
        for way, chosen in enumerate(others, start=1):
            saved = most - _kept_bytes(problem, one, chosen)
            longer = max(_ticks(problem, one, chosen) - least, 0)
            if saved > 0:
                found.append(Saving(number, way, saved, longer, *_moved(problem, one, chosen)))
    return tuple(sorted(found, key=lambda s: (-s.saved / (s.ticks + 1), s.moved, s.coupled, s.way)))


def fastest_ways(problem: Problem, coupled: Sequence[Coupled]) -> Ways:
    """Return the way of each coupled operators that takes the least time, and then keeps least."""
    found = []
    for one in coupled:
        costs = [(_ticks(problem, one, w), _kept_bytes(problem, one, w)) for w in one.ways]
        found.append(costs.index(min(costs)))
    return tuple(found)


def _kept_bytes(problem: Problem, coupled: Coupled, way: Mapping[int, int]) -> int:
    """Return what one microbatch keeps for backward operators, in one way."""
    graph = problem.graph
    tensors = {t for o in coupled.members for t in (*graph.inputs[o], *graph.outputs[o])}
    return sum(
        graph.writes(producer, way.get(producer, 0)).get(t, 0)
        for t in tensors
        for producer in (graph.producers[t],)
        if graph.operators[producer].kind is Kind.FORWARD
        and not _is_idle(problem, producer)
        and any(
            graph.operators[c].kind in BACKWARD and t in graph.reads(c, way.get(c, 0))
            for c in graph.consumers[t]
            if not _is_idle(problem, c)
        )
    )


def _moved(problem: Problem, coupled: Coupled, way: Mapping[int, int]) -> tuple[int, int]:
    """Return the bytes that operators without an engine take in, and one of these (-1: none)."""
    graph = problem.graph
    taken = {
        t: o
        for o in coupled.members
        if _is_idle(problem, o)
        for t in graph.reads(o, way.get(o, 0))
        if not _is_idle(problem, graph.producers[t]) and graph.tensors[t].bytes > 0
    }
    return sum(graph.tensors[t].bytes for t in taken), max(taken.values(), default=-1)


def _is_idle(problem: Problem, operator: int) -> bool:
    return not any(mode.engines for mode in problem.graph.operators[operator].modes)


def _ticks(problem: Problem, coupled: Coupled, way: Mapping[int, int]) -> int:
    """Return the ticks of one microbatch, each mode on the first device that may run it."""
    return sum(
        next(
            (
                problem.ticks(o, alternative, problem.microbatches_of(o).start)
                for alternative in problem.alternatives[o]
                if alternative.mode == mode and len(alternative.devices) == 1
            ),
            0,
        )
        for o, mode in way.items()
    )
