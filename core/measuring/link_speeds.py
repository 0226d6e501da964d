"""Bandwidth and latency between devices, from the waits of recorded runs.

A receiver that already waited when the sender ended tells how long the message took: from the end
of the action that made it to the end of the wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from attrs import frozen

from parplan.measuring.measured_costs import MeasuredLink
from parplan.measuring.recording import WAIT, Recording, Span
from parplan.plans import Plan


@frozen
class Message:
    """What one device handed to another: bytes, and seconds from its end to its arrival."""

    source: str
    target: str
    bytes: int
    seconds: float


def link_speeds(messages: Sequence[Message]) -> tuple[MeasuredLink, ...]:
    """Return latency and bandwidth of each pair of devices, by least squares.

    ``seconds = latency + bytes / bandwidth``. Where all messages are of one size, or larger ones
    are not slower, all of their median counts as latency, and the bandwidth is not known.
    """
    pairs: dict[tuple[str, str], list[Message]] = {}
    for message in messages:
        pairs.setdefault((message.source, message.target), []).append(message)
    return tuple(_fitted(*pair, found) for pair, found in sorted(pairs.items()))


def _fitted(source: str, target: str, messages: Sequence[Message]) -> MeasuredLink:
    sizes = np.array([message.bytes for message in messages], dtype=np.float64)
    seconds = np.array([message.seconds for message in messages])
    offsets = sizes - sizes.mean()
    squares = float(offsets @ offsets)
    slope = float(offsets @ seconds) / squares if squares > 0 else 0.0
    latency = float(seconds.mean() - slope * sizes.mean())
    if slope <= 0 or latency < 0:
        return MeasuredLink(source, target, None, float(np.median(seconds)), len(messages))
    return MeasuredLink(source, target, 1.0 / slope, latency, len(messages))


def messages_of(recording: Recording, plan: Plan, spans: Sequence[Span]) -> Iterator[Message]:
    """Yield the messages whose time a recorded run tells.

    Only waits for a single other device count: of several inputs nobody knows which came when.

    Parameters
    ----------
    spans
        The work that counts (`parplan.measuring.calibrating.working_spans`).
    """
    made_by = {(s.step, s.microbatch, name): s for s in spans for name in s.operators}
    steps = {span.step for span in spans}
    for wait in recording.spans:
        if wait.action != WAIT or wait.step not in steps:
            continue
        makers = list(_makers(plan, wait, made_by))
        devices = {span.device for span, _ in makers}
        if len(devices) != 1:
            continue
        ready_s = max(span.end_s for span, _ in makers)
        if wait.start_s <= ready_s <= wait.end_s:
            seconds = (wait.end_s - ready_s) / recording.seconds_per_planned_second
            yield Message(devices.pop(), wait.device, sum(size for _, size in makers), seconds)


def _makers(
    plan: Plan, wait: Span, made_by: Mapping[tuple[int, int, str], Span]
) -> Iterator[tuple[Span, int]]:
    """Yield what made each tensor that a wait is for, on other devices, with its bytes."""
    graph, microbatch = plan.problem.graph, wait.microbatch
    read = {t for name in wait.operators for t in graph.inputs[graph.operator_index[name]]}
    for t in sorted(read):
        maker = made_by.get((wait.step, microbatch, graph.operators[graph.producers[t]].name))
        if maker is not None and maker.device != wait.device:
            mode = plan.schedule.producer_mode(t, microbatch)
            yield maker, plan.problem.tensor_bytes(t, mode, microbatch) or 0
