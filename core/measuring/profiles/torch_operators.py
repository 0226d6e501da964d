"""Reads what ``torch.profiler`` saw of a model in one process: its calls, forward and backward.

Modules are known by ranges named ``module:PATH`` (`parplan.plugins.runtimes.module_ranges`). A
call is the outermost operator of PyTorch (``aten::linear``) inside such a range. Autograd's passes
name no module; the flow ``fwdbwd`` leads from each to the call that it is the backward pass of.
Where the trace has kernels of a GPU, their time counts, and not that of the host which starts them
(``External id``).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from attrs import field, frozen

from parplan.errors import InputError
from parplan.measuring.profiles.profile import Pass, Profile, Timing
from parplan.measuring.trace_file import nanoseconds, read_trace

MODULE = "module:"
"""What the name of a module's range begins with."""

OPTIMIZER = "Optimizer.step#"
"""What PyTorch calls the range of an optimizer's step."""

AUTOGRAD = "autograd::engine::evaluate_function: "
"""What PyTorch calls autograd's passes, before their own name."""

DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
"""Categories of what a GPU does."""

Thread: TypeAlias = str
"""Process and thread."""


@frozen
class _Call:
    """An outermost operator, and the ranges around it.

    Attributes
    ----------
    run
        How many runs of the model (of an optimizer's step) had begun on its thread, less one.
    """

    name: str
    start_ns: int
    end_ns: int
    module: str | None = None
    run: int = 0
    is_optimizer: bool = False


@frozen
class _Open:
    """A range that has not ended."""

    end_ns: int
    module: str | None = None
    is_optimizer: bool = False
    call: int | None = None


@frozen
class _Walk:
    """Goes through the events of one thread in the order in which they began."""

    calls: list[_Call] = field(factory=list)
    ids: list[list[str]] = field(factory=list)  # of each call and what it called
    open: list[_Open] = field(factory=list)
    counts: Counter[str] = field(factory=Counter)

    def take(self, event: Mapping[str, Any]) -> None:
        """Go past one event."""
        start = nanoseconds(event, "ts")
        end = start + max(0, nanoseconds(event, "dur"))
        while self.open and self.open[-1].end_ns <= start:
            self.open.pop()
        name = str(event.get("name", ""))
        if event.get("cat") == "user_annotation":
            self._range(name, end)
        else:
            self._operator(name, start, end, event)

    def _range(self, name: str, end: int) -> None:
        around = self.open[-1] if self.open else _Open(end)
        if name.startswith(MODULE):
            module = name.removeprefix(MODULE)
            self.counts["runs"] += module == ""
            self.open.append(_Open(end, module, call=around.call))
        elif name.startswith(OPTIMIZER):
            self.counts["steps"] += 1
            self.open.append(_Open(end, is_optimizer=True, call=around.call))

    def _operator(self, name: str, start: int, end: int, event: Mapping[str, Any]) -> None:
        around = self.open[-1] if self.open else _Open(end)
        call = around.call
        if call is None:
            call = len(self.calls)
            run = self.counts["steps" if around.is_optimizer else "runs"] - 1
            made = _Call(name, start, end, around.module, max(0, run), around.is_optimizer)
            self.calls.append(made)
            self.ids.append([])
        arguments = event.get("args")
        if isinstance(arguments, dict):
            self.ids[call].append(str(arguments.get("External id")))
        self.open.append(_Open(end, around.module, around.is_optimizer, call))


def read_operators(path: Path) -> Profile:
    """Return what a trace says of the modules of a model.

    Raises
    ------
    InputError
        Naming the file: missing, damaged, no trace, or without ranges of modules.
    """
    events = read_trace(path).events
    try:
        return _profile(events, f"torch.profiler: {path.name}")
    except InputError as error:
        raise error.located(file=str(path)) from None


