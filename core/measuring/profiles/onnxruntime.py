"""Reads the profiles of ONNX Runtime: how long each node of a model took, run by run.

With ``SessionOptions.enable_profiling`` it writes a list of events in JSON; a node's kernel is
named after the node (``/layers.3/mlp/MatMul_kernel_time``), and each run is the event
``model_run``.
Profiles have forward passes alone.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from parplan.errors import InputError
from parplan.files.atomic import read_bytes
from parplan.measuring.profiles.profile import Pass, Profile, Timing
from parplan.measuring.trace_file import MAXIMUM_BYTES, nanoseconds

KERNEL = "_kernel_time"
"""What follows a node's name in the name of its event."""


def read_onnxruntime(path: Path, modules: Mapping[str, str]) -> Profile:
    """Return what a profile says of a model's nodes.

    Parameters
    ----------
    modules
        The module of each node by its name; other nodes have it in their names.

    Raises
    ------
    InputError
        Naming the file: missing, damaged, no profile, or without a node in a run.
    """
    try:
        events = json.loads(read_bytes(path, MAXIMUM_BYTES))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"is no profile of ONNX Runtime, or a truncated one: {error}", file=str(path)
        ) from None
    if not isinstance(events, list):
        raise InputError("is no profile of ONNX Runtime: it is no list", file=str(path))
    try:
        return _profile([e for e in events if isinstance(e, dict)], modules, path.name)
    except InputError as error:
        raise error.located(file=str(path)) from None


def _profile(events: Sequence[Mapping[str, Any]], modules: Mapping[str, str], name: str) -> Profile:
    ends = sorted(
        nanoseconds(event, "ts") + nanoseconds(event, "dur")
        for event in events
        if event.get("name") == "model_run"
    )
    timings: list[Timing] = []
    nameless: dict[str, float] = defaultdict(float)
    often: Counter[tuple[int, str, str]] = Counter()
    for event in sorted(filter(_is_kernel, events), key=lambda event: nanoseconds(event, "ts")):
        run = bisect_left(ends, nanoseconds(event, "ts"))
        if run == len(ends):
            continue  # the run was not over when the profile ended
        node = str(event.get("name")).removesuffix(KERNEL)
        seconds = max(0, nanoseconds(event, "dur")) / 1e9
        module = modules.get(node, _path(node))
        if not module:
            nameless[node] += seconds
            continue
        arguments = event.get("args")
        kind = str(arguments.get("op_name", "")) if isinstance(arguments, dict) else ""
        place = (run, module, kind)
        timings.append(Timing(run, Pass.FORWARD, module, kind, often[place], seconds))
        often[place] += 1
    if not timings and not nameless:
        raise InputError(
            "has no node in a finished run: is it of ONNX Runtime, and was the model run?"
        )
    return Profile(f"ONNX Runtime: {name}", tuple(timings), nameless)


def _is_kernel(event: Mapping[str, Any]) -> bool:
    return event.get("cat") == "Node" and str(event.get("name", "")).endswith(KERNEL)


def _path(node: str) -> str:
    """Return the module in a node's name, such as ``/layers.3/mlp/MatMul``; empty without one."""
    parts = node.split("/")
    return ".".join(parts[1:-1]) if len(parts) > 2 and not parts[0] else ""
