from __future__ import annotations

import errno
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from parplan.clashes import Clash, Repair
from parplan.cli import COMMANDS, main
from parplan.errors import InfeasibleError, LimitError, PluginError, SolverError
from parplan.files import atomic
from parplan.plan_files.plan_file import load_graph, load_plan, save_plan
from parplan.schedule import Schedule, Tasks
from parplan.search import orchestrator
from tests.plan_samples import HOSTILE, pipeline_plan

SPEC = """
model:
  operators:
    - {name: first, seconds: {"*": 1 ms}}
    - {name: second, seconds: {"*": 2 ms}}
  tensors:
    - {name: between, producer: first, consumers: [second], bytes: 1 MB}
cluster:
  devices:
    - {name: gpu, memory_bytes: 1 GB}
"""

PLUGIN = """
from pathlib import Path
from parplan.contracts import Availability, Capability, Importer, Solver
from parplan.graph import Graph, Operator
from parplan.hooks import hookimpl

class Lines(Importer):
    name = "lines"
    def load(self, path, options):
        names = Path(path).read_text().split()
        return Graph(options["title"], tuple(Operator(name) for name in names))

class Sick(Solver):
    name = "sick"
    capabilities = frozenset({Capability.MIP})
    def probe(self):
        raise RuntimeError("no licence daemon")
    def solve(self, model, options, warm_start=None, report=None): ...

class Absent(Sick):
    name = "absent"
    def probe(self):
        return Availability(False, reason="not installed; run: pip install absent")

@hookimpl
def parplan_importers():
    return [Lines()]

@hookimpl
def parplan_solvers():
    return [Sick(), Absent()]
"""

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a spec and a plugin's module in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "face_plugin.py").write_text(PLUGIN)
    return tmp_path


