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

_ACTION = re.compile(r"(\d{1,6})([FBIW])(\d{1,6})")
_RANGE = re.compile(r"PP:(?:(\w+)|\(([\w;]+)\)OVERLAP_F_B)")


@frozen
class Range:
    """Actions as they ran.

    Attributes
    ----------
    actions
        One, or those that PyTorch runs one after another in the same range (``OVERLAP_F_B``).
    start_ns, end_ns
        On the clock of the machine, from the same moment in all traces.
    """

    actions: tuple[Action, ...]
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
    named = [(event, actions) for event in events if (actions := _actions(event))]
    device = [pair for pair in named if pair[0].get("cat") == DEVICE]
    chosen = device or named
    busy: Counter[str] = Counter()
    for event, _ in chosen:
        busy[_place(event)] += nanoseconds(event, "dur")
    if not busy:
        return
    place = max(busy, key=lambda name: busy[name])
    made = [
        _range(event, actions, base_ns)
        for event, actions in chosen
        if not device or _place(event) == place
    ]
    yield from sorted(made, key=lambda found: found.start_ns)


def _actions(event: Mapping[str, Any]) -> tuple[Action, ...]:
    """Return the actions that an event is the range of; none if it is no such range."""
    name = event.get("name")
    if event.get("ph") != "X" or event.get("cat") not in (HOST, DEVICE):
        return ()
    match = _RANGE.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        return ()
    parts = [_ACTION.fullmatch(text) for text in (match[1] or match[2]).split(";")]
    return tuple(
        Action(int(part[1]), ActionKind(part[2]), int(part[3]))
        for part in parts
        if part is not None
    )


def _place(event: Mapping[str, Any]) -> str:
    return f"{event.get('pid')} {event.get('tid')}"


def _range(event: Mapping[str, Any], actions: tuple[Action, ...], base_ns: int) -> Range:
    start = base_ns + nanoseconds(event, "ts")
    return Range(actions, start, start + max(0, nanoseconds(event, "dur")))
