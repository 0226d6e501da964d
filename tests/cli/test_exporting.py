"""``parplan export``: files, what it says of them, and its errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parplan.cli import main
from parplan.plan_files.plan_file import save_plan
from parplan.registry import Registry
from tests.stages.samples import DIAMOND, dispatched, layered, layered_problem
from tests.stages.test_stage_program import recipe_plan


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_files_are_written_and_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem = layered_problem(layered(DIAMOND), devices=4, microbatches=2)
    save_plan(dispatched(problem, {name: i for i, name in enumerate(DIAMOND)}), folder / "p.json")
    assert main(["export", "p.json", "--to", "torch-csv", "-o", "out"]) == 0
    said = capsys.readouterr().out
    assert "out/comms.csv: written" in said
    assert "no chain" in said
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["comms.csv", "stages.json"]
    assert main(["export", "p.json", "--to", "torch-csv", "-o", "out", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == ["out/comms.csv", "out/stages.json"]
    assert (told["stages"], told["ranks"], told["chain"]) == (4, 4, False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--to", "torch", "-o", "out"], "did you mean 'torch-csv'"),
        (["--to", "torch-csv", "-o", "out", "--set", "order=any"], "order"),
        (["--to", "torch-csv", "-o", "away/out"], "cannot be made"),
        (["--to", "torch-csv", "-o", "p.json"], "cannot be made"),
        (["--to", "torch-csv", "-o", "out"], "'f0' runs on 'g0' for some microbatches"),
    ],
)
def test_errors_name_what_is_at_fault(
    options: list[str],
    said: str,
    folder: Path,
    registry: Registry,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_plan(recipe_plan("chimera", registry, 2, 2), folder / "p.json")
    assert main(["export", "p.json", *options]) == 2
    assert said in capsys.readouterr().err
