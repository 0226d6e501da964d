"""``parplan compare``: table, files, JSON and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parplan.cli import main
from parplan.plan_files.plan_file import load_comparison

Captured = pytest.CaptureFixture[str]

SPEC = """
name: three layers
model:
  operators:
    - {name: f0, kind: forward, seconds: {"*": 1 ms}, module: l0}
    - {name: f1, kind: forward, seconds: {"*": 1 ms}, module: l1}
    - {name: b1, kind: backward, seconds: {"*": 2 ms}, module: l1}
    - {name: b0, kind: backward, seconds: {"*": 2 ms}, module: l0}
  tensors:
    - {name: x, producer: f0, consumers: [f1, b0], bytes: 1 MB}
    - {name: y, producer: f1, consumers: [b1], bytes: 1 MB}
    - {name: g, producer: b1, consumers: [b0], bytes: 1 MB}
cluster:
  devices:
    - {name: "gpu{}", count: 2, memory_bytes: 1 GB}
  links:
    - {source: gpu0, target: gpu1, bandwidth: 100 GB/s, two_way: true}
workload: {kind: training, microbatches: 4}
search: {time_limit_s: 3 s, workers: 1}
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("spec.yaml").write_text(SPEC, encoding="utf-8")
    return tmp_path


def test_table_and_file(spec: Path, capsys: Captured) -> None:
    asked = ["compare", "spec.yaml", "--with", "gpipe, interleaved-1f1b", "-o", "c.json.gz", "-q"]
    assert main([*asked, "--solver", "list"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    names = [line.split()[0] for line in out.splitlines() if line.startswith(("plan ", "gpipe"))]
    assert names == ["plan", "gpipe", "gpipe"]
    assert "needs 4 stages; the model has 2 blocks" in out
    saved = load_comparison(spec / "c.json.gz")
    assert [e.name for e in saved.entries] == ["plan", "gpipe", "gpipe", "interleaved-1f1b"]


def test_json_is_one_object(spec: Path, capsys: Captured) -> None:
    asked = ["compare", "spec.yaml", "--with", "1f1b", "--json", "-q", "--solver", "list"]
    assert main([*asked, "--set", "workload.microbatches=1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schedules"][0]["objective"] == found["objective"]
    assert found["schedules"][1]["note"] == "the problem has one microbatch only"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--with", "2f2b"], "no strategy is named '2f2b'"),
        (["--with", "recompute"], "'recompute' is no schedule"),
        (["-o", "nowhere/c.json"], "the folder 'nowhere' does not exist"),
    ],
)
def test_bad_input(spec: Path, capsys: Captured, options: list[str], message: str) -> None:
    assert main(["compare", "spec.yaml", "-q", *options]) == 2
    assert message in capsys.readouterr().err


def test_infeasible(spec: Path, capsys: Captured) -> None:
    """Nothing to compare with: the model alone is larger than a device."""
    text = SPEC.replace("bytes: 1 MB", "bytes: 2 GB")
    (spec / "spec.yaml").write_text(text, encoding="utf-8")
    assert main(["compare", "spec.yaml", "-q"]) == 3
    assert "error: " in capsys.readouterr().err
