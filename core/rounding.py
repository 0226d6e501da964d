"""How coarse a problem's tick may be, and what rounding to it costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from attrs import field, frozen

from parplan.graph import Repeat
from parplan.problem import STEP, Alternative, Problem
from parplan.ticks import choose_tick, ticks_up


@frozen
class Rounding:
    """What whole ticks cost.

    Attributes
    ----------
    tick_s
        Length of a tick in seconds.
    exact
        True if every duration and latency is a whole number of ticks.
    largest_s
        The most seconds that one duration or latency is rounded up by.
    makespan_part
        Bound on the part of the makespan that is due to rounding.
    """

    tick_s: float
    exact: bool
    largest_s: float
    makespan_part: float


def fitting_tick(problem: Problem) -> float:
    """Return a tick in seconds that moves the makespan by at most 1e-6 of it.

    The ``tick_s`` of ``problem`` is not looked at.
    """
    durations = set(all_seconds(problem))
    least = least_makespan_s(problem)
    return choose_tick(durations, least, _path_length(problem, durations, least))


def rounding_report(problem: Problem) -> Rounding:
    """Return what rounding to the problem's tick costs."""
    tick = problem.tick_s
    durations = set(all_seconds(problem))
    extra = [ticks_up(seconds, tick) * tick - seconds for seconds in durations]
    largest = max(0.0, *extra) if extra else 0.0
    # Rounding noise of the division itself is no rounding up.
    exact = largest <= 2e-6 * tick
    least = least_makespan_s(problem)
    part = 0.0
    if not exact and least > 0:
        part = largest * _path_length(problem, durations, least) / least
    return Rounding(tick, exact, 0.0 if exact else largest, part)


def all_seconds(problem: Problem) -> Iterator[float]:
    """Yield every duration, transfer time, latency and release that may occur, in seconds."""
    yield from _task_seconds(problem)
    yield from _transfer_seconds(problem)
    yield from problem.workload.releases_s


def _distinct_operators(problem: Problem) -> Iterator[int]:
    """Yield one operator for each set of modes that occurs; modes are shared objects."""
    seen: set[tuple[int, ...]] = set()
    for index, operator in enumerate(problem.graph.operators):
        key = tuple(id(mode) for mode in operator.modes)
        if key not in seen:
            seen.add(key)
            yield index


@frozen(eq=False)
class _DistinctAlternatives:
    """One alternative of those that take equally long, found once for operators that share them."""

    problem: Problem
    _found: dict[int, tuple[Alternative, ...]] = field(factory=dict, init=False)

    def of(self, operator: int) -> tuple[Alternative, ...]:
        """Return alternatives of an operator that between them have every duration."""
        alternatives = self.problem.alternatives[operator]
        if any(mode.ring_steps for mode in self.problem.graph.operators[operator].modes):
            return alternatives  # these depend on routes
        if id(alternatives) not in self._found:
            devices = self.problem.cluster.devices
            distinct: dict[object, Alternative] = {}
            for alternative in alternatives:
                alike = frozenset(
                    (devices[d].kind, *sorted(devices[d].slowdown.items()))
                    for d in alternative.devices
                )
                distinct.setdefault((alternative.mode, alike), alternative)
            self._found[id(alternatives)] = tuple(distinct.values())
        return self._found[id(alternatives)]


def _one_microbatch_per_scale(problem: Problem) -> list[int]:
    """Return microbatches that between them have every scale, with -1 for once per step."""
    found = {scale: m for m, scale in enumerate(problem.workload.scales)}
    return [STEP, *found.values()]


def _task_seconds(problem: Problem) -> Iterator[float]:
    microbatches = _one_microbatch_per_scale(problem)
    distinct = _DistinctAlternatives(problem)
    for index in _distinct_operators(problem):
        for alternative in distinct.of(index):
            for microbatch in microbatches:
                yield problem.seconds(index, alternative, microbatch)


def _transfer_seconds(problem: Problem) -> Iterator[float]:
    sizes = set(_tensor_sizes(problem))
    cluster = problem.cluster
    count = range(len(cluster.devices))
    speeds_seen: set[float] = set()
    for source in count:
        for target in count:
            route = cluster.route(source, target) if source != target else None
            if route is None:
                continue
            links = [cluster.links[cluster.link_index[name]] for name in route.links]
            yield sum(link.latency_s for link in links)
            slow = problem.transfer_slowdown(source, target)
            speeds = [link.bandwidth / slow for link in links]
            speeds_seen.update(
                speeds if route.store_and_forward else [min(speeds, default=math.inf)]
            )
    for speed in speeds_seen:
        for size in sizes:
            yield size / speed


def _tensor_sizes(problem: Problem) -> Iterator[int]:
    """Yield every size that a tensor may have."""
    graph = problem.graph
    examples: dict[int, tuple[int, int]] = {}
    for operator, outputs in enumerate(graph.outputs):
        for mode in range(len(graph.operators[operator].modes)) if outputs else ():
            for tensor, size in graph.writes(operator, mode).items():
                examples.setdefault(size, (tensor, mode))
    for tensor, mode in examples.values():
        for microbatch in _one_microbatch_per_scale(problem):
            scaled = problem.tensor_bytes(tensor, mode, microbatch)
            if scaled is not None:
                yield scaled


def least_makespan_s(problem: Problem) -> float:
    """Return a lower bound of the makespan in seconds: the longest path of fastest durations."""
    graph, workload = problem.graph, problem.workload
    longest = max(workload.scales, default=1.0)
    fastest: dict[tuple[int, ...], float] = {}
    ends = [0.0] * len(graph.operators)
    distinct = _DistinctAlternatives(problem)
    for index in graph.topological_order:
        operator = graph.operators[index]
        key = tuple(id(mode) for mode in operator.modes)
        if key not in fastest:
            fastest[key] = min(problem.seconds(index, a, -1) for a in distinct.of(index))
        # One microbatch of the largest scale runs through all operators of the step.
        scale = longest if operator.repeat is Repeat.MICROBATCH else 1.0
        start = max((ends[p] for p in graph.digraph.predecessors(index)), default=0.0)
        ends[index] = start + fastest[key] * scale
    return max(ends)


def _path_length(problem: Problem, durations: Iterable[float], least: float) -> int:
    """Return the most roundings that can add up on a path, relative to the least makespan.

    Each task and each transfer (its time, and its latency) is rounded once. A path within a
    makespan T has at most T / d of them if none is shorter than d, so the error relative to T is
    that of a path of the least makespan, ``least``.
    """
    devices = len(problem.cluster.devices)
    most = problem.task_count + 2 * len(problem.graph.tensors) * problem.workload.microbatches * (
        devices - 1
    )
    shortest = min((d for d in durations if d > 0), default=0.0)
    if shortest == 0 or least == 0:
        return max(most, 1)
    return max(1, min(most, math.ceil(least / shortest)))