def _profile(events: Sequence[Mapping[str, Any]], source: str) -> Profile:
    walks = _walks(events)
    if not any(call.module is not None for walk in walks.values() for call in walk.calls):
        raise InputError(
            "has no ranges of modules: run the model within "
            "parplan.plugins.runtimes.module_ranges.module_ranges(model)"
        )
    on_device = _device_ns(events)
    timings: dict[tuple[Thread, int], Timing] = {}
    nameless: dict[str, float] = defaultdict(float)
    forward = _forward_of(events, walks)
    often: Counter[tuple[int, str, str]] = Counter()
    for key, call, ids in _in_order(walks):
        ns = sum(on_device.get(one, 0) for one in ids) if on_device else call.end_ns - call.start_ns
        seconds = ns / 1e9
        made_by = timings.get(forward.get(key, key))
        if call.name.startswith(AUTOGRAD):
            if made_by is None or made_by.work is not Pass.FORWARD:
                nameless[call.name.removeprefix(AUTOGRAD).rpartition("::")[2]] += seconds
                continue
            module, name, position = made_by.module, made_by.name, made_by.position
            timings[key] = Timing(made_by.run, Pass.BACKWARD, module, name, position, seconds)
        elif call.is_optimizer:
            timings[key] = Timing(call.run, Pass.OPTIMIZER, "", "step", 0, seconds)
        elif call.module is None:
            nameless[call.name] += seconds
        else:
            name = call.name.rpartition("::")[2]
            place = (call.run, call.module, name)
            timings[key] = Timing(call.run, Pass.FORWARD, call.module, name, often[place], seconds)
            often[place] += 1
    return Profile(source, tuple(timings.values()), nameless)


def _walks(events: Sequence[Mapping[str, Any]]) -> dict[Thread, _Walk]:
    """Return the calls of each thread."""
    threads: dict[Thread, list[Mapping[str, Any]]] = defaultdict(list)
    for event in events:
        if event.get("ph") == "X" and event.get("cat") in ("cpu_op", "user_annotation"):
            threads[_thread(event)].append(event)
    found = {}
    for thread, inside in threads.items():
        walk = found[thread] = _Walk()
        # What begins together is nested: the longest is outermost.
        for event in sorted(inside, key=lambda e: (nanoseconds(e, "ts"), -nanoseconds(e, "dur"))):
            walk.take(event)
    return found


def _thread(event: Mapping[str, Any]) -> Thread:
    return f"{event.get('pid')} {event.get('tid')}"


def _in_order(
    walks: Mapping[Thread, _Walk],
) -> Iterator[tuple[tuple[Thread, int], _Call, Sequence[str]]]:
    """Yield the calls of all threads in the order in which they began."""
    calls = [
        ((thread, at), call, walk.ids[at])
        for thread, walk in walks.items()
        for at, call in enumerate(walk.calls)
    ]
    yield from sorted(calls, key=lambda item: item[1].start_ns)


def _device_ns(events: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return the time of a GPU by the operator that started it; empty without one."""
    found: dict[str, int] = defaultdict(int)
    for event in events:
        if event.get("ph") == "X" and event.get("cat") in DEVICE:
            arguments = event.get("args")
            if isinstance(arguments, dict):
                found[str(arguments.get("External id"))] += max(0, nanoseconds(event, "dur"))
    return found


def _forward_of(
    events: Sequence[Mapping[str, Any]], walks: Mapping[Thread, _Walk]
) -> dict[tuple[Thread, int], tuple[Thread, int]]:
    """Return the call that each of autograd's passes is the backward pass of."""
    starts = {thread: [call.start_ns for call in walk.calls] for thread, walk in walks.items()}
    ends: dict[str, dict[str, tuple[Thread, int]]] = defaultdict(dict)
    for event in events:
        thread = _thread(event)
        if event.get("cat") != "fwdbwd" or thread not in walks:
            continue
        moment = nanoseconds(event, "ts")
        at = bisect_right(starts[thread], moment) - 1
        if at >= 0 and moment <= walks[thread].calls[at].end_ns:
            ends[str(event.get("id"))][str(event.get("ph"))] = (thread, at)
    return {both["f"]: both["s"] for both in ends.values() if {"s", "f"} <= both.keys()}
