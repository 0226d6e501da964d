"""``parplan run`` hands a plan to a runtime, and tells what it recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parplan.cli import main
from parplan.measuring.recording import load_recording
from parplan.plan_files.plan_file import save_plan
from tests.plan_samples import pipeline_plan

RUNTIME = """
from parplan.contracts import Runtime
from parplan.hooks import hookimpl
from parplan.measuring.recording import Recording, Span

class Paper(Runtime):
    name = "paper"
    exporter = "torch-csv"

    def run(self, plan, files, request):
        assert (files / "comms.csv").exists()
        seconds = 2 * plan.schedule.makespan * plan.problem.tick_s
        spans = tuple(Span("gpu0", ("f.0",), "F", 0, 0.0, seconds, s) for s in range(request.steps))
        wrong = {"w": 0.5, "v": 0.0} if request.check_gradients else {}
        return Recording(plan.problem.name, "on paper", spans, losses=(0.25,) * request.steps,
                         gradient_differences=wrong)

@hookimpl
def parplan_runtimes():
    return [Paper()]
"""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "paper_runtime.py").write_text(RUNTIME)
    monkeypatch.syspath_prepend(tmp_path)
    save_plan(pipeline_plan(), tmp_path / "plan.json")
    return str(tmp_path / "plan.json")


def run(plan: str, *options: str) -> int:
    return main(["run", plan, "--plugin", "paper_runtime", "--runtime", "paper", *options])


def test_a_recording_is_told_and_kept(
    plan: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(plan, "--steps", "2", "-o", str(tmp_path / "r.json")) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "on paper"
    assert [line.split(":")[0] for line in told[1:]] == ["step 0", "step 1"]
    assert "(+100.0%), loss 0.25" in told[1]
    assert load_recording(tmp_path / "r.json").steps == (0, 1)


def test_gradients_that_differ_are_named(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(plan, "--model", "m:f", "--check-gradients") == 1
    assert "1 of 2 differ from a single process by more than 1e-05, most 'w' by 0.5" in (
        capsys.readouterr().out
    )
    assert run(plan, "--model", "m:f", "--check-gradients", "--json") == 1
    assert json.loads(capsys.readouterr().out)["gradient_differences"] == {"w": 0.5, "v": 0.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--check-gradients",), "gradients are those of a model"),
        (("--model", "m:f", "--emulate", "2"), "is for stand-ins"),
        (("--emulate", "0"), "must be finite and above zero"),
        (("--steps", "0"), "must be finite and above zero"),
        (("-o", "nowhere/r.json"), "does not exist"),
    ],
)
def test_what_cannot_be_is_refused(
    plan: str, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    assert run(plan, *options) == 2
    assert message in capsys.readouterr().err