def fake_search(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    monkeypatch.setattr(orchestrator, "search", lambda *_: act())


def raising(error: BaseException) -> Callable[[], Any]:
    def act() -> None:
        raise error

    return act


# -- plan ---------------------------------------------------------------------------------------


def test_plan_writes_a_plan_that_checks(folder: Path, capsys: Captured) -> None:
    assert main(["plan", "spec.yaml", "--solver", "list", "--report", "r.html"]) == 0
    told = capsys.readouterr()
    assert "makespan    3 ms" in told.out
    assert "Proven: no plan of this problem does better" in told.out
    assert "plan: plan.json" in told.out
    assert "<canvas>" in (folder / "r.html").read_text()
    assert main(["check", "plan.json"]) == 0
    assert "plan.json: holds; makespan 3 ms" in capsys.readouterr().out


def test_json_is_one_object_with_the_promised_keys(folder: Path, capsys: Captured) -> None:
    assert main(["plan", "spec.yaml", "--solver", "list", "--json", "-o", "p.json.gz"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == [
        "status",
        "objective",
        "bound",
        "bound_scope",
        "gap",
        "seconds",
        "solver",
        "device_utilisation",
        "bubble",
        "exposed_communication",
        "peak_memory",
    ]
    assert found["status"] == "optimal"
    assert found["objective"] == pytest.approx(0.003)
    assert found["device_utilisation"] == {"gpu": 1.0}
    assert found["peak_memory"] == {"gpu": 1_000_000}
    assert load_plan(folder / "p.json.gz").value == found["objective"]


def test_dry_run_searches_and_writes_nothing(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_search(monkeypatch, raising(AssertionError("searched")))
    assert main(["plan", "spec.yaml", "--dry-run"]) == 0
    assert "tasks: 2" in capsys.readouterr().out
    assert main(["plan", "spec.yaml", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "dry-run"
    assert not (folder / "plan.json").exists()


def test_set_and_limits_reach_the_search(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    seen = []

    def spy(problem: Any, rules: Any, registry: Any, options: Any, report: Any) -> Any:
        seen.append((problem.workload.microbatches, options))
        return pipeline_plan()

    monkeypatch.setattr(orchestrator, "search", spy)
    options = ["--set", "workload.microbatches=5", "--time-limit", "7", "--gap", "0.1"]
    assert main(["plan", "spec.yaml", *options, "--solver", "list", "-q"]) == 0
    microbatches, found = seen[0]
    assert microbatches == 5
    assert (found.time_limit_s, found.gap, found.solver) == (7.0, 0.1, "list")
    assert capsys.readouterr().err == ""


def test_baselines_stand_beside_the_plan(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    row = {
        "name": "1f1b",
        "split": "uniform",
        "makespan_s": 50.0,
        "bubble": 0.5,
        "peak_memory_bytes": {"gpu0": 2**30, "gpu1": 2**31},
        "gap": None,
        "note": "out of memory",
    }
    plan = attrs.evolve(pipeline_plan(), provenance={"baselines": [row]})
    fake_search(monkeypatch, lambda: plan)
    assert main(["plan", "spec.yaml"]) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("1f1b"))
    assert line.split("  ")[0] == "1f1b"
    for text in ("uniform", "50 s", "50.0%", "2.00 GiB", " - ", "out of memory"):
        assert text in line


# -- what goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (InfeasibleError("too small", conflict=("memory",), repair="add"), 3, "infeasible"),
        (LimitError("no plan in 1 s"), 4, "limit"),
        (SolverError("died", solver="highs"), 5, "error"),
        (PluginError("raised", plugin="rack"), 2, "error"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "error"),
        (RecursionError("deep"), 70, "error"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_every_error_is_one_message_and_an_exit_code(
    error: BaseException,
    code: int,
    status: str,
    folder: Path,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_search(monkeypatch, raising(error))
    assert main(["plan", "spec.yaml", "-q"]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
    assert main(["plan", "spec.yaml", "-q", "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == status
    assert found["message"]
    if status == "infeasible":
        assert found["conflict"] == [{"rule": "memory", "text": "too small"}]
        assert found["repairs"][0]["text"] == "add"


def test_explain_tells_the_path_and_what_a_change_gives(folder: Path, capsys: Captured) -> None:
    assert main(["plan", "spec.yaml", "-q"]) == 0
    capsys.readouterr()
    assert main(["explain", "plan.json", "--path-only"]) == 0
    assert "critical path: 100.0% work on gpu" in capsys.readouterr().out
    asked = ["explain", "plan.json", "--json", "--seconds", "60", "--what-if", "speed=gpu:100%"]
    assert main(asked) == 0
    found = json.loads(capsys.readouterr().out)
    assert sum(step["seconds"] for step in found["critical_path"]) == found["makespan"]
    (answer,) = found["what_if"]
    assert (answer["verdict"], answer["value"]) == ("proven", pytest.approx(found["objective"] / 2))
    assert main(["explain", "plan.json", "--what-if", "sped=gpu"]) == 2
    assert "did you mean 'speed'" in capsys.readouterr().err


def test_what_clashes_and_what_helps_stand_in_the_json(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = InfeasibleError(
        "no plan keeps all of: a, b",
        conflict=("memory", "placement"),
        repair="give gpu.memory 1 GiB more",
        clashes=(Clash("memory", "a"), Clash("placement", "b")),
        repairs=(Repair("give gpu.memory 1 GiB more", "capacity", ("gpu.memory",), 1.0, 2.0),),
    )
    fake_search(monkeypatch, raising(error))
    assert main(["plan", "spec.yaml", "-q", "--json"]) == 3
    told = capsys.readouterr()
    assert told.err == "error: no plan keeps all of: a, b; give gpu.memory 1 GiB more\n"
    found = json.loads(told.out)
    assert found["constraints"] == ["memory", "placement"]
    assert found["conflict"][1] == {"rule": "placement", "text": "b"}
    assert found["repairs"][0]["what"] == ["gpu.memory"]
    assert (found["repairs"][0]["least"], found["repairs"][0]["enough"]) == (1.0, 2.0)


def test_debug_shows_the_traceback(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_search(monkeypatch, raising(RuntimeError("odd")))
    assert main(["--debug", "plan", "spec.yaml", "-q"]) == 70
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert told.endswith("with the output of 'parplan --debug ...'\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "Missing command"),
        (["plna"], "did you mean 'plan'?"),
        (["plan"], "Missing argument 'SPEC'"),
        (["plan", "none.yaml"], "none.yaml: no such file"),
        (["plan", "spec.yaml", "--nope"], "--nope"),
        (["plan", "spec.yaml", "--time-limit", "-1"], "no time limit"),
        (["plan", "spec.yaml", "--gap", "2"], "no gap"),
        (["plan", "spec.yaml", "--solver", "cpsat"], "no solver is named 'cpsat'"),
        (["plan", "spec.yaml", "-o", "none/plan.json"], "'none' does not exist"),
        (["plan", "spec.yaml", "-o", "."], "is a folder"),
        (["plan", "spec.yaml", "--plugin", "no_such_module"], "no_such_module"),
        (["check", "spec.yaml"], "is no JSON"),
        (["show", "none.json"], "no such file"),
        (["import", "nope", "x"], "no importer is named 'nope'"),
        (["import", "pipedream", "x", "--set", "title"], "'title' is no option"),
        (["import", "pipedream", "x", "--set", "title=[1"], "--set title"),
        (["init", "spec.yaml"], "already exists"),
        (["new-plugin", "../x"], "cannot name a plugin"),
    ],
)
def test_bad_usage_is_exit_code_2_and_one_message(
    arguments: list[str], text: str, folder: Path, capsys: Captured
) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert text in told.err
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1


def test_control_characters_in_a_message_are_made_visible(folder: Path, capsys: Captured) -> None:
    assert main(["plan", "\x1b]0;title\x07.yaml"]) == 2
    assert "\\x1b]0;title\\x07.yaml" in capsys.readouterr().err


def test_plan_is_saved_elsewhere_if_the_disk_is_full(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_search(monkeypatch, pipeline_plan)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    calls: list[int] = []

    def full_once(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full_once)
    assert main(["plan", "spec.yaml", "-q"]) == 2
    told = capsys.readouterr().err
    assert "plan.json: cannot be written: No space left on device" in told
    assert "the plan found has makespan 26.5 s, bound 13.25 s, and was saved as '" in told
    saved = Path(told.split("saved as '")[1].split("'")[0])
    assert load_plan(saved).value == pipeline_plan().value
    assert folder in saved.parents


def test_value_is_told_if_no_disk_takes_the_plan(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_search(monkeypatch, pipeline_plan)
    monkeypatch.setattr(atomic.os, "fsync", raising_on_call(OSError(errno.ENOSPC, "full")))
    assert main(["plan", "spec.yaml", "-q"]) == 2
    assert "makespan 26.5 s, bound 13.25 s, and could not be saved" in capsys.readouterr().err
    assert not (folder / "plan.json").exists()


def raising_on_call(error: BaseException) -> Callable[[int], None]:
    def act(_: int) -> None:
        raise error

    return act


# -- check and show -----------------------------------------------------------------------------


def test_check_lists_every_violation_and_returns_1(folder: Path, capsys: Captured) -> None:
    plan = pipeline_plan()
    tasks = attrs.evolve(plan.schedule.tasks, start=plan.schedule.tasks.start * 0)
    save_plan(attrs.evolve(plan, schedule=Schedule(plan.problem, tasks, plan.schedule.transfers)),
              "bad.json")  # fmt: skip
    assert main(["check", "bad.json"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"bad.json: {len(lines) - 1} violations"
    assert {line.split(":")[0] for line in lines[:-1]} >= {"devices", "objective"}


def test_show_draws_devices_memory_and_links(folder: Path, capsys: Captured) -> None:
    save_plan(pipeline_plan(), "plan.json")
    assert main(["show", "plan.json"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[3:9]] == [
        "gpu0", "memory", "gpu1", "memory", "0to1", "1to0",
    ]  # fmt: skip
    assert main(["show", "plan.json", "--html", "r.html", "--trace", "t.json"]) == 0
    assert capsys.readouterr().out == "report: r.html\ntrace: t.json\n"
    assert json.loads((folder / "t.json").read_text())["traceEvents"]


def test_show_refuses_a_schedule_with_holes(folder: Path, capsys: Captured) -> None:
    plan = pipeline_plan()
    t = plan.schedule.tasks
    tasks = Tasks(t.operator[1:], t.microbatch[1:], t.alternative[1:], t.start[1:])
    save_plan(attrs.evolve(plan, schedule=Schedule(plan.problem, tasks, plan.schedule.transfers)),
              "bad.json")  # fmt: skip
    for option in ([], ["--html", "r.html"], ["--trace", "t.json"]):
        assert main(["show", "bad.json", *option]) == 2
        assert "task 'f.0' (microbatch 0) is missing" in capsys.readouterr().err


def test_hostile_names_reach_no_terminal(folder: Path, capsys: Captured) -> None:
    save_plan(pipeline_plan(suffix=HOSTILE.replace("\ud800", "")), "plan.json")
    assert main(["show", "plan.json"]) == 0
    assert main(["check", "plan.json"]) == 0
    out = capsys.readouterr().out
    assert "\\x1b[31m" in out
    assert "\x1b" not in out


# -- the rest -----------------------------------------------------------------------------------


def test_init_writes_a_spec_that_can_be_planned(folder: Path, capsys: Captured) -> None:
    assert main(["init", "first.yaml"]) == 0
    assert "now run: parplan plan first.yaml" in capsys.readouterr().out
    assert main(["plan", "first.yaml", "--dry-run"]) == 0


def test_schema_is_json(capsys: Captured) -> None:
    assert main(["schema"]) == 0
    assert "model" in json.loads(capsys.readouterr().out)["properties"]


def test_costs_name_their_origin(folder: Path, capsys: Captured) -> None:
    assert main(["costs", "spec.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("second") and "2 ms" in line and "[1]" in line for line in lines)
    assert lines[-1].startswith("[1] measured; ")


def test_import_uses_a_plugin_of_the_working_folder(folder: Path, capsys: Captured) -> None:
    (folder / "model.txt").write_text("one two")
    arguments = ["import", "lines", "model.txt", "--set", "title=demo", "--plugin", "face_plugin"]
    assert main(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert main([*arguments, "-o", "g.json"]) == 0
    assert capsys.readouterr().out == "g.json: 2 operators, 0 tensors\n"
    assert json.loads((folder / "g.json").read_text()) == printed
    graph = load_graph("g.json")
    assert (graph.name, [o.name for o in graph.operators]) == ("demo", ["one", "two"])


def test_solvers_are_probed_and_a_sick_one_is_named(folder: Path, capsys: Captured) -> None:
    assert main(["--plugin", "face_plugin", "solvers"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert rows["cp-sat"].split()[1] == "yes"
    assert "no licence daemon" in rows["sick"]
    assert rows["absent"].split()[1] == "no"
    assert "pip install absent" in rows["absent"]


def test_plugins_are_listed_with_their_distribution(folder: Path, capsys: Captured) -> None:
    assert main(["plugins", "--plugin", "face_plugin"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["constraint", "memory", "parplan.plugins.builtins", "parplan"] in rows
    assert ["importer", "lines", "face_plugin", "-"] in rows


def test_new_plugin_writes_its_files(folder: Path, capsys: Captured) -> None:
    assert main(["new-plugin", "rack-power", "out"]) == 0
    written = capsys.readouterr().out.splitlines()
    assert "out/pyproject.toml" in written
    assert all((folder / path).is_file() for path in written)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: Captured) -> None:
    assert main([command, "--help"]) == 0
    assert f"parplan {command}" in capsys.readouterr().out


# -- in a process of its own --------------------------------------------------------------------


def test_starting_is_light() -> None:
    code = (
        "import sys, parplan, parplan.cli\n"
        "heavy = {'pyomo', 'ortools', 'highspy', 'numpy', 'networkx', 'rich', 'jinja2', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "[]\n"


def test_closed_pipe_is_silent() -> None:
    command = [sys.executable, "-m", "parplan", "schema"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk_behind_standard_output_is_told() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "parplan", "schema"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: cannot write to standard output: No space left on device\n"
