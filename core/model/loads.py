"""The load of the busiest engine or link in a model: see ``parplan.steady_state``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from parplan.model.blocks import RuleBlock
from parplan.model.choices import total
from parplan.model.transfers import Possible, Transport
from parplan.problem import Problem
from parplan.steady_state import Loading, Place, capacity_of

if TYPE_CHECKING:
    from parplan.model.schedule_model import AssignmentModel, ScheduleModel

Parts = dict[Place, list[tuple[int, Any]]]
"""(model ticks, expression that is 1 if they are held) of each engine and link."""


def busiest_load(block: RuleBlock, model: ScheduleModel | AssignmentModel, loading: Loading) -> Any:
    """Return a new variable of the block: what the busiest place does in a step.

    In ``load_unit(problem)``-ths of a model tick; a place that carries ``c`` at a time counts a
    c-th of the ticks that it is held for.
    """
    transport, unit = model.transport, load_unit(model.problem)
    parts: Parts = {}
    _add_tasks(parts, transport)
    for tensor in range(len(model.problem.graph.tensors)):
        _add_tensor(parts, block, transport, tensor, loading)
    loads: list[Any] = []
    most = 0
    for place, held in parts.items():
        capacity = capacity_of(model.problem.cluster, place)
        if capacity is not None:
            weight = unit // capacity
            loads.append(total(weight * ticks * literal for ticks, literal in held))
            most = max(most, weight * sum(ticks for ticks, _ in held))
    busiest = block.time(
        "busiest", 0, most, lambda value: max((value(load) for load in loads), default=0)
    )
    for load in loads:
        block.row(load <= busiest)
    return busiest


def load_unit(problem: Problem) -> int:
    """Return the least common multiple of all capacities: loads are whole parts of it."""
    cluster = problem.cluster
    engines = [count for device in cluster.devices for count in device.engines.values()]
    return math.lcm(*engines, *(k.capacity for k in cluster.links if k.capacity is not None))


def _add_tasks(parts: Parts, transport: Transport) -> None:
    problem, choices = transport.problem, transport.choices
    for task in transport.tasks.values():
        modes = problem.graph.operators[task.operator].modes
        for row, literal in task.presence.items():
            alternative = choices.alternative(task.operator, row)
            places = [Place(d, e) for e in modes[alternative.mode].engines
                      for d in alternative.devices]  # fmt: skip
            places += [Place(k) for k in problem.collective_links(task.operator, alternative)]
            for place in places if task.sizes[row] else ():
                parts.setdefault(place, []).append(
                    (task.sizes[row], 1 if literal is None else literal)
                )


def _add_tensor(
    parts: Parts, block: RuleBlock, transport: Transport, tensor: int, loading: Loading
) -> None:
    """Add what the transfers of one tensor hold."""
    problem = transport.problem
    name = problem.graph.tensors[tensor].name
    for microbatch in problem.microbatches_of(problem.graph.producers[tensor]):
        leaving: dict[tuple[Place, int], list[Any]] = {}
        for target in transport.targets(tensor, microbatch):
            possible = transport.possible[tensor, microbatch, target]
            literals = transport.literals(possible.key)
            for (place, at_source, ticks), which in _holds(transport, possible):
                literal = 1 if literals[which] is None else literals[which]
                if loading.leaves_once and at_source:
                    leaving.setdefault((place, ticks), []).append(literal)
                else:
                    parts.setdefault(place, []).append((ticks, literal))
        # Of transfers of several lengths at one place only the longest counts, which `any` of each
        # length overstates; a stair of differences does not.
        by_place: dict[Place, dict[int, list[Any]]] = {}
        for (place, ticks), literals_there in leaving.items():
            by_place.setdefault(place, {})[ticks] = literals_there
        for place, by_ticks in by_place.items():
            longer: list[Any] = []
            lengths = sorted(by_ticks, reverse=True)
            for ticks, shorter in zip(lengths, [*lengths[1:], 0], strict=True):
                longer += by_ticks[ticks]
                any_of = _any(block, f"{name}@{microbatch} leaves {place} {ticks}", longer)
                parts.setdefault(place, []).append((ticks - shorter, any_of))


def _holds(transport: Transport, possible: Possible) -> list[tuple[tuple[Place, bool, int], int]]:
    """Return ((place, whether at the source, model ticks), option) of a transfer's options."""
    cluster, clock = transport.problem.cluster, transport.clock
    sends, receives = cluster.transfer_engines
    found: list[tuple[tuple[Place, bool, int], int]] = []
    for which, option in enumerate(possible.options):
        source, target = cluster.devices[option.source], cluster.devices[possible.key[2]]
        occupied = clock.ticks(option.timing.occupied)
        if sends is not None and sends in source.engines:
            found.append(((Place(option.source, sends), True, occupied), which))
        if receives is not None and receives in target.engines:
            found.append(((Place(possible.key[2], receives), False, occupied), which))
        for hold in option.timing.holds:
            here = cluster.links[hold.link].source == source.name
            found.append(((Place(hold.link), here, clock.ticks(hold.ticks)), which))
    return [(held, which) for held, which in found if held[2]]


def _any(block: RuleBlock, name: str, literals: list[Any]) -> Any:
    """Return a literal that is at least each of these."""
    if any(isinstance(literal, int) for literal in literals):
        return 1
    if len(literals) == 1:
        return literals[0]
    found = block.binary(name, lambda value: max(map(value, literals)))
    for literal in literals:
        block.row(found >= literal)
    return found
