"""Traces of torch.profiler become recordings: what is work, what is waiting, and of which step."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from parplan.api import export_plan, load_registry
from parplan.cli import main
from parplan.errors import InputError
from parplan.measuring.calibrating import calibrate
from parplan.measuring.kineto import read_kineto
from parplan.measuring.recorded import recorded
from parplan.measuring.recording import WAIT, Span, load_recording
from parplan.stages.manifest import read_manifest
from parplan.stages.program import StageProgram
from tests.plan_samples import pipeline_plan


@pytest.fixture
def stages(tmp_path: Path) -> Path:
    """The manifest of a pipeline of two devices."""
    export_plan(pipeline_plan(), "torch-csv", tmp_path / "files", registry=load_registry())
    return tmp_path / "files" / "stages.json"


def write(path: Path, ranges: list[tuple[str, float, float]], **more: Any) -> Path:
    """Write a trace with ranges of (name, start, end) in seconds; more: category and thread."""
    events = [
        {"ph": "X", "cat": "user_annotation", "pid": 1, "tid": 1, "name": f"PP:{name}",
         "ts": 1e6 * start, "dur": 1e6 * (end - start), **more}
        for name, start, end in ranges
    ]  # fmt: skip
    text = json.dumps({"baseTimeNanoseconds": 10**18, "traceEvents": events})
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def read(program: StageProgram, *paths: Path) -> tuple[Span, ...]:
    return recorded(program, {str(path): read_kineto(path) for path in paths}).spans


def told(spans: tuple[Span, ...]) -> list[tuple[str, int, int, float, float]]:
    return [(s.action, s.microbatch, s.step, round(s.start_s, 6), round(s.end_s, 6)) for s in spans]


def test_the_time_before_the_input_is_there_is_waiting(stages: Path, tmp_path: Path) -> None:
    program = read_manifest(stages)
    first = write(tmp_path / "0.json", [("0F0", 1, 3), ("0SEND_F0", 3, 3.5), ("0B0", 4, 9)])
    second = write(tmp_path / "1.json.gz", [("1RECV_F0", 1, 1.5), ("1F0", 1.5, 6), ("1B0", 6, 8)])
    spans = read(program, first, second)
    on = {d: tuple(s for s in spans if s.device == d) for d in (s.device for s in spans)}
    zero, one = (on[program.stages[stage].device] for stage in (0, 1))
    assert told(zero) == [("F", 0, 0, 0, 2), (WAIT, 0, 0, 3, 7), ("B", 0, 0, 7, 8)]
    assert told(one) == [(WAIT, 0, 0, 0.5, 2), ("F", 0, 0, 2, 5), ("B", 0, 0, 5, 7)]
    assert zero[0].operators == program.stages[0].forward
    assert set(zero[2].operators) == {*program.stages[0].backward, *program.stages[0].weight}


def test_actions_of_one_range_share_its_work_as_planned(stages: Path, tmp_path: Path) -> None:
    program = read_manifest(stages)
    seconds = {str(t.action): t.seconds for rank in program.ranks for t in rank.actions}
    forward, backward = seconds["1F1"], seconds["1B0"]
    took = 3 * (forward + backward)
    first = write(tmp_path / "0.json", [("0F0", 0, 1), ("0F1", 1, 7)])
    second = write(tmp_path / "1.json", [("1F0", 1, 2), ("(1F1;1B0)OVERLAP_F_B", 5, 7 + took)])
    spans = [s for s in read(program, first, second) if s.start_s >= 5]
    middle = 7 + 3 * forward
    assert told(tuple(spans)) == [
        (WAIT, 1, 0, 5, 7),
        ("F", 1, 0, 7, round(middle, 6)),
        ("B", 0, 0, round(middle, 6), round(7 + took, 6)),
    ]


def test_what_runs_again_is_another_step(stages: Path, tmp_path: Path) -> None:
    ranges = [("0F0", 0, 1), ("0F1", 1, 2), ("0F0", 5, 6), ("0F1", 6, 8)]
    spans = read(read_manifest(stages), write(tmp_path / "t.json", ranges))
    assert [(s.microbatch, s.step) for s in spans] == [(0, 0), (1, 0), (0, 1), (1, 1)]


def test_the_ranges_of_the_device_count(stages: Path, tmp_path: Path) -> None:
    """On a GPU the host only starts the work; a second stream has what is sent."""
    path = write(tmp_path / "t.json", [("0F0", 0, 0.1)])
    trace = json.loads(path.read_text())
    for stream, (start, end) in {7: (1, 3), 20: (3, 3.2)}.items():
        other = json.loads(write(tmp_path / "s", [("0F0", start, end)]).read_text())
        event = {**other["traceEvents"][0], "cat": "gpu_user_annotation", "tid": stream}
        trace["traceEvents"].append(event)
    path.write_text(json.dumps(trace))
    (span,) = read(read_manifest(stages), path)
    assert math.isclose(span.seconds, 2.0)


def test_a_real_trace_has_the_names_that_pytorch_gives(stages: Path, tmp_path: Path) -> None:
    from torch.distributed.pipelining import schedules

    ones = torch.ones(8, 8)
    with profile(activities=[ProfilerActivity.CPU]) as made:
        for text in ("0F0", "0SEND_F0", "(0F1;0B0)OVERLAP_F_B"):
            name = schedules._get_profiler_function_name(schedules._Action.from_str(text))
            with record_function(name):
                torch.mm(ones, ones)
    made.export_chrome_trace(str(tmp_path / "t.json"))
    spans = read(read_manifest(stages), tmp_path / "t.json")
    assert [(s.action, s.microbatch) for s in spans] == [("F", 0), ("F", 1), ("B", 0)]
    assert all(0 < s.seconds < 60 for s in spans)
    assert spans[0].start_s == 0 < spans[0].end_s <= spans[1].start_s


def test_the_command_writes_what_can_be_calibrated(
    stages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = read_manifest(stages)
    traces = [
        write(
            tmp_path / f"{at}.json",
            [(str(one.action), one.start_s, one.start_s + one.seconds) for one in rank.actions],
        )
        for at, rank in enumerate(program.ranks)
    ]
    out = tmp_path / "recording.json"
    assert main(["recording", str(stages), *map(str, traces), "-o", str(out)]) == 0
    assert "step 0: " in capsys.readouterr().out
    plan = pipeline_plan()
    costs = calibrate([load_recording(out)], plan)
    ticks = {o.name: plan.problem.ticks(at, plan.problem.alternatives[at][0], 0)
             for at, o in enumerate(plan.problem.graph.operators)}  # fmt: skip
    assert costs.operators
    for one in costs.operators:
        assert math.isclose(one.seconds, ticks[one.operator] * plan.problem.tick_s, rel_tol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "truncated"),
        ('{"traceEvents": [', "truncated"),
        ("[1, 2]", "no list 'traceEvents'"),
        ('{"traceEvents": [1, null, {"name": 3}]}', "no ranges such as 'PP:0F0'"),
        ('{"traceEvents": [{"ph": "X", "cat": "user_annotation", "name": "PP:0F0"}]}', "no time"),
        ("[" * 100_000, "truncated"),
    ],
)
def test_what_is_no_trace_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_kineto(path)
    assert caught.value.file == str(path)


def test_traces_of_another_plan_or_twice_of_a_rank_are_refused(
    stages: Path, tmp_path: Path
) -> None:
    program = read_manifest(stages)
    other = write(tmp_path / "other.json", [("9F0", 0, 1)])
    with pytest.raises(InputError, match=r"'PP:9F0'.* another plan"):
        read(program, other)
    pair = [write(tmp_path / f"{name}.json", [("0F0", 0, 1)]) for name in "ab"]
    with pytest.raises(InputError, match="one trace of each rank"):
        read(program, *pair)
