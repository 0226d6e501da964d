"""Without any extra parplan loads at once, works, and says in one line what a part of it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXTRAS = (
    "cplex", "gurobipy", "onnx", "pyscipopt", "resvg_py", "scipy", "torch", "transformers",
    "xpress",
)  # fmt: skip
"""Top modules of what the extras bring."""

HIDE = f"""
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""
"""Start of every Python in which the extras are not installed."""

TWO_STAGES = """
model:
  kind: stages
  options: {forward_s: [1 ms, 1 ms], backward_s: 1 ms, boundary_bytes: 1 MB}
cluster:
  devices: [{name: "gpu{}", count: 2, node: a, memory_bytes: 6 GB}]
  intra: {preset: nvlink4}
workload: {kind: training, microbatches: 2}
constraints: [{placement: {modules_together: true}}]
"""

TRY = """
import contextlib, io, json, sys
from parplan.cli import main
told = []
for command in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(command)
    told.append([code, out.getvalue(), err.getvalue()])
json.dump(told, sys.stdout)
"""

PROBE = """
import json, sys
from parplan.api import load_registry
names = json.load(sys.stdin)
solvers = load_registry().solvers
found = {name: solvers[name].value.probe() for name in names}
json.dump({name: [probe.available, probe.reason] for name, probe in found.items()}, sys.stdout)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose Pythons have no extras, with inputs for what needs them."""
    path = tmp_path_factory.mktemp("bare")
    (path / "sitecustomize.py").write_text(HIDE)
    (path / "spec.yaml").write_text(TWO_STAGES)
    (path / "config.json").write_text('{"model_type": "llama"}')
    (path / "model.onnx").write_bytes(b"")
    (path / "named.py").write_text("def model():\n    return None, (), {}\n")
    return path


def bare(folder: Path, code: str, given: object) -> str:
    """Run a program where no extra is installed; return what it prints."""
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(given), capture_output=True, text=True,
        cwd=folder, env=environment, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_parplan_loads_at_once_and_no_extra(folder: Path) -> None:
    """In half a second of a processor; the least of three times, as others may use it too."""
    code = (
        "import time; begun = time.process_time(); import parplan\n"
        f"import sys; print(time.process_time() - begun, len(set({EXTRAS!r}) & set(sys.modules)))"
    )
    found = [bare(folder, code, None).split() for _ in range(3)]
    assert min(float(seconds) for seconds, _ in found) <= 0.5
    assert {loaded for _, loaded in found} == {"0"}


def test_what_needs_an_extra_says_so_in_one_line_and_the_rest_works(folder: Path) -> None:
    needs = {
        "torch": [
            ["import", "torch", "--model", "named:model"],
            ["run", "plan.json", "--runtime", "torch"],
        ],
        "onnx": [["import", "onnx", "model.onnx"]],
        "huggingface": [["import", "transformers", "config.json"]],
        "png": [["show", "plan.json", "--png", "plan.png"]],
    }
    works = [
        ["plugins"],
        ["plan", "spec.yaml", "-o", "plan.json", "--time-limit", "60", "-q"],
        ["export", "plan.json", "--to", "torch-csv", "-o", "files"],
    ]
    lacking = [(extra, command) for extra, commands in needs.items() for command in commands]
    told = json.loads(bare(folder, TRY, [*works, *(command for _, command in lacking)]))
    for command, (code, _, error) in zip(works, told, strict=False):
        assert code == 0, (command, error)
    for (extra, command), (code, _, error) in zip(lacking, told[len(works) :], strict=True):
        assert code == 2, command
        assert error.count("\n") == 1, error
        assert f"pip install 'parplan[{extra}]'" in error


def test_a_solver_that_is_not_installed_says_how_to_install_it(folder: Path) -> None:
    names = ["cplex", "gurobi", "scip", "xpress"]
    for name, (available, reason) in json.loads(bare(folder, PROBE, names)).items():
        assert not available, name
        assert "pip install " in reason
        assert "\n" not in reason
