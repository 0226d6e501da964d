"""Repairs are the smallest: beside all sets of changes, and all amounts, of small cases."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from itertools import chain as chained
from itertools import combinations, product

import attrs
import pytest

from parplan.clashes import Clash, Repair
from parplan.graph import Tensor
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import Rules, make_rules
from parplan.search.conflicts.amounts import least_amounts
from parplan.search.conflicts.possibility import Possibility
from parplan.search.conflicts.repairs import smallest_repairs
from parplan.search.conflicts.requirements import Requirement, only, requirements, resource_of
from tests.examples import block, chain, recomputing, ruled
from tests.search.conflicts.test_explained import Here

ENDLESS = Possibility(Here(), 1, True, math.inf)


def with_memory(problem: Problem, memory: Sequence[int]) -> Problem:
    devices = zip(problem.cluster.devices, memory, strict=True)
    changed = tuple(attrs.evolve(d, memory_bytes=size) for d, size in devices)
    return attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, devices=changed))


def parameters_of(rules: Rules) -> list[Requirement]:
    """Return what may be given up of rules: their memory, and what rules of placement demand."""
    return [
        m for m in requirements(rules) if m.clash.rule == "placement" or ".memory " in m.clash.text
    ]


def smallest_by_enumeration(rules: Rules, larger: Rules) -> set[frozenset[Clash | str]]:
    """Return all sets of as few changes as help; the modes of larger rules are one of them."""
    universe: list[Clash | str] = [*(m.clash for m in parameters_of(rules)), "recompute"]
    for size in range(len(universe) + 1):
        found = set()
        for some in combinations(universe, size):
            base = larger if "recompute" in some else rules
            left = [m for m in requirements(base) if m.clash not in some]
            if ENDLESS.of(only(base, left)).possible:
                found.add(frozenset(some))
        if found:
            return found
    return set()


def changes_in(rules: Rules, repair: Repair) -> frozenset[Clash | str]:
    """Return the changes that a repair consists of."""
    clashes = {m.clash.text: m.clash for m in requirements(rules)}
    names = {r.name: m.clash for m in requirements(rules) if (r := resource_of(rules, m))}

    def parts(one: Repair) -> Iterator[Clash | str]:
        if one.parts:
            yield from chained.from_iterable(parts(part) for part in one.parts)
        elif one.kind == "modes":
            yield one.what[0]
        else:
            yield from ((names if one.kind == "capacity" else clashes)[w] for w in one.what)

    return frozenset(parts(repair))


def scarce(seed: int) -> Problem:
    """Return two layers on two devices with pins, pairs apart and little memory."""
    rng = random.Random(seed)
    names = ["layers.0:forward", "layers.1:forward", "layers.1:backward", "layers.0:backward"]
    pairs = list(combinations(names, 2))
    together, apart = (rng.sample(pairs, 1) for _ in range(2))
    pinned = {name: (f"g{rng.randrange(2)}",) for name in rng.sample(names, rng.randint(0, 2))}
    problem = with_memory(block(2, devices=2), [rng.choice([1, 3, 5, 9]) for _ in range(2)])
    return ruled(problem, "placement", pin=pinned, together=tuple(together), apart=tuple(apart))


@pytest.mark.parametrize("seed", [0, 2, 6])  # one change, and two of several kinds
def test_no_repair_has_fewer_changes_and_none_is_missing(seed: int, registry: Registry) -> None:
    problem = scarce(seed)
    rules, larger = (make_rules(p, registry) for p in (problem, recomputing(problem)))
    members = requirements(rules)
    assert not ENDLESS.of(rules).possible
    told = smallest_repairs(rules, members, registry, ENDLESS)
    assert {changes_in(rules, repair) for repair in told} == smallest_by_enumeration(rules, larger)
    assert all(repair.fewest for repair in told)


def outputs(sizes: Sequence[int], memory: Sequence[int]) -> Problem:
    """Return operators whose outputs stay where they ran, on devices with little memory."""
    problem = chain(len(sizes), devices=len(memory), size=0)
    kept = tuple(Tensor(f"out{i}", f"o{i}", (), s, output=True) for i, s in enumerate(sizes))
    graph = attrs.evolve(problem.graph, tensors=(*problem.graph.tensors, *kept))
    return with_memory(attrs.evolve(problem, graph=graph), memory)


@pytest.mark.parametrize("sizes", [(4, 2), (6, 2, 2)])
def test_no_amounts_of_several_devices_are_less_in_all(
    sizes: tuple[int, ...], registry: Registry
) -> None:
    memory = [3, 1]
    rules = make_rules(outputs(sizes, memory), registry)
    found = least_amounts(rules, memory_of(rules), ENDLESS, 10**6)
    more = []
    for split in product(range(2), repeat=len(sizes)):
        loads = [sum(s for s, d in zip(sizes, split, strict=True) if d == i) for i in range(2)]
        more.append([max(load - room, 0) for load, room in zip(loads, memory, strict=True)])
    assert found is not None
    assert sum(found.enough) == found.least == min(sum(one) for one in more)
    assert list(found.enough) in more


def memory_of(rules: Rules) -> list[int]:
    """Return where the memory of both devices is declared."""
    names = [getattr(d.what, "name", "") for d in rules.declared]
    return [names.index(f"g{i}.memory") for i in range(2)]


def test_amounts_that_were_not_asked_for_long_are_bounds(registry: Registry) -> None:
    rules = make_rules(outputs([4, 3, 2], [1, 1]), registry)
    found = least_amounts(rules, memory_of(rules), ENDLESS, 2)
    assert found is not None
    assert found.least < 7 <= sum(found.enough)


def test_memory_and_a_pin_are_mended_together(registry: Registry) -> None:
    """What is pinned to a device without memory needs some there; elsewhere rules forbid both."""
    problem = outputs([4, 2], [1, 1])
    pins = {"o0": ("g0",), "o1": ("g0",)}
    rules = make_rules(ruled(problem, "placement", pin=pins, apart=(("o0", "o1"),)), registry)
    told = smallest_repairs(rules, requirements(rules), registry, ENDLESS)
    mixed = next(repair for repair in told if repair.kind == "mixed")
    assert mixed.text == ("give g0.memory 5 B more and drop: 'o0' and 'o1' on different devices")
    assert [part.kind for part in mixed.parts] == ["capacity", "drop"]
