"""Traces hold each span of a plan once, and a trace that does not is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parplan.errors import InputError
from parplan.plans import Plan
from parplan.plugins.exporters.trace import Trace, check_spans
from tests.plan_samples import HOSTILE, pipeline_plan
from tests.stages.samples import DIAMOND, dispatched, layered, layered_problem


def diamond() -> Plan:
    problem = layered_problem(layered(DIAMOND), devices=4, microbatches=3)
    return dispatched(problem, {name: i for i, name in enumerate(DIAMOND)})


def events_of(plan: Plan, folder: Path) -> list[dict[str, Any]]:
    done = Trace().export(plan, folder, {})
    found: list[dict[str, Any]] = json.loads(done.files[0].read_text())["traceEvents"]
    return found


def test_the_end_of_the_last_span_is_the_makespan(tmp_path: Path) -> None:
    plan = diamond()
    spans = [event for event in events_of(plan, tmp_path) if event["ph"] == "X"]
    assert len(spans) == len(plan.schedule.tasks) + len(plan.schedule.transfers)
    assert max(e["ts"] + e["dur"] for e in spans) == pytest.approx(plan.value * 1e6)


def test_a_packed_trace_is_the_same(tmp_path: Path) -> None:
    plan = pipeline_plan(3, 2, HOSTILE)
    (path,) = Trace().export(plan, tmp_path, {"packed": True}).files
    assert path.name == "trace.json.gz"
    assert json.loads(gzip.decompress(path.read_bytes()))["traceEvents"] == events_of(
        plan, tmp_path
    )


def late(events: list[dict[str, Any]]) -> None:
    next(e for e in events if e["ph"] == "X")["ts"] += 5e5


def lost(events: list[dict[str, Any]]) -> None:
    events.remove(next(e for e in events if e.get("cat") == "transfer"))


def doubled(events: list[dict[str, Any]]) -> None:
    events.append(next(e for e in events if e["ph"] == "X"))


def in_one_thread(events: list[dict[str, Any]]) -> None:
    for event in events:
        event["tid"] = 0


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (late, r"is there \d times at its time, in the plan \d times"),
        (lost, r"is there \d times at its time, in the plan \d times"),
        (doubled, r"is there \d times at its time, in the plan \d times"),
        (in_one_thread, "overlap"),
    ],
)
def test_other_spans_are_refused(
    damage: Callable[[list[dict[str, Any]]], None], said: str, tmp_path: Path
) -> None:
    plan = diamond()
    events = events_of(plan, tmp_path)
    check_spans(events, plan)
    damage(events)
    with pytest.raises(InputError, match=said):
        check_spans(events, plan)
