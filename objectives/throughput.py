"""Microbatches per second if the schedule is repeated as soon as each device and link is free."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import frozen

from parplan.contracts import Objective
from parplan.engine_load import busiest_engine_ticks
from parplan.problem import Problem
from parplan.reporting import longest_span_ticks
from parplan.schedule import Schedule

if TYPE_CHECKING:
    from parplan.model.schedule_model import ScheduleModel

Value = Callable[[Any], float]
"""Gives the value of a model's variable, for warm starts."""

Bar = tuple[Any, Any, Any, int]
"""Start, end, literal (None: always) and latest end beyond the horizon of what takes a place."""


@frozen
class Throughput(Objective):
    """Microbatches / longest span, the steady state of an endless run.

    The span of a device or link is the time from its first use to its last. A copy of the schedule
    may start one longest span after another: on no device or link do the two meet, nor in memory
    (results of the graph are taken away). Zero Bubble (Qi et al., 2024) reports this span.
    """

    name: ClassVar[str] = "throughput"
    unit: ClassVar[str] = "microbatches/s"
    maximize: ClassVar[bool] = True

    def value(self, schedule: Schedule) -> float:
        """Return microbatches per second; infinite if nothing takes any time."""
        problem = schedule.problem
        return _rate(problem, longest_span_ticks(schedule))

    def expression(self, model: ScheduleModel) -> Any:
        """Return the negative longest span in model ticks, which has the same order."""
        block, horizon = model.block(self.name), model.horizon
        spans = []
        for number, bars in enumerate(_bars(model)):
            first = block.time(f"first use {number}", 0, horizon, partial(_first, bars))
            last = block.time(f"last use {number}", 0, horizon, partial(_last, bars))
            for start, end, literal, reach in bars:
                # What is absent may seem to end after the horizon, by no more than it would take.
                absent = 0 if literal is None else (horizon + reach) * (1 - literal)
                block.row(first <= start + absent)
                block.row(last >= end - absent)
            spans.append((first, last))
        period = block.time("longest span", 0, horizon, partial(_longest, spans))
        for first, last in spans:
            block.row(period >= last - first)
        return -period

    def from_expression(self, model: ScheduleModel, number: float) -> float:
        """Return the rate of a negative span; infinite (no bound) if the span is none."""
        return _rate(model.problem, -number * model.clock.factor) if number < 0 else float("inf")

    def to_expression(self, model: ScheduleModel, value: float) -> float:
        """Return the negative span of a rate."""
        return -model.problem.workload.microbatches / (value * model.tick_s)

    def bound(self, problem: Problem) -> float | None:
        """Return the rate at which the busiest engine never waits, for the best placement."""
        if all(rule.name != "devices" for rule in problem.constraints):
            return None
        least = busiest_engine_ticks(problem)
        return _rate(problem, least) if least > 0 else None


def _rate(problem: Problem, ticks: float) -> float:
    seconds = ticks * problem.tick_s
    return problem.workload.microbatches / seconds if seconds > 0 else float("inf")


def _present(bars: list[Bar], value: Value) -> list[Bar]:
    return [bar for bar in bars if bar[2] is None or value(bar[2]) > 0.5]


def _first(bars: list[Bar], value: Value) -> float:
    return min((value(start) for start, _, _, _ in _present(bars, value)), default=0.0)


def _last(bars: list[Bar], value: Value) -> float:
    return max((value(end) for _, end, _, _ in _present(bars, value)), default=0.0)


def _longest(spans: list[tuple[Any, Any]], value: Value) -> float:
    return max((value(last) - value(first) for first, last in spans), default=0.0)


def _bars(model: ScheduleModel) -> Iterable[list[Bar]]:
    """Yield all that may take each device, then each link."""
    problem = model.problem
    devices: list[list[Bar]] = [[] for _ in problem.cluster.devices]
    links: list[list[Bar]] = [[] for _ in problem.cluster.links]
    for task in model.tasks.values():
        for row, literal in task.presence.items():
            alternative = problem.alternatives[task.operator][row]
            bar = (task.start, task.end, literal, 0)
            for device in alternative.devices:
                devices[device].append(bar)
            for link in problem.collective_links(task.operator, alternative):
                links[link].append(bar)
    for key in model.transport.possible:
        transfer = model.transport.make(key)
        for option, literal in zip(transfer.options, transfer.literals, strict=True):
            occupied = model.clock.ticks(option.timing.occupied)
            bar = (transfer.start, transfer.start + occupied, literal, occupied)
            devices[option.source].append(bar)
            devices[key[2]].append(bar)
            for hold in option.timing.holds:
                begin = model.clock.ticks(hold.offset)
                freed = begin + model.clock.ticks(hold.ticks)
                bar = (transfer.start + begin, transfer.start + freed, literal, freed)
                links[hold.link].append(bar)
    return (bars for bars in (*devices, *links) if bars)
