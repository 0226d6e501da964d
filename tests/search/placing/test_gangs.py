"""Stages on groups of devices: as good as brute force over cuts and groups."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.graph import Mode, ParameterGroup
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.improving.heuristics import gang_candidates
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Finisher
from parplan.search.placing.gangs import gang_assignments
from parplan.search.placing.placement import Placer
from tests.differential.generators import examples
from tests.examples import chain

ROOM = 10


def placer_of(problem: Problem, registry: Registry) -> Placer:
    rules = make_rules(problem, registry)
    return Placer(problem, rules, find_blocks(problem, rules))


def on_groups(times: list[dict[int, float]], sizes: list[int], devices: int) -> Problem:
    """Return a chain whose operators take so long on groups of so many neighbouring devices."""
    problem = chain(len(times), devices=devices)
    names = [d.name for d in problem.cluster.devices]
    operators = tuple(
        attrs.evolve(
            operator,
            parameters=(f"{operator.name}.w",),
            modes=tuple(
                Mode(
                    f"n{n}",
                    devices=n,
                    groups=tuple(tuple(names[i : i + n]) for i in range(devices - n + 1)),
                    seconds={"*": seconds},
                    parameter_bytes={f"{operator.name}.w": size // n},
                )
                for n, seconds in own.items()
            ),
        )
        for operator, own, size in zip(problem.graph.operators, times, sizes, strict=True)
    )
    groups = tuple(ParameterGroup(f"{o.name}.w", size)
                   for o, size in zip(operators, sizes, strict=True))  # fmt: skip
    spots = tuple(attrs.evolve(d, memory_bytes=ROOM) for d in problem.cluster.devices)
    return attrs.evolve(
        problem,
        graph=attrs.evolve(
            problem.graph,
            operators=operators,
            parameters=groups,
            tensors=tuple(attrs.evolve(t, bytes=0) for t in problem.graph.tensors),
        ),
        cluster=attrs.evolve(problem.cluster, devices=spots),
    )


def largest_load(problem: Problem, assignment: dict[tuple[int, int], int]) -> float:
    loads = [0.0] * len(problem.cluster.devices)
    for (o, _), row in assignment.items():
        alternative = problem.alternatives[o][row]
        for device in alternative.devices:
            loads[device] += problem.ticks(o, alternative, 0)
    return max(loads)


def compositions(total: int) -> Iterator[tuple[int, ...]]:
    """Yield the ordered sizes of groups on some devices, or fewer."""
    for first in range(1, total + 1):
        yield (first,)
        yield from ((first, *rest) for rest in compositions(total - first))


def brute_force(times: list[dict[int, float]], sizes: list[int], devices: int) -> float:
    best, count = math.inf, len(times)
    for groups in compositions(devices):
        for cuts in itertools.combinations(range(1, count), len(groups) - 1):
            edges = list(itertools.pairwise((0, *cuts, count)))
            fits = all(
                sum(size // n for size in sizes[a:b]) <= ROOM
                for n, (a, b) in zip(groups, edges, strict=True)
            )
            if fits:
                loads = [
                    sum(own.get(n, math.inf) for own in times[a:b])
                    for n, (a, b) in zip(groups, edges, strict=True)
                ]
                best = min(best, max(loads))
    return best


@st.composite
def drawn(draw: st.DrawFn) -> tuple[list[dict[int, float]], list[int], int]:
    devices, count = draw(st.integers(2, 4)), draw(st.integers(1, 5))
    widths = st.lists(st.integers(1, devices), min_size=1, max_size=3, unique=True)
    times = [
        {n: float(draw(st.integers(1, 9))) for n in sorted(draw(widths))} for _ in range(count)
    ]
    sizes = [draw(st.integers(0, 12)) for _ in range(count)]
    return times, sizes, devices


@settings(max_examples=examples(60), deadline=None)
@given(drawn())
def test_the_best_cut_has_the_least_largest_load(
    registry: Registry, case: tuple[list[dict[int, float]], list[int], int]
) -> None:
    times, sizes, devices = case
    problem = on_groups(times, sizes, devices)
    best = brute_force(times, sizes, devices)
    found = [dict(one) for _, one in gang_assignments(placer_of(problem, registry))]
    if not any(n > 1 for own in times for n in own) or math.isinf(best):
        assert not found
    else:
        assert largest_load(problem, found[0]) == best


def test_a_stage_runs_in_the_modes_of_one_name_too(registry: Registry) -> None:
    """The fastest modes of a stage may differ; a cut with equal ones comes beside."""
    problem = on_groups([{2: 3.0}, {2: 4.0}], [1, 1], 2)
    slow = attrs.evolve(problem.graph.operators[0].modes[0], name="other", seconds={"*": 2.0})
    first = attrs.evolve(
        problem.graph.operators[0], modes=(*problem.graph.operators[0].modes, slow)
    )
    graph = attrs.evolve(problem.graph, operators=(first, *problem.graph.operators[1:]))
    placer = placer_of(attrs.evolve(problem, graph=graph), registry)
    modes = [
        [placer.problem.alternatives[o][row].mode for (o, _), row in sorted(one.items())]
        for _, one in gang_assignments(placer)
    ]
    assert modes == [[1, 0], [0, 0]]


def test_cuts_become_schedules_that_keep_the_rules(registry: Registry) -> None:
    from parplan.checking import check_schedule

    placer = placer_of(on_groups([{2: 2.0}, {1: 3.0, 2: 2.0}], [4, 4], 3), registry)
    found = dict(gang_candidates(placer, math.inf))
    assert found
    for candidate in found.values():
        assert not check_schedule(Finisher(placer).finish(candidate), placer.rules)
