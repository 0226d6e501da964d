"""Family emulation: planned schedules run by processes that sleep, with real messages.

The value is the measured makespan of the plan, the reference its planned one. The details have
every schedule of the comparison, and Spearman's rank correlation of planned and measured makespans.

``overhead`` is the part of the tasks' time that processes needed between tasks for themselves; it
is in their planned time, see ``parplan.plugins.runtimes.emulation.stand_in``.

A schedule that cuts tasks into slices is run in slow motion, so that its slices last as long as
tasks of others, or as near to that as its makespan allows; its times are those of the plan.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from benchmarks.cases import Case, Context, Outcome
from parplan.api import compare, load_registry, run_plan
from parplan.contracts import RunRequest
from parplan.errors import InputError
from parplan.measuring.differences import find_differences
from parplan.measuring.recording import WAIT
from parplan.plans import Plan
from parplan.plugins.runtimes.emulation.script import Emulation, emulation_of
from parplan.registry import Registry
from parplan.spec.sections import parse_spec

UNIT_S = 0.02
"""Seconds of a unit task: long beside what the machine adds to one."""

LONGEST_S = 30.0
"""Longest makespan of a run."""

STEPS = 3
"""The measured makespan is their median."""


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
    """Run the plan and every hand-made schedule."""
    registry = load_registry()
    found = compare(
        parse_spec(json.dumps(emulated.spec())),
        schedules=emulated.schedules,
        registry=registry,
        time_limit_s=context.time_limit_s,
    )
    rows: list[dict[str, Any]] = []
    not_run: dict[str, str] = {}
    measured: dict[Emulation, dict[str, Any]] = {}
    for entry in found.entries:
        name = f"{entry.name} {entry.split}".strip()
        if entry.plan is None:
            not_run[name] = entry.note
            continue
        try:
            run = emulation_of(entry.plan.schedule, 1.0, 0.0, STEPS)
            if run not in measured:
                measured[run] = _measured(entry.plan, run, registry)
        except InputError as error:
            not_run[name] = str(error)
        else:
            rows.append({"schedule": name, **measured[run]})
    plan = next((row for row in rows if row["schedule"] == "plan"), None)
    if plan is None:
        raise InputError(f"the plan itself was not run: {not_run.get('plan')}")
    runs = list(measured.values())
    times = [[run[key] for run in runs] for key in ("planned_s", "measured_s")]
    return Outcome(
        value=plan["measured_s"],
        reference=plan["planned_s"],
        reference_source="planned makespan",
        details={
            "unit": "s",
            "runs": len(runs),
            "largest_deviation": max(abs(run["deviation"]) for run in runs),
            "spearman": spearman(*times),
            "swapped_pairs": swapped_pairs(*times),
            "emulated": rows,
            "not_run": not_run,
        },
    )


def _measured(plan: Plan, run: Emulation, registry: Registry) -> dict[str, Any]:
    """Return what a run of a plan measures, in the seconds of the plan."""
    planned = plan.schedule.makespan * plan.problem.tick_s
    if planned > LONGEST_S:
        raise InputError(f"takes {planned:.3g} s; at most {LONGEST_S:g} s are run")
    shortest = min(task.seconds for tasks in run.tasks for task in tasks)
    slower = max(1.0, min(UNIT_S / shortest, LONGEST_S / planned))
    request = RunRequest(steps=STEPS, seconds_per_planned_second=slower)
    recording = run_plan(plan, request, registry=registry)
    steps = [recording.step_seconds(step) / slower for step in recording.steps]
    measured = statistics.median(steps)
    late = find_differences(plan, recording).late
    worked = sum(span.seconds for span in recording.spans if span.action != WAIT) / slower
    given = STEPS * sum(task.seconds for tasks in run.tasks for task in tasks)
    return {
        "planned_s": planned,
        "measured_s": measured,
        "deviation": measured / planned - 1,
        "steps_s": steps,
        "seconds_per_planned_second": slower,
        "messages": len(run.messages),
        "overhead": 1 - worked / given,
        "first_late_s": 0.0 if late is None else late.run.late_s,
        "load": os.getloadavg()[0],
    }


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation, equal values sharing their mean rank.

    None where one side has no two different values.
    """
    ranks = [_ranks(one), _ranks(other)]
    if any(len(set(found)) < 2 for found in ranks):
        return None
    return float(np.corrcoef(ranks)[0, 1])


def swapped_pairs(one: Sequence[float], other: Sequence[float]) -> int:
    """Return how many pairs that differ in both stand in opposite orders."""
    pairs = combinations(zip(one, other, strict=True), 2)
    return sum((a - c) * (b - d) < 0 for (a, b), (c, d) in pairs)


def _ranks(values: Sequence[float]) -> list[float]:
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) - 1) / 2
        for value in values
    ]
