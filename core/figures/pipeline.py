"""The figures by which papers compare pipeline schedules, of any schedule of a training step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from attrs import frozen

from parplan.figures.usage import device_use, longest_stage_span_ticks
from parplan.graph import Kind
from parplan.problem import STEP, Problem
from parplan.schedule import Schedule


@frozen
class PipelineFigures:
    """Bubbles and peaks in the units of papers.

    Attributes
    ----------
    makespan_bubble_s
        Makespan minus the work of the busiest device.
    span_bubble_s
        Longest stage span minus the work of the busiest device: what is left where the optimizer
        needs no barrier (Qi et al., ICLR 2024, section 4).
    period_s
        Seconds from one microbatch to the next in the second half of the schedule, on the slowest
        stage: the time per microbatch of a schedule that goes on without a flush.
    period_bubble_s
        The period minus the work that the busiest device has for a microbatch.
    peak_activations
        Most bytes besides parameters on each device, in those that one device's share of the layers
        saves for one microbatch; nan where nothing is saved.
    parameter_copies
        Parameter bytes on each device, in those of one device's share; nan without parameters.
    """

    makespan_bubble_s: float
    span_bubble_s: float
    period_s: float
    period_bubble_s: float
    peak_activations: Mapping[str, float]
    parameter_copies: Mapping[str, float]


def pipeline_figures(schedule: Schedule) -> PipelineFigures:
    """Return the figures of a schedule; O(tasks x log)."""
    problem = schedule.problem
    devices = device_use(schedule)
    busy = max(device.busy_s for device in devices)
    tick_s = problem.tick_s
    saved = _saved_bytes(problem) / len(devices)
    weights = sum(group.bytes for group in problem.graph.parameters) / len(devices)
    period = period_s(schedule)
    return PipelineFigures(
        schedule.makespan * tick_s - busy,
        longest_stage_span_ticks(schedule) * tick_s - busy,
        period,
        period - busy / problem.workload.microbatches,
        {d.name: d.peak_activation_bytes / saved if saved else np.nan for d in devices},
        {d.name: d.parameter_bytes / weights if weights else np.nan for d in devices},
    )


def _saved_bytes(problem: Problem) -> int:
    """Return the bytes that forward passes keep for backward ones, for one microbatch."""
    graph = problem.graph
    return sum(
        tensor.bytes
        for t, tensor in enumerate(graph.tensors)
        if graph.operators[graph.producers[t]].kind is Kind.FORWARD
        and any(graph.operators[c].kind is not Kind.FORWARD for c in graph.consumers[t])
    )


def period_s(schedule: Schedule) -> float:
    """Return the mean seconds between a forward operator's starts in the second half, the most.

    Of a schedule that goes on without a flush this is its time per microbatch.
    """
    last = schedule.problem.workload.microbatches - 1
    middle = (last + 1) // 2
    if middle == last:
        return schedule.makespan * schedule.problem.tick_s
    tasks, longest = schedule.tasks, 0.0
    for operator in schedule.problem.graph.with_kind(Kind.FORWARD):
        if schedule.problem.microbatches_of(operator).start == STEP:
            continue
        starts = {
            int(k): int(start)
            for k, start in zip(
                tasks.microbatch[tasks.operator == operator],
                tasks.start[tasks.operator == operator],
                strict=True,
            )
        }
        longest = max(longest, (starts[last] - starts[middle]) / (last - middle))
    return longest * schedule.problem.tick_s
