from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from parplan.cli import main
from parplan.cli.interrupts import two_step_interrupt
from parplan.errors import LimitError
from parplan.plan_files.plan_file import load_plan
from parplan.search import orchestrator
from tests.cli.test_cli import SPEC
from tests.plan_samples import pipeline_plan


@pytest.fixture(autouse=True)
def _interruptible() -> Any:
    # A shell may have started the tests with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_plan_saves_the_incumbent_and_returns_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def search(*_: object) -> Any:
        try:
            interrupt()
        except KeyboardInterrupt:
            return attrs.evolve(pipeline_plan(), provenance={"interrupted": True})

    monkeypatch.setattr(orchestrator, "search", search)
    (tmp_path / "spec.yaml").write_text(SPEC)
    target = tmp_path / "plan.json"
    assert main(["plan", str(tmp_path / "spec.yaml"), "-o", str(target), "--json"]) == 130
    told = capfd.readouterr()
    assert json.loads(told.out)["status"] == "interrupted"
    assert "Ctrl-C again quits at once" in told.err
    assert f"the best plan so far is in '{target}'" in told.err
    assert load_plan(target).value == pipeline_plan().value


def test_interrupt_before_any_plan_is_130_and_not_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def search(*_: object) -> Any:
        try:
            interrupt()
        except KeyboardInterrupt:
            raise LimitError("came before any plan") from None

    monkeypatch.setattr(orchestrator, "search", search)
    (tmp_path / "spec.yaml").write_text(SPEC)
    assert main(["plan", str(tmp_path / "spec.yaml"), "-o", str(tmp_path / "plan.json")]) == 130
    assert "error: interrupted before there was a plan" in capfd.readouterr().err


def test_handler_is_restored() -> None:
    with two_step_interrupt(), pytest.raises(KeyboardInterrupt):
        interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ignored_interrupts_stay_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with two_step_interrupt():
        interrupt()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_second_interrupt_quits_at_once() -> None:
    code = (
        "import os, signal\n"
        "from parplan.cli.interrupts import two_step_interrupt\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with two_step_interrupt():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        print('went on')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stdout == ""
