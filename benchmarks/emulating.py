"""Family emulation: planned schedules run by stand-ins that sleep, with real messages.

The value is the measured makespan of the plan, the reference its planned one. The details have
every schedule of the comparison, and Spearman's rank correlation of planned and measured makespans.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from benchmarks.cases import Case, Context, Outcome
from parplan.api import compare, load_registry, run_plan
from parplan.contracts import RunRequest
from parplan.errors import InputError
from parplan.measuring.differences import find_differences
from parplan.plans import Plan
from parplan.registry import Registry
from parplan.spec.sections import parse_spec

UNIT_S = 0.02
"""Seconds of a unit task: long beside what the machine adds to an action."""

LONGEST_S = 30.0
"""Makespan up to which a schedule is run."""

STEPS = 3
"""The first one warms up."""


@frozen
class Emulated:
    """A pipeline of stages that take one unit for each pass.

    Attributes
    ----------
    slow
        Factor on the times of every second stage.
    schedules
        Hand-made ones to compare with; empty: all.
    """

    stages: int
    devices: int
    microbatches: int
    slow: float = 1.0
    schedules: tuple[str, ...] = ()

    def spec(self) -> dict[str, Any]:
        """Return the spec."""
        seconds = [UNIT_S * (self.slow if i % 2 else 1.0) for i in range(self.stages)]
        return {
            "model": {
                "kind": "stages",
                "options": {
                    "stages": self.stages,
                    "forward_s": seconds,
                    "backward_s": seconds,
                    "weight_s": seconds,
                    "split_backward": [False] + [True] * (self.stages - 1),
                    "boundary_bytes": "10 MB",
                },
            },
            "cluster": {
                "devices": [
                    {"name": "cpu{}", "count": self.devices, "node": "a", "memory_bytes": "8 GB"}
                ],
                "intra": {"bandwidth": "10 GB/s", "latency_s": "1 ms"},
            },
            "workload": {"kind": "training", "microbatches": self.microbatches},
            "constraints": [
                "devices",
                "links",
                "memory",
                {"placement": {"modules_together": True}},
            ],
        }


PIPELINES = {
    "two": Emulated(2, 2, 4, schedules=("1f1b",)),
    "equal-8": Emulated(8, 8, 16),
    "unequal-8": Emulated(16, 8, 16, slow=1.5),
}
"""By name of the case."""


def cases(_: Path | None = None) -> tuple[Case, ...]:
    """Return a case for each pipeline; the first is the short one."""
    return tuple(
        Case(
            f"emulation/{name}",
            partial(emulation_case, emulated),
            time_limit_s=20.0,
            short=name == "two",
        )
        for name, emulated in PIPELINES.items()
    )


def emulation_case(emulated: Emulated, context: Context) -> Outcome:
    """Run the plan and every hand-made schedule that stages can express."""
    registry = load_registry()
    found = compare(
        parse_spec(json.dumps(emulated.spec())),
        schedules=emulated.schedules,
        registry=registry,
        time_limit_s=context.time_limit_s,
    )
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    for entry in found.entries:
        name = f"{entry.name} {entry.split}".strip()
        try:
            if entry.plan is None:
                raise InputError(entry.note)
            rows.append({"schedule": name, **_emulated(entry.plan, registry)})
        except InputError as error:
            left_out[name] = str(error)
    plan = next((row for row in rows if row["schedule"] == "plan"), None)
    if plan is None:
        raise InputError(f"the plan itself was not run: {left_out.get('plan')}")
    return Outcome(
        value=plan["measured_s"],
        reference=plan["planned_s"],
        reference_source="planned makespan",
        details={
            "unit": "s",
            "largest_deviation": max(abs(row["deviation"]) for row in rows),
            "spearman": spearman(
                [row["planned_s"] for row in rows], [row["measured_s"] for row in rows]
            ),
            "schedules": rows,
            "not_run": left_out,
        },
    )


def _emulated(made: Plan, registry: Registry) -> dict[str, float]:
    planned = made.schedule.makespan * made.problem.tick_s
    if planned > LONGEST_S:
        raise InputError(f"takes {planned:.3g} s; at most {LONGEST_S:g} s are run")
    recording = run_plan(made, RunRequest(steps=STEPS), registry=registry)
    measured = statistics.median(recording.step_seconds(step) for step in recording.steps[1:])
    late = find_differences(made, recording).late
    return {
        "planned_s": planned,
        "measured_s": measured,
        "deviation": measured / planned - 1,
        "first_late_s": 0.0 if late is None else late.run.late_s,
    }


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation, equal values sharing their mean rank.

    None where one side has no two different values.
    """
    ranks = [_ranks(one), _ranks(other)]
    if any(len(set(found)) < 2 for found in ranks):
        return None
    return float(np.corrcoef(ranks)[0, 1])


def _ranks(values: Sequence[float]) -> list[float]:
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) - 1) / 2
        for value in values
    ]
