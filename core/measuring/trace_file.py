"""The files of torch.profiler: Chrome's trace events, in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from parplan.errors import InputError
from parplan.files.atomic import read_bytes

MAXIMUM_BYTES = 2**32
"""Of an unpacked trace."""

LATEST_US = 1e18
"""No time is as late: thirty thousand years."""


@frozen
class Trace:
    """What a file holds.

    Attributes
    ----------
    base_ns
        What its times count from, on the clock of the machine.
    """

    events: tuple[Mapping[str, Any], ...]
    base_ns: int


def read_trace(path: Path) -> Trace:
    """Return the events of a trace.

    Parameters
    ----------
    path
        What ``export_chrome_trace`` wrote; a name that ends in ``.gz`` is unpacked.

    Raises
    ------
    InputError
        Naming the file: missing, damaged, or no trace.
    """
    try:
        trace = json.loads(read_bytes(path, MAXIMUM_BYTES))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"is no trace of torch.profiler, or a truncated one: {error}", file=str(path)
        ) from None
    events = trace.get("traceEvents") if isinstance(trace, dict) else None
    if not isinstance(events, list):
        raise InputError(
            "is no trace of torch.profiler: it has no list 'traceEvents'", file=str(path)
        )
    base = trace.get("baseTimeNanoseconds", 0)
    return Trace(
        tuple(event for event in events if isinstance(event, dict)),
        base if isinstance(base, int) else 0,
    )


def nanoseconds(event: Mapping[str, Any], key: str) -> int:
    """Return a time of an event, which is in microseconds there; InputError if it is none."""
    value = event.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < LATEST_US:
        raise InputError(f"the range '{event.get('name')}' has '{key}' {value!r}, which is no time")
    return round(value * 1000)
