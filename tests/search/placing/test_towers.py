"""Towers: found where parts share no beginning, and split as brute force would split them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.graph import Graph, Mode, Operator, ParameterGroup, Tensor
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.placement import Placer, Row
from parplan.search.placing.splits import split_along, split_row
from parplan.search.placing.starts import starting_placements
from parplan.search.placing.towers import (
    MOST_BEGINNINGS,
    arrangements,
    find_towers,
    tower_splits,
)
from tests.differential.generators import examples
from tests.examples import chain


def placer_of(problem: Problem, registry: Registry) -> Placer:
    rules = make_rules(problem, registry)
    return Placer(problem, rules, find_blocks(problem, rules))


def joined_towers(
    towers: Sequence[Sequence[float]], join: float, devices: int, heavy: Sequence[int] = ()
) -> Problem:
    """Return chains of blocks of some seconds that one last block joins.

    Parameters
    ----------
    heavy
        Bytes of the weights of each block; every device holds 10.
    """
    base = chain(1, devices=devices)
    names = [[f"t{n}.{i}" for i in range(len(tower))] for n, tower in enumerate(towers)]
    seconds = [*itertools.chain.from_iterable(towers), join]
    order = [*itertools.chain.from_iterable(names), "join"]
    sizes = heavy or [0] * len(order)
    operators = tuple(
        Operator(name, modes=(Mode(seconds={"*": s}),), parameters=(f"{name}.w",))
        for name, s in zip(order, seconds, strict=True)
    )
    tensors = [
        Tensor(f"{a} to {b}", a, (b,))
        for own in names
        for a, b in itertools.pairwise([*own, "join"])
    ]
    weights = tuple(ParameterGroup(f"{n}.w", size) for n, size in zip(order, sizes, strict=True))
    graph = Graph("towers", operators, tuple(tensors), weights)
    spots = tuple(attrs.evolve(d, memory_bytes=10) for d in base.cluster.devices)
    cluster = attrs.evolve(base.cluster, devices=spots)
    return attrs.evolve(base, graph=graph, cluster=cluster)


def largest_load(placer: Placer, row: Row) -> float:
    loads = dict.fromkeys(row, 0.0)
    for block, device in enumerate(row):
        loads[device] += placer.loads[0][block][device]
    return max(loads.values())


def test_parts_without_a_common_beginning_are_towers(registry: Registry) -> None:
    placer = placer_of(joined_towers([[2, 2, 2], [3, 3]], 1, 2), registry)
    # The join is too light for a tower, and goes to one that it reads.
    assert sorted(map(len, find_towers(placer))) == [2, 4]
    assert {frozenset(t) for t in find_towers(placer)} & {frozenset({3, 4}), frozenset({0, 1, 2})}
    heavy = placer_of(joined_towers([[2, 2, 2], [3, 3]], 9, 2), registry)
    assert find_towers(heavy) == [(0, 1, 2), (3, 4), (5,)]


def test_a_chain_has_one_tower_and_no_splits_of_towers(registry: Registry) -> None:
    placer = placer_of(joined_towers([[1, 2, 3, 4]], 5, 2), registry)
    assert find_towers(placer) == [(0, 1, 2, 3, 4)]
    assert not list(tower_splits(placer))


def test_towers_apart_share_no_device_and_have_devices_by_their_work(registry: Registry) -> None:
    problem = joined_towers([[1] * 6, [1] * 2], 0, 4)
    placer = placer_of(problem, registry)
    rows = {name: row for name, row in tower_splits(placer) if name.startswith("towers apart")}
    assert rows
    one, other = find_towers(placer)
    for row in rows.values():
        devices = [{row[b] for b in tower} for tower in (one, other)]
        assert not devices[0] & devices[1]
        assert sorted(map(len, devices)) == [1, 3]
    starts = {placement for _, placement in starting_placements(placer)}
    assert {(row,) for row in rows.values()} <= starts


def test_what_begins_in_too_many_places_has_no_towers(registry: Registry) -> None:
    placer = placer_of(joined_towers([[1]] * (MOST_BEGINNINGS + 1), 1, 2), registry)
    assert len(find_towers(placer)) == 1


@st.composite
def towers(draw: st.DrawFn) -> Problem:
    """Two towers of one to three blocks, weights of which some do not fit together."""
    times = st.lists(st.integers(1, 6).map(float), min_size=1, max_size=3)
    both = [draw(times), draw(times)]
    count = len(both[0]) + len(both[1]) + 1
    heavy = draw(st.lists(st.integers(0, 6), min_size=count, max_size=count))
    return joined_towers(both, float(draw(st.integers(1, 6))), draw(st.integers(2, 3)), heavy)


@settings(max_examples=examples(40), deadline=None)
@given(towers())
def test_a_split_along_an_arrangement_has_the_least_largest_load(
    registry: Registry, problem: Problem
) -> None:
    placer = placer_of(problem, registry)
    devices = range(len(problem.cluster.devices))
    count = len(placer.blocks)
    assert split_along(placer, list(devices), range(count)) == split_row(placer, list(devices))
    for arrangement in arrangements(find_towers(placer)):
        best = None
        for cuts in itertools.combinations_with_replacement(range(count + 1), len(devices) - 1):
            edges = (0, *cuts, count)
            stages = list(itertools.pairwise(edges))
            # Every device has a block at least, no part of two towers, and room for its weights.
            if any(a == b or any(a < end < b for end in arrangement.ends) for a, b in stages):
                continue
            held = [[arrangement.blocks[i] for i in range(a, b)] for a, b in stages]
            if any(sum(placer.parameter_bytes[b] for b in own) > 10 for own in held):
                continue
            worst = max(sum(placer.loads[0][b][0] for b in own) for own in held)
            best = worst if best is None else min(best, worst)
        row = split_along(placer, list(devices), arrangement.blocks, arrangement.ends)
        assert (row is None) == (best is None)
        if row is not None:
            assert largest_load(placer, row) == best
