"""The distribution holds what it should, and the parts depend on each other one way only."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "core": "parplan",
    "plugins": "parplan.plugins",
    "constraints": "parplan.constraints",
    "objectives": "parplan.objectives",
}
SOLVER_LIBRARIES = ("pyomo", "ortools", "highspy")
FACES = {"parplan.api", "parplan.cli"}
BUILTIN_KINDS = ("parplan.plugins", "parplan.constraints", "parplan.objectives")


def _module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    parts[0] = FOLDERS[parts[0]]
    return ".".join(parts).removesuffix(".__init__")


MODULES = {_module_name(p): p for folder in FOLDERS for p in sorted((ROOT / folder).rglob("*.py"))}
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _import_nodes(
    node: ast.AST, *, runtime_only: bool, module_level: bool
) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        skipped = (runtime_only and _is_type_checking(child)) or (
            module_level and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        )
        if not skipped:
            yield from _import_nodes(child, runtime_only=runtime_only, module_level=module_level)


def _imports(module: str, *, runtime_only: bool = False, module_level: bool = False) -> set[str]:
    """Return the parplan modules that a module names in its import statements."""
    tree = ast.parse(MODULES[module].read_text())
    found = set()
    for node in _import_nodes(tree, runtime_only=runtime_only, module_level=module_level):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & set(MODULES)
            found |= submodules or {node.module}
    return {name for name in found if name.split(".")[0] == "parplan"}


def _setuptools() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_package_list_equals_the_tree() -> None:
    listed = _setuptools()["packages"]
    assert sorted(listed) == sorted(PACKAGES)


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in MODULES.values()}
    assert [f for f in folders if not (f / "__init__.py").exists()] == []


def test_folders_map_to_the_import_names() -> None:
    mapping = _setuptools()["package-dir"]
    assert mapping == {package: folder for folder, package in FOLDERS.items()}


def test_data_files_are_in_the_package_data() -> None:
    patterns = _setuptools()["package-data"]
    packed = {
        path
        for package, globs in patterns.items()
        for pattern in globs
        for path in MODULES[package].parent.glob(pattern)
        if path.is_file()
    }
    tree = {
        path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".py" and path.parent.name != "__pycache__"
    }
    assert packed == tree


@pytest.mark.parametrize("name", ["plugins", "constraints", "objectives"])
def test_no_folder_of_the_core_hides_a_package(name: str) -> None:
    assert not (ROOT / "core" / name).exists()


@pytest.mark.parametrize("module", [m for m in MODULES if not m.startswith(BUILTIN_KINDS)])
def test_core_imports_no_builtin(module: str) -> None:
    allowed = {"parplan.plugins.manager"} if module in FACES else set()
    builtin = {name for name in _imports(module) if name.startswith(BUILTIN_KINDS)}
    assert builtin <= allowed


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith(BUILTIN_KINDS)])
def test_builtins_do_not_import_each_other(module: str) -> None:
    def room(name: str) -> str:
        # Each sub-package of plugins is a room of its own; modules in one room may share code.
        depth = 3 if name.startswith("parplan.plugins") else 2
        return ".".join(name.split(".")[:depth])

    others = {name for name in _imports(module) if name.startswith(BUILTIN_KINDS)}
    assert {name for name in others if room(name) != room(module)} == set()


@pytest.mark.parametrize("room", ["parplan.constraints", "parplan.objectives"])
def test_rules_stand_alone(room: str) -> None:
    inside = [m for m in MODULES if m.startswith(f"{room}.")]
    assert {m for m in inside if any(n.startswith(room) for n in _imports(m))} == set()


def test_only_the_faces_import_the_plugin_manager() -> None:
    importers = {m for m in MODULES if "parplan.plugins.manager" in _imports(m)}
    assert importers <= FACES


def test_no_import_cycles() -> None:
    graph = nx.DiGraph(
        (module, name)
        for module in MODULES
        for name in _imports(module, runtime_only=True, module_level=True)
        # Every module needs its parent package anyway; that is no cycle of our making.
        if not module.startswith(f"{name}.")
    )
    assert list(nx.simple_cycles(graph)) == []


def test_no_relative_imports() -> None:
    relative = {
        module
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    }
    assert relative == set()


def test_importing_parplan_takes_no_solver_library() -> None:
    code = f"import parplan, sys; print([n for n in {SOLVER_LIBRARIES} if n in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_a_search_that_needs_no_model_does_without_pyomo() -> None:
    """Pyomo, and what it makes others load, doubles the time of a short search."""
    code = (
        "import sys, parplan.api, parplan.search.orchestrator; parplan.api.load_registry(); "
        "print([n for n in ('pyomo', 'ortools', 'scipy.stats') if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr


def test_every_public_name_survives_importing_every_submodule() -> None:
    code = f"""
import importlib, parplan
before = {{name: getattr(parplan, name) for name in getattr(parplan, "__all__", ())}}
for name in {sorted(MODULES)}:
    if not name.endswith("__main__"):
        importlib.import_module(name)
lost = [name for name, value in before.items() if getattr(parplan, name) is not value]
assert not lost, lost
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of the files in the wheel, built from a copy that no earlier build has touched."""
    copy = tmp_path_factory.mktemp("tree") / "source"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for folder in FOLDERS:
        shutil.copytree(
            ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", "."]
    subprocess.run(build, cwd=copy, capture_output=True, text=True, check=True)
    (wheel,) = (copy / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_wheel_holds_parplan_and_nothing_else(wheel_names: list[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_names}
    assert tops == {"parplan", *(top for top in tops if top.endswith(".dist-info"))}


def test_wheel_holds_every_module_and_data_file(wheel_names: list[str]) -> None:
    expected = {
        f"{FOLDERS[folder].replace('.', '/')}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "parplan/py.typed" in expected
    assert {name for name in wheel_names if name.startswith("parplan/")} == expected
