"""The example plugins install side by side and pass their tests; broken copies are named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = ("rack-power", "parity-objective")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every example plugin installed as pip does it, without a network."""
    scratch = tmp_path_factory.mktemp("examples")
    sources = [scratch / name for name in NAMES]
    for source in sources:
        # A copy, because setuptools builds inside the source folder.
        shutil.copytree(EXAMPLES / source.name, source, ignore=shutil.ignore_patterns("build"))
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    target = scratch / "site"
    run("-m", "pip", "install", *options, "--target", str(target), *map(str, sources))
    return target


def run(*arguments: str, site: Path | None = None, cwd: Path | None = None) -> str:
    """Run this Python with a folder of installed plugins; return what it printed."""
    extra = {"PYTHONDONTWRITEBYTECODE": "1"} | ({"PYTHONPATH": str(site)} if site else {})
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | extra,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_example_passes_its_own_tests(site: Path, name: str) -> None:
    assert " passed" in run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", ".", site=site, cwd=EXAMPLES / name
    )
