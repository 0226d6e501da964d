"""A plugin that parplan writes can be installed, and passes its own test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from parplan.errors import InputError
from parplan.new_plugin import write_plugin


def test_files_are_named_after_the_plugin(tmp_path: Path) -> None:
    target = tmp_path / "new"
    assert {
        path.relative_to(target).as_posix() for path in write_plugin("night-shift", target)
    } == {
        "README.md",
        "parplan_night_shift.py",
        "pyproject.toml",
        "tests/test_parplan_night_shift.py",
    }
    assert 'name = "parplan-night-shift"' in (target / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    "name", ["", "Night", "night_shift", "-night", "night-", "2night", "a--b", "../x", "nacht\n"]
)
def test_bad_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot name a plugin"):
        write_plugin(name, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_prefix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave 'parplan-' out"):
        write_plugin("parplan-night", tmp_path / "new")


def test_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="already exists"):
        write_plugin("night", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "night").write_text("keep")
    with pytest.raises(InputError, match="already exists"):
        write_plugin("night", tmp_path / "night")


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    assert write_plugin("night", tmp_path)


def test_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'solver' is no kind of a new plugin; kinds are: constr"):
        write_plugin("night", tmp_path / "new", "solver")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, "constraint") for name in ("night-shift", "none", "constraint")),
     *((name, "strategy") for name in ("night-shift", "strategy"))],
)  # fmt: skip
def test_new_plugin_installs_and_passes_its_test(tmp_path: Path, name: str, kind: str) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    write_plugin(name, source, kind)
    install = [
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        "--target",
    ]
    for command in ([*install, str(site), str(source)], ["pytest", "-q", str(source)]):
        result = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=source,
            env=os.environ | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stdout + result.stderr
    assert "2 passed" in result.stdout
