"""A recording: what ran when, on which device, in a run of a plan; and its file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen

from parplan.errors import InputError
from parplan.files.json_file import FileKind, load, save
from parplan.spec.structuring import structure

WAIT = "wait"
"""The time that a device waits for the input of its next action, whose operators it names."""

RECORDING = FileKind("parplan-recording", "recording", "parplan run -o")


@frozen
class Span:
    """One thing that a device did.

    Attributes
    ----------
    device
        Its name in the plan.
    operators
        Names of the plan's operators that ran in it, together.
    action
        A value of ``parplan.stages.program.ActionKind`` (``"F"``, ``"B"``, ``"I"``, ``"W"``),
        ``"wait"``, or what a profile calls it.
    microbatch
        -1 for work done once per step.
    start_s
        Seconds after the first start of the recording, by one clock for all devices.
    step
        Training step, from 0.
    """

    device: str
    operators: tuple[str, ...]
    action: str
    microbatch: int
    start_s: float
    seconds: float
    step: int = 0

    def __attrs_post_init__(self) -> None:
        for name in ("start_s", "seconds"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise InputError(f"is {value}; it must be finite and not negative", key=name)
        if self.microbatch < -1 or self.step < 0:
            raise InputError("microbatches count from 0 (-1: once per step), and steps from 0")

    @property
    def end_s(self) -> float:
        """Seconds after the first start of the recording at which it ended."""
        return self.start_s + self.seconds


@frozen
class Recording:
    """What was measured of a run.

    Attributes
    ----------
    plan
        Name of the problem whose plan ran; empty if the run followed none.
    source
        What ran and recorded it, in words.
    spans
        In any order.
    peak_bytes
        Most bytes of tensors held at once, by device; devices that were not measured are missing.
    seconds_per_planned_second
        Above or below 1 where a run was emulated slower or faster than planned.
    versions
        Of the software, by name.
    losses
        Mean loss of each step, where a model was trained.
    gradient_differences
        Largest relative difference of each parameter's gradient to a run in one process; empty
        where they were not compared.
    date
        Day of the run (ISO 8601); empty where it is not known.
    """

    plan: str
    source: str
    spans: tuple[Span, ...]
    peak_bytes: Mapping[str, int] = field(factory=dict)
    seconds_per_planned_second: float = 1.0
    versions: Mapping[str, str] = field(factory=dict)
    losses: tuple[float, ...] = ()
    gradient_differences: Mapping[str, float] = field(factory=dict)
    date: str = ""

    def __attrs_post_init__(self) -> None:
        scale = self.seconds_per_planned_second
        if not math.isfinite(scale) or scale <= 0:
            raise InputError(
                f"is {scale}; it must be finite and above zero", key="seconds_per_planned_second"
            )

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps with spans, in order."""
        return tuple(sorted({span.step for span in self.spans}))

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices with spans, in order of first appearance."""
        return tuple(dict.fromkeys(span.device for span in self.spans))

    def step_seconds(self, step: int) -> float:
        """Return the time from the first start to the last end of the work of a step.

        Raises
        ------
        InputError
            If nothing was recorded of that step.
        """
        work = [span for span in self.spans if span.step == step and span.action != WAIT]
        if not work:
            raise InputError(f"the recording has no work of step {step}")
        return max(span.end_s for span in work) - min(span.start_s for span in work)


@frozen
class _Work:
    """What spans of one kind have in common."""

    device: str
    operators: tuple[str, ...]
    action: str


@frozen
class _Columns:
    """Spans as columns; ``work`` indexes the table of what they did."""

    work: tuple[int, ...]
    step: tuple[int, ...]
    microbatch: tuple[int, ...]
    start_s: tuple[float, ...]
    seconds: tuple[float, ...]


@frozen
class _RecordingData:
    """A recording as it stands in a file."""

    plan: str
    source: str
    work: tuple[_Work, ...]
    spans: _Columns
    peak_bytes: Mapping[str, int] = field(factory=dict)
    seconds_per_planned_second: float = 1.0
    versions: Mapping[str, str] = field(factory=dict)
    losses: tuple[float, ...] = ()
    gradient_differences: Mapping[str, float] = field(factory=dict)
    date: str = ""


def save_recording(recording: Recording, path: Path | str) -> None:
    """Write a recording; whole, or not at all.

    Raises
    ------
    InputError
        If the file cannot be written; what was there before is unchanged.
    """
    save(RECORDING, recording_to_data(recording), Path(path))


def load_recording(path: Path | str) -> Recording:
    """Return the recording in a file.

    Raises
    ------
    InputError
        Naming the file and the key at fault: no recording, truncated, of another version, wrong
        types or amounts.
    """
    return load(RECORDING, Path(path), recording_from_data)


def recording_to_data(recording: Recording) -> dict[str, Any]:
    """Return a recording as plain data, what recurs once."""
    kinds = [_Work(span.device, span.operators, span.action) for span in recording.spans]
    table = {work: number for number, work in enumerate(dict.fromkeys(kinds))}
    spans: dict[str, list[Any]] = {"work": [table[work] for work in kinds]}
    for name in ("step", "microbatch", "start_s", "seconds"):
        spans[name] = [getattr(span, name) for span in recording.spans]
    return {
        "plan": recording.plan,
        "source": recording.source,
        "work": [attrs.asdict(work) for work in table],
        "spans": spans,
        "peak_bytes": dict(recording.peak_bytes),
        "seconds_per_planned_second": recording.seconds_per_planned_second,
        "versions": dict(recording.versions),
        "losses": list(recording.losses),
        "gradient_differences": dict(recording.gradient_differences),
        "date": recording.date,
    }


def recording_from_data(data: Any) -> Recording:
    """Return the recording of plain data; InputError with the key of the first fault."""
    found = structure(data, _RecordingData)
    columns = attrs.asdict(found.spans, recurse=False)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InputError(f"columns have different lengths: {told}", key="spans")
    spans = []
    for row, (number, step, microbatch, start_s, seconds) in enumerate(
        zip(*columns.values(), strict=True)
    ):
        if not 0 <= number < len(found.work):
            raise InputError(
                f"{number} is not one of the {len(found.work)} rows of 'work'",
                key=f"spans.work[{row}]",
            )
        work = found.work[number]
        try:
            spans.append(
                Span(
                    *(work.device, work.operators, work.action),
                    *(microbatch, start_s, seconds, step),
                )
            )
        except InputError as error:
            raise InputError(f"{error.key or 'row'} {error.message}", key=f"spans[{row}]") from None
    return Recording(
        found.plan,
        found.source,
        tuple(spans),
        found.peak_bytes,
        found.seconds_per_planned_second,
        found.versions,
        found.losses,
        found.gradient_differences,
        found.date,
    )
