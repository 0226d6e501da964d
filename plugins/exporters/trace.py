"""A trace of a plan for Perfetto and chrome://tracing, read again and held against the plan."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from attrs import frozen

from parplan.contracts import Exported, Exporter
from parplan.errors import InputError
from parplan.files.atomic import read_bytes, write_text
from parplan.plans import Plan
from parplan.report.trace import DEVICES, LINKS, trace_json
from parplan.spec.structuring import structure
from parplan.text import plain

TRACE_FILE = "trace.json"
MAXIMUM_BYTES = 2**32

Span = tuple[int, str, int, int, int]
"""Process, name, microbatch, start and end in ticks."""


@frozen
class TraceOptions:
    """How a plan becomes a trace.

    Attributes
    ----------
    packed
        Whether the file is packed by gzip, which Perfetto opens as it is.
    """

    packed: bool = False


class Trace(Exporter):
    """Writes ``trace.json``, or ``trace.json.gz``."""

    name: ClassVar[str] = "trace"
    options: ClassVar[type] = TraceOptions

    def export(self, plan: Plan, directory: Path, options: Mapping[str, Any]) -> Exported:
        """Write the trace of a plan, read it again and check that each span is there, in time."""
        chosen = structure(dict(options), TraceOptions, key="options")
        path = directory / (f"{TRACE_FILE}.gz" if chosen.packed else TRACE_FILE)
        write_text(path, trace_json(plan))
        events = json.loads(read_bytes(path, MAXIMUM_BYTES))["traceEvents"]
        check_spans(events, plan)
        spans = sum(event["ph"] == "X" for event in events)
        notes = (f"{spans} spans; open it at https://ui.perfetto.dev, or in chrome://tracing",)
        return Exported((path,), notes, {"spans": spans, "makespan_s": _makespan_s(plan)})


def _makespan_s(plan: Plan) -> float:
    return plan.schedule.makespan * plan.problem.tick_s


def check_spans(events: list[dict[str, Any]], plan: Plan) -> None:
    """Raise InputError unless events hold each span of a plan once, with its times.

    Spans of one thread must not overlap: viewers would nest them.

    Parameters
    ----------
    events
        Those of a trace, as they are read.
    """
    micro = plan.problem.tick_s * 1e6
    read: Counter[Span] = Counter()
    threads: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for event in events:
        if event["ph"] != "X":
            continue
        start, end = round(event["ts"] / micro), round((event["ts"] + event["dur"]) / micro)
        read[event["pid"], event["name"], event["args"]["microbatch"], start, end] += 1
        threads[event["pid"], event["tid"]].append((start, end))
    wanted = Counter(_planned_spans(plan))
    for span in (wanted - read) + (read - wanted):
        raise InputError(
            f"'{span[1]}' of microbatch {span[2]} is there {read[span]} times at its time, in the "
            f"plan {wanted[span]} times",
            file=TRACE_FILE,
        )
    for thread, spans in threads.items():
        for (_, end), (start, _) in pairwise(sorted(spans)):
            if start < end:
                raise InputError(f"two spans of thread {thread[1]} overlap", file=TRACE_FILE)


def _planned_spans(plan: Plan) -> Iterator[Span]:
    """Yield what each device runs, and what holds each link: a collective holds those of its ring.

    A transfer holds the links on its way one after another.
    """
    schedule, problem = plan.schedule, plan.problem
    tasks, sent, graph = schedule.tasks, schedule.transfers, problem.graph
    for row, end in enumerate(schedule.ends.tolist()):
        operator, alternative = int(tasks.operator[row]), schedule.alternative(row)
        span = (plain(graph.operators[operator].name), int(tasks.microbatch[row]),
                int(tasks.start[row]), end)  # fmt: skip
        yield from ((DEVICES, *span) for _ in alternative.devices)
        yield from ((LINKS, *span) for _ in problem.collective_links(operator, alternative))
    for row, start in enumerate(sent.start.tolist()):
        name, k = plain(graph.tensors[int(sent.tensor[row])].name), int(sent.microbatch[row])
        for hold in schedule.transfer_timing(row).holds:
            yield LINKS, name, k, start + hold.offset, start + hold.offset + hold.ticks
