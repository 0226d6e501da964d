"""Reads the traces of ``torch.profiler``: when PyTorch's pipelines ran which action.

``torch.distributed.pipelining`` (2.13) runs every action in a range named after it, ``PP:0F3`` for
the forward pass of stage 0 and microbatch 3. A trace of a GPU has such ranges twice: those of the
host, which only starts the work, and those of the device (``gpu_user_annotation``), one for each
stream; then the stream that computes most is the one that counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from parplan.errors import InputError
from parplan.measuring.trace_file import nanoseconds, read_trace
from parplan.stages.program import Action, ActionKind

HOST, DEVICE = "user_annotation", "gpu_user_annotation"

_ACTION = re.compile(r"PP:(\d{1,6})([FBIW])(\d{1,6})")


@frozen
class Range:
    """An action as it ran.

    Attributes
    ----------
    start_ns, end_ns
        On the clock of the machine, from the same moment in all traces.
    """

    action: Action
    start_ns: int
    end_ns: int


def read_kineto(path: Path) -> tuple[Range, ...]:
    """Return the actions in a trace, in the order in which they started.

    Parameters
    ----------
    path
        What ``export_chrome_trace`` wrote; a name that ends in ``.gz`` is unpacked.

    Raises
    ------
    InputError
        Naming the file: missing, damaged, no trace, or one without actions of a pipeline.
    """
    trace = read_trace(path)
    try:
        found = tuple(_ranges(trace.events, trace.base_ns))
    except InputError as error:
        raise error.located(file=str(path)) from None
    if not found:
        raise InputError(
            "has no ranges such as 'PP:0F0': it is of no run of torch.distributed.pipelining, or "
            "of one whose actions are not recorded (_PipelineScheduleRuntime records them)",
            file=str(path),
        )
    return found


def _ranges(events: Sequence[Mapping[str, Any]], base_ns: int) -> Iterator[Range]:
    """Yield the actions, those of the device where there are any."""
    named = [(event, match) for event in events if (match := _named(event)) is not None]
    device = [pair for pair in named if pair[0].get("cat") == DEVICE]
    chosen = device or named
    busy: Counter[str] = Counter()
    for event, _ in chosen:
        busy[_place(event)] += nanoseconds(event, "dur")
    if not busy:
        return
    place = max(busy, key=lambda name: busy[name])
    made = [
        _range(event, match, base_ns)
        for event, match in chosen
        if not device or _place(event) == place
    ]
    yield from sorted(made, key=lambda found: found.start_ns)


def _named(event: Mapping[str, Any]) -> re.Match[str] | None:
    """Return what the name of an event says, if it is the range of an action."""
    if event.get("ph") != "X":
        return None
    name = event.get("name")
    if event.get("cat") not in (HOST, DEVICE) or not isinstance(name, str):
        return None
    return _ACTION.fullmatch(name)


def _place(event: Mapping[str, Any]) -> str:
    return f"{event.get('pid')} {event.get('tid')}"


def _range(event: Mapping[str, Any], match: re.Match[str], base_ns: int) -> Range:
    action = Action(int(match[1]), ActionKind(match[2]), int(match[3]))
    start = base_ns + nanoseconds(event, "ts")
    return Range(action, start, start + max(0, nanoseconds(event, "dur")))
