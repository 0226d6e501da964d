from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

import parplan
from parplan import api
from parplan.contracts import Progress
from parplan.errors import InputError
from parplan.graph import Graph, Mode, Operator
from parplan.plans import Plan
from parplan.registry import Registry
from parplan.schedule import Schedule
from tests.plan_samples import pipeline_plan, pipeline_problem

SPEC = """
model:
  operators: [{name: only, seconds: {"*": 1 ms}}]
cluster:
  devices: [{name: gpu}]
"""


def modules() -> list[str]:
    found = pkgutil.walk_packages(parplan.__path__, "parplan.")
    return [module.name for module in found if not module.name.endswith("__main__")]


def test_public_names_survive_importing_every_submodule() -> None:
    for name in modules():
        importlib.import_module(name)
    for name in parplan.__all__:
        value = getattr(parplan, name)
        assert not inspect.ismodule(value), name


def test_no_module_has_the_name_of_a_public_function() -> None:
    assert not {f"parplan.{name}" for name in parplan.__all__} & set(modules())


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(parplan.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(seen) == set(parplan.__all__) - {"__version__"}
    for name, module in seen.items():
        assert getattr(importlib.import_module(str(module)), str(name)) is getattr(
            parplan, str(name)
        )


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'plna'"):
        parplan.plna  # noqa: B018  # the access is what is tested


def test_importing_is_light_and_names_come_when_asked_for() -> None:
    code = (
        "import sys, parplan\n"
        "print('numpy' in sys.modules, 'plan' in dir(parplan))\n"
        "parplan.Problem\n"
        "print('numpy' in sys.modules, 'pyomo' in sys.modules, 'ortools' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False", "False", "False"]


def test_plan_from_a_file_and_from_a_problem(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC)
    news: list[Progress] = []
    found = parplan.plan(path, registry=registry, solver="list", report=news.append)
    assert found.value == pytest.approx(0.001)
    assert found.gap == 0
    assert news
    again = parplan.plan(found.problem, registry=registry, solver="list", time_limit_s=5)
    assert again.value == found.value
    changed = parplan.plan(
        path, registry=registry, overrides=["workload.microbatches=3"], solver="list"
    )
    assert changed.value == pytest.approx(0.003)


def test_a_graph_takes_the_place_of_the_model(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("cluster:\n  devices: [{name: gpu}]\n")
    graph = Graph("two", (
        Operator("first", modes=(Mode(seconds={"*": 0.001}),)),
        Operator("second", modes=(Mode(seconds={"*": 0.002}),)),
    ))  # fmt: skip
    found = parplan.plan(path, graph=graph, registry=registry, solver="list")
    assert found.value == pytest.approx(0.003)
    # The plan file stands alone: it holds the graph, as any other does.
    parplan.save_plan(found, tmp_path / "plan.json")
    assert parplan.check(tmp_path / "plan.json", registry=registry) == ()
    assert parplan.describe(path, graph=graph, registry=registry)["operators"] == 2
    path.write_text(SPEC)  # its model gives way
    assert api.prepare(path, graph=graph, registry=registry).problem == found.problem


def test_a_spec_without_a_model_needs_a_graph(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("cluster:\n  devices: [{name: gpu}]\n")
    with pytest.raises(InputError, match=r"spec\.yaml.*model.*is missing; write this section"):
        parplan.plan(path, registry=registry)
    problem = pipeline_problem()
    with pytest.raises(InputError, match="a problem has a graph of its own"):
        api.prepare(problem, graph=problem.graph, registry=registry)


def test_options_of_the_spec_hold_unless_changed(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC + "search: {solver: list, time_limit_s: 9, seed: 4}\n")
    options = api.prepare(path, registry=registry, time_limit_s=3).options
    assert (options.solver, options.time_limit_s, options.seed) == ("list", 3, 4)


def test_bad_option_of_a_rule_names_the_file_and_line(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC + "constraints:\n  - {name: memory, options: {limit: 3}}\n")
    with pytest.raises(InputError, match=r"spec\.yaml:\d+: .*limit"):
        parplan.plan(path, registry=registry)


def test_describe_searches_nothing(registry: Registry) -> None:
    found = parplan.describe(pipeline_problem(), registry=registry, solver="list")
    assert found["tasks"] == pipeline_problem().task_count


def test_check_of_a_plan_and_of_its_file(tmp_path: Path, registry: Registry) -> None:
    # The sample's bound is made up, and the checker says so.
    plan = attrs.evolve(pipeline_plan(), bound=None)
    assert parplan.check(plan, registry=registry) == ()
    parplan.save_plan(plan, tmp_path / "plan.json")
    assert parplan.check(tmp_path / "plan.json", registry=registry) == ()
    tasks = attrs.evolve(plan.schedule.tasks, start=plan.schedule.tasks.start + 1)
    moved = attrs.evolve(plan, schedule=Schedule(plan.problem, tasks, plan.schedule.transfers))
    assert {v.rule for v in parplan.check(moved, registry=registry)} >= {"objective"}


def _report_of_broken(plan: Plan, folder: Path, registry: Registry) -> str:
    """The report of a plan whose tasks all start at once."""
    tasks = attrs.evolve(plan.schedule.tasks, start=plan.schedule.tasks.start * 0)
    broken = attrs.evolve(plan, schedule=Schedule(plan.problem, tasks, plan.schedule.transfers))
    path = parplan.write_report(broken, folder / "broken.html", registry=registry)
    return path.read_text(encoding="utf-8")


def test_show_and_files(tmp_path: Path, registry: Registry) -> None:
    plan = pipeline_plan()
    assert "gpu1" in parplan.show(plan, registry=registry)
    assert "\x1b[" in parplan.show(plan, registry=registry, colour=True)
    assert "critical path: " in parplan.show(parplan.explain(plan, registry=registry))
    report = parplan.write_report(plan, tmp_path / "r.html", registry=registry)
    assert "What bounds the makespan" in report.read_text(encoding="utf-8")
    assert "What bounds the makespan" not in _report_of_broken(plan, tmp_path, registry)
    assert parplan.write_trace(plan, tmp_path / "t.json").is_file()
    assert parplan.write_svg(plan, tmp_path / "c.svg").read_text(encoding="utf-8")[:4] == "<svg"
    assert parplan.write_png(plan, tmp_path / "c.png").read_bytes()[1:4] == b"PNG"


def test_unit_of_an_unknown_objective_is_empty() -> None:
    plan = attrs.evolve(pipeline_plan(), objectives={"smiles": 3.0})
    assert api.unit_of(plan, Registry()) == ""
    assert "smiles      3" in parplan.show(plan, registry=Registry())


def test_every_function_of_the_interface_is_documented() -> None:
    page = Path(__file__).parents[1] / "docs" / "reference" / "python.md"
    text = page.read_text(encoding="utf-8")
    functions = [n for n in parplan.__all__ if inspect.isfunction(getattr(parplan, n, None))]
    inside = {"assemble_problem", "check_plan", "check_schedule"}
    assert [n for n in functions if f"`{n}(" not in text and n not in inside] == []
