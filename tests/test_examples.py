"""The examples run; their plugins install side by side, and broken copies are named."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from parplan.cli import main

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = ("rack-power", "parity-objective", "eager-1f1b")


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


SCRIPTS = {
    "gpt-loop/loop.py --steps 2": (
        r"second plan: .*\n(  first late: .*\n)?losses: .*\n"
        r"gradients differ .* by (?P<off>\S+) at most, relatively\nthe second plan takes \d+% .*"
    ),
    "torchtitan-llama/llama.py": (
        r"planned .* ms\nmeasured .* ms, loss [\d.]+\nmeasured .*\n57 gradients, .* (?P<off>\S+)"
    ),
    "clip-two-towers/clip.py": (
        r"text ran on cpu\d.*\n(planned .* ms.*\n){2}(measured .*\n){2}"
        r"126 gradients, .* (?P<off>\S+)"
    ),
    "mixture-of-experts/moe.py": (
        r"best hand-made schedule, [^$]*layers\.1: experts on (h\d, ){7}h\d\nout/plan\.html\nout/.*"
    ),
    "uneven-gpus/uneven.py": (
        r"critical path: [^$]*planned .*h0 \d+.*\nuniform .*\ngain over uniform stages: [1-9]\d%"
    ),
    "heavy-first-stage/heavy.py": (
        r"planned .* s\nuniform +4\+3\+3\+4 .* s\ngain: [1-9]\d% planned, -?\d+% measured"
    ),
}
"""What each script, with its arguments, prints in the end; ``off`` is a relative difference of
gradients."""


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_script_runs_in_a_new_folder(script: str, tmp_path: Path) -> None:
    path, *arguments = script.split()
    told = run("-W", "error", str(EXAMPLES / path), *arguments, cwd=tmp_path)
    found = re.search(rf"{SCRIPTS[script]}\n$", told)
    assert found, told
    assert float(found.groupdict().get("off", 0)) <= 1e-5


SOURCE = (EXAMPLES / "rack-power/parplan_rack_power.py").read_text(encoding="utf-8")
SPEC = EXAMPLES / "rack-power/specs/rack-power.yaml"
DEMAND = "Running(device, watts, engine"

ESCAPE_HATCH = '''
import itertools

from parplan.contracts import Violation


class Hatched(RackPower):
    name = "rack-power"

    def declare(self, problem):
        return ()

    def constrain(self, model):
        """Say nothing, and so allow everything."""

    def violations(self, schedule):
        {body}


@hookimpl
def parplan_constraints():
    return [Hatched]
'''
REFUSES = """
        for one, two in itertools.combinations(schedule.task_views(), 2):
            if one.start < two.end and two.start < one.end:
                yield Violation("{rule}", "left", "two devices run at once", 400.0)
"""

BROKEN = {
    "raises": (
        SOURCE.replace("= problem.cluster\n", "= problem.clusters\n"),
        "plugin 'rack-power', in declare: raised AttributeError: .* has no attribute 'clusters'",
    ),
    "negative": (
        SOURCE.replace(DEMAND, "Running(device, -watts, engine"),
        r"rack-power\.yaml:28: constraints\[0\]\.rack-power: resource 'left': amount -600",
    ),
    "not-a-number": (
        SOURCE.replace(DEMAND, "Running(device, watts * float('nan'), engine"),
        r"rack-power\.yaml:28: constraints\[0\]\.rack-power: resource 'left': amount nan",
    ),
    "limit-in-kilowatts": (
        SOURCE.replace("Resource(rack, left", "Resource(rack, left / 1000 - 200"),
        r"rack-power\.yaml:28: constraints\[0\]\.rack-power: resource 'left': capacity is -199",
    ),
    "unknown-device": (
        SOURCE.replace(DEMAND, "Running(device + '7', watts, engine"),
        "plugin 'rack-power', in declare: declares unknown device 'gpu07'",
    ),
    "no-declaration": (
        SOURCE.replace("yield self._resource(", "yield (").replace("rack.limit_watts, ", "", 0),
        "plugin 'rack-power', in declare: declared .*, which is no declaration",
    ),
    "disagrees": (
        SOURCE + ESCAPE_HATCH.format(body=REFUSES.format(rule="rack-power")),
        "plugin 'rack-power', in violations: its code in the model allows what its violations "
        "refuses: two devices run at once",
    ),
    "disagrees-under-another-name": (
        SOURCE + ESCAPE_HATCH.format(body=REFUSES.format(rule="power")),
        "plugin 'rack-power', in violations: ",
    ),
    "violations-raises": (
        SOURCE + ESCAPE_HATCH.format(body="raise KeyError('watts')"),
        "plugin 'rack-power', in violations: raised KeyError: 'watts'",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_copy_is_named_in_one_message(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, message = BROKEN[case]
    assert source != SOURCE
    module = f"broken_{case.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    code = main(["plan", str(SPEC), "--plugin", module, "--quiet", "--solver", "cp-sat"])
    told = capsys.readouterr().err
    assert code == 2
    assert len(told.strip().splitlines()) == 1
    assert re.search(message, told), told
    assert not (tmp_path / "plan.json").exists()
