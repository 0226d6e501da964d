"""The load of the busiest engine or link in a model: see ``parplan.steady_state``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from parplan.model.blocks import RuleBlock, Value
from parplan.model.choices import total
from parplan.model.transfers import TransferKey, Transport
from parplan.problem import Problem
from parplan.steady_state import Loading, Place, capacity_of

if TYPE_CHECKING:
    from parplan.model.partition_model import PartitionModel
    from parplan.model.schedule_model import AssignmentModel, ScheduleModel

Parts = dict[Place, list[tuple[int, Any]]]
"""(model ticks, expression that is 1 if they are held) of each engine and link."""


def busiest_load(
    block: RuleBlock, model: ScheduleModel | AssignmentModel | PartitionModel, loading: Loading
) -> Any:
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
    for microbatch in problem.microbatches_of(problem.graph.producers[tensor]):
        leaving: dict[Place, list[tuple[int, TransferKey, int]]] = {}
        for target in transport.targets(tensor, microbatch):
            key = (tensor, microbatch, target)
            held: dict[Place, dict[int, list[int]]] = {}
            for place, at_source, ticks, which in _holds(transport, key):
                if loading.leaves_once and at_source:
                    leaving.setdefault(place, []).append((ticks, key, which))
                else:
                    held.setdefault(place, {}).setdefault(ticks, []).append(which)
            for place, by_ticks in held.items():
                for ticks, options in by_ticks.items():
                    literal = _any_option(transport, key, options)
                    parts.setdefault(place, []).append((ticks, literal))
        for place, rows in leaving.items():
            parts.setdefault(place, []).extend(_longest(block, transport, place, rows))


def _holds(transport: Transport, key: TransferKey) -> Iterator[tuple[Place, bool, int, int]]:
    """Yield (place, whether at the source, model ticks, option) of a transfer's options."""
    cluster, clock = transport.problem.cluster, transport.clock
    sends, receives = cluster.transfer_engines
    target = cluster.devices[key[2]]
    for which, option in enumerate(transport.possible[key].options):
        source = cluster.devices[option.source]
        occupied = clock.ticks(option.timing.occupied)
        if occupied and sends is not None and sends in source.engines:
            yield Place(option.source, sends), True, occupied, which
        if occupied and receives is not None and receives in target.engines:
            yield Place(key[2], receives), False, occupied, which
        for hold in option.timing.holds:
            ticks = clock.ticks(hold.ticks)
            if ticks and cluster.links[hold.link].capacity is not None:
                yield Place(hold.link), cluster.links[hold.link].source == source.name, ticks, which


def _any_option(transport: Transport, key: TransferKey, options: list[int]) -> Any:
    """Return what is 1 if a transfer is needed and takes one of these options."""
    if len(options) == len(transport.possible[key].options):
        group = transport.problem.workload.group(key[1])
        need = transport.need(key[0], group, key[2])
        return 1 if need is None else need
    literals = transport.literals(key)
    return total(1 if literals[i] is None else literals[i] for i in options)


def _longest(
    block: RuleBlock, transport: Transport, place: Place, rows: list[tuple[int, TransferKey, int]]
) -> Iterator[tuple[int, Any]]:
    """Yield (model ticks, literal) that add up to the longest of the transfers that are made.

    A stair: the shortest length if any is made, then what the next is longer by if any of those is
    made that are as long, and so on.
    """
    lengths = sorted({ticks for ticks, _, _ in rows})
    tensor, microbatch = rows[0][1][:2]
    group = transport.problem.workload.group(microbatch)
    writer = (transport.problem.graph.producers[tensor], group)
    for length, shorter in zip(lengths, [0, *lengths], strict=False):
        leaves = []
        for _, key, which in (row for row in rows if row[0] >= length):
            options = transport.possible[key].options
            need = _any_option(transport, key, list(range(len(options))))
            leaves.append(transport.choices.sum_of(writer, options[which].rows) + need - 1)
        made = block.binary(
            f"{transport.name(rows[0][1])} leaves {place.index}{place.engine} {length}",
            partial(_largest, leaves),
        )
        for leaving in leaves:
            block.row(made >= leaving)
        yield length - shorter, made


def _largest(expressions: list[Any], value: Value) -> float:
    """Return the largest value of some expressions, at least 0."""
    return max(0.0, *map(value, expressions))
