"""Contiguous operators in a model: a row of the devices in which no tensor goes back.

before[a, b] is 1 if device a stands before device b: a linear order, of which every triple says
``before[a, b] + before[b, c] - before[a, c] <= 1``. A tensor from operator u to operator v goes
forth: ``x[u, a] + x[v, b] <= 1 + before[a, b]``, unless the two share all their devices.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations

from parplan.declarations import Contiguous
from parplan.model.blocks import RuleBlock
from parplan.model.choices import Choices, Key
from parplan.problem import STEP, Problem


def line_up(choices: Choices, block: RuleBlock, declared: Contiguous) -> None:
    """State a declaration, with an order of the devices for each placement group."""
    problem = choices.problem
    for group in range(problem.workload.group_count):
        pairs = list(_pairs(choices, declared, group))
        if pairs:
            _state(choices, block, pairs, f"{group}")


def data_flow(problem: Problem, declared: Contiguous) -> list[tuple[int, int]]:
    """Return (producer, consumer) of the tensors between operators of a declaration, each once."""
    graph = problem.graph
    named = {graph.operator_index[name] for name in declared.operators}
    flow = {
        (producer, consumer): None
        for producer, consumers in zip(graph.producers, graph.consumers, strict=True)
        if producer in named
        for consumer in consumers
        if consumer in named
    }
    return list(flow)


def _pairs(choices: Choices, declared: Contiguous, group: int) -> Iterator[tuple[Key, Key]]:
    once = choices.problem.microbatches_of
    for pair in data_flow(choices.problem, declared):
        if group == 0 or all(once(o).start != STEP for o in pair):
            first, second = ((o, group) for o in pair)
            yield first, second


def _state(choices: Choices, block: RuleBlock, pairs: list[tuple[Key, Key]], name: str) -> None:
    devices = sorted(
        {
            d
            for pair in pairs
            for key in pair
            for a in choices.rows[key]
            for d in choices.alternative(key[0], a).devices
        }
    )
    before = {}
    for a, b in combinations(devices, 2):
        before[a, b] = block.binary(f"{a} before {b},{name}")
        before[b, a] = 1 - before[a, b]
    for a, b, c in permutations(devices, 3):
        block.row(before[a, b] + before[b, c] - before[a, c] <= 1)
    for first, second in pairs:
        for a, b in permutations(devices, 2):
            # Where both have the same group, data stays; else one of two on a and b moves.
            for here in choices.on_device(first, a):
                there = [
                    row
                    for row in choices.on_device(second, b)
                    if choices.alternative(second[0], row).devices
                    != choices.alternative(first[0], here).devices
                ]
                if there:
                    moved = choices.sum_of(first, [here]) + choices.sum_of(second, there)
                    block.row(moved <= 1 + before[a, b])
