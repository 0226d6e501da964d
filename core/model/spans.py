"""The span of a device or link in the timing model: from its first use to the end of its last."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from attrs import frozen

from parplan.model.blocks import RuleBlock
from parplan.model.schedule_model import ScheduleModel

Value = Callable[[Any], float]
"""Gives the value of a model's variable, for warm starts."""


@frozen
class Use:
    """What takes a place from ``start`` to ``end``, if ``literal`` holds (None: always).

    ``reach`` is how far the end of an absent use may lie beyond the horizon, in model ticks.
    """

    start: Any
    end: Any
    literal: Any
    reach: int = 0


def longest_span(
    block: RuleBlock, model: ScheduleModel, places: Iterable[tuple[str, list[Use]]]
) -> Any:
    """Return a new variable of the block: the longest span of these places, in model ticks."""
    horizon = model.horizon
    spans = []
    for place, uses in places:
        first = block.time(f"first use of {place}", 0, horizon, partial(_first, uses))
        last = block.time(f"last use of {place}", 0, horizon, partial(_last, uses))
        for use in uses:
            absent = 0 if use.literal is None else (horizon + use.reach) * (1 - use.literal)
            block.row(first <= use.start + absent)
            block.row(last >= use.end - absent)
        spans.append((first, last))
    longest = block.time("longest span", 0, horizon, partial(_longest, spans))
    for first, last in spans:
        block.row(longest >= last - first)
    return longest


def uses_by_tasks(model: ScheduleModel) -> dict[int, list[Use]]:
    """Return what tasks may take of each device: nothing where they hold no engine."""
    found: dict[int, list[Use]] = {}
    for task in model.tasks.values():
        modes = model.problem.graph.operators[task.operator].modes
        for row, literal in task.presence.items():
            alternative = model.problem.alternatives[task.operator][row]
            for device in alternative.devices if modes[alternative.mode].engines else ():
                found.setdefault(device, []).append(Use(task.start, task.end, literal))
    return dict(sorted(found.items()))


def uses_of_devices(model: ScheduleModel) -> dict[int, list[Use]]:
    """Return what tasks, and transfers that leave or enter, may take of each device."""
    found = uses_by_tasks(model)
    for key in model.transport.possible:
        transfer = model.transport.make(key)
        for option, literal in zip(transfer.options, transfer.literals, strict=True):
            occupied = model.clock.ticks(option.timing.occupied)
            use = Use(transfer.start, transfer.start + occupied, literal, occupied)
            found.setdefault(option.source, []).append(use)
            found.setdefault(key[2], []).append(use)
    return dict(sorted(found.items()))


def uses_of_links(model: ScheduleModel) -> dict[int, list[Use]]:
    """Return what transfers and collectives may take of each link."""
    found: dict[int, list[Use]] = {}
    for task in model.tasks.values():
        for row, literal in task.presence.items():
            alternative = model.problem.alternatives[task.operator][row]
            for link in model.problem.collective_links(task.operator, alternative):
                found.setdefault(link, []).append(Use(task.start, task.end, literal))
    for key in model.transport.possible:
        transfer = model.transport.make(key)
        for option, literal in zip(transfer.options, transfer.literals, strict=True):
            for hold in option.timing.holds:
                begin = model.clock.ticks(hold.offset)
                freed = begin + model.clock.ticks(hold.ticks)
                use = Use(transfer.start + begin, transfer.start + freed, literal, freed)
                found.setdefault(hold.link, []).append(use)
    return dict(sorted(found.items()))


def _present(uses: list[Use], value: Value) -> list[Use]:
    return [use for use in uses if use.literal is None or value(use.literal) > 0.5]


def _first(uses: list[Use], value: Value) -> float:
    return min((value(use.start) for use in _present(uses, value)), default=0.0)


def _last(uses: list[Use], value: Value) -> float:
    return max((value(use.end) for use in _present(uses, value)), default=0.0)


def _longest(spans: list[tuple[Any, Any]], value: Value) -> float:
    return max((value(last) - value(first) for first, last in spans), default=0.0)
