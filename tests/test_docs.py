"""The docs run as written, and name every hook, command, option, declaration and spec key."""

from __future__ import annotations

import doctest
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import attrs
import click
import pytest
from attrs import frozen

from parplan import contracts, declarations, hooks
from parplan.cli import COMMANDS, root
from parplan.graph import Estimate, Mode, ParameterGroup, Tensor
from parplan.hardware import Route
from parplan.options import SearchOptions
from parplan.plan_files.serialization import PlanData, ProblemData
from parplan.plugins.manager import load_registry
from parplan.problem import Rule
from parplan.spec.cluster import ChannelSpec, ClusterSpec, DeviceSpec, LinkSpec, NodeSpec
from parplan.spec.sections import ModelSpec, OperatorSpec, Spec, WorkloadSpec
from parplan.spec.structuring import keys_of

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
HOOKS = {name: value for name, value in vars(hooks).items() if name.startswith("parplan_")}

MAKE = re.compile(r"make ([a-z-]+)")
"""Commands of a clone; .ci/run calls the same targets, so they are not run from here."""


@frozen
class Block:
    """A fenced block; ``file=NAME`` after the language says where its text is to be written."""

    language: str
    file: str
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    pattern = r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$"
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(pattern, text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(found[1], found[2] or "", found[3], line)


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block with the output that the page shows."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        # A backslash at the end of a line continues the command.
        command, _, shown = re.sub(r"\\\n\s*", "", part).partition("\n")
        yield command, shown


def run(command: str, folder: Path) -> str:
    """Run a command as a reader would; pip installs into a folder beside, without a network."""
    site = folder / ".site"
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(site),
        "PIP_TARGET": str(site),
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "COLUMNS": "100",
    }
    result = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
    return result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page_runs(page: Path, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    compare = doctest.OutputChecker().check_output
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for block in blocks(page):
        where = f"{page.name}:{block.line}"
        if block.file:
            path = tmp_path / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            (tmp_path / ".block.py").write_text(block.text, encoding="utf-8")
            run("python .block.py", tmp_path)
        elif block.language == "console":
            for command, shown in commands(block):
                target = MAKE.fullmatch(command)
                if target is not None:
                    assert f"\n{target[1]}:" in (ROOT / "Makefile").read_text(), where
                    continue
                printed = run(command, tmp_path)
                assert not shown or compare(shown, printed, flags), f"{where}: {printed}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page_uses_known_block_languages(page: Path) -> None:
    known = {"python", "console", "yaml", "json", "text", "toml"}
    assert {block.language for block in blocks(page)} <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    inside = [link for link in links if "://" not in link]
    assert [link for link in inside if not (page.parent / link).exists()] == []


def test_every_page_can_be_reached_from_the_index() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} - {"index.md"}
    assert {page for page in pages if f"({page})" not in index} == set()


@pytest.mark.parametrize("name", HOOKS)
def test_hook_is_documented_with_its_signature(name: str) -> None:
    signature = str(inspect.signature(HOOKS[name])).replace("'", "")
    assert f"`{name}{signature}`" in (DOCS / "reference/hooks.md").read_text(encoding="utf-8")


def signatures_of(contract: type) -> list[str]:
    """Return the methods of a contract as they are written in the reference."""
    methods = [
        (name, value)
        for name, value in vars(contract).items()
        if inspect.isfunction(value) and not name.startswith("_")
    ]
    return [f"{name}{inspect.signature(value)}".replace("'", "") for name, value in methods]


CONTRACTS = (
    contracts.Constraint,
    contracts.Objective,
    contracts.Solver,
    contracts.Importer,
    contracts.Exporter,
    contracts.Runtime,
    contracts.Strategy,
    contracts.CostModel,
    contracts.ExecutorFactory,
)


@pytest.mark.parametrize("contract", CONTRACTS)
def test_contract_is_documented_with_its_methods(contract: type) -> None:
    page = (DOCS / "reference/hooks.md").read_text(encoding="utf-8")
    assert [s for s in signatures_of(contract) if f"`{s}`" not in page] == []


def constructor_of(declared: type) -> str:
    """Return a declaration's call with its defaults, as it is written in the reference."""
    parts = []
    for attribute in attrs.fields(declared):
        default = attribute.default
        shown = "" if default is attrs.NOTHING else f"={getattr(default, 'name', repr(default))}"
        parts.append(f"{attribute.name}{shown}")
    return f"{declared.__name__}({', '.join(parts)})"


@pytest.mark.parametrize(
    "declared", [*get_args(declarations.Declaration), *get_args(declarations.Demand)]
)
def test_declaration_is_documented_with_its_fields(declared: type) -> None:
    page = (DOCS / "reference/declarations.md").read_text(encoding="utf-8")
    assert f"`{constructor_of(declared)}`" in page


def section(text: str, heading: str) -> str:
    """Return the part of a page under a heading of the second level; empty if there is none."""
    found = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_documented_with_its_options(name: str) -> None:
    page = (DOCS / "reference/cli.md").read_text(encoding="utf-8")
    command = root.get_command(click.Context(root), name)
    assert command is not None
    body = section(page, f"parplan {name}")
    named = [
        p.make_metavar(click.Context(command))
        for p in command.params
        if p.param_type_name == "argument"
    ]
    options = [o for p in command.params if isinstance(p, click.Option) for o in p.opts]
    assert [name for name in [*named, *options] if name not in body] == []
    assert body


def test_options_of_every_command_are_documented() -> None:
    page = (DOCS / "reference/cli.md").read_text(encoding="utf-8")
    options = [o for p in root.params for o in getattr(p, "opts", ())]
    assert [name for name in options if f"`{name}" not in page] == []


SPEC_SECTIONS = {
    "The whole file": Spec,
    "model": ModelSpec,
    "model.operators[]": OperatorSpec,
    "model.operators[].modes[]": Mode,
    "model.tensors[]": Tensor,
    "model.parameters[]": ParameterGroup,
    "cluster": ClusterSpec,
    "cluster.devices[]": DeviceSpec,
    "cluster.intra, cluster.inter": ChannelSpec,
    "cluster.links[]": LinkSpec,
    "cluster.routes[]": Route,
    "workload": WorkloadSpec,
    "search": SearchOptions,
}


def keys_in(page: str, heading: str) -> list[str]:
    """Return the keys in the first column of the table under a heading."""
    body = section((DOCS / page).read_text(encoding="utf-8"), heading)
    rows = re.findall(r"^\| (`.*?`) \|", body, re.MULTILINE)
    return [key for row in rows for key in re.findall(r"`([^`]+)`", row)]


@pytest.mark.parametrize("heading", SPEC_SECTIONS)
def test_spec_section_names_exactly_its_keys(heading: str) -> None:
    assert sorted(keys_in("reference/spec.md", heading)) == sorted(keys_of(SPEC_SECTIONS[heading]))


@pytest.mark.parametrize(("heading", "data"), [("plan", PlanData), ("plan.problem", ProblemData)])
def test_plan_file_section_names_exactly_its_keys(heading: str, data: type) -> None:
    assert sorted(keys_in("reference/plan-file.md", heading)) == sorted(keys_of(data))


def test_every_class_of_a_spec_has_its_section() -> None:
    known: set[type] = {NodeSpec, Rule, Estimate}
    found: list[type] = [Spec]
    for cls in found:
        resolved = attrs.resolve_types(cls)
        types = [f.type for f in attrs.fields(resolved) if f.name in keys_of(cls)]
        found += {inner for kind in types for inner in _classes_in(kind)} - {*found}
    assert {*found} - known == {*SPEC_SECTIONS.values()}


def _classes_in(annotation: object) -> Iterator[type]:
    if isinstance(annotation, type) and attrs.has(annotation):
        yield annotation
    for inner in get_args(annotation):
        yield from _classes_in(inner)


@pytest.mark.parametrize(
    ("page", "example", "spec"),
    [
        ("constraint-plugin", "rack-power", "rack-power.yaml"),
        ("strategy-plugin", "eager-1f1b", "slow-links.yaml"),
    ],
)
def test_tutorial_ends_with_the_example(page: str, example: str, spec: str) -> None:
    written = {block.file: block.text for block in blocks(DOCS / f"tutorial/{page}.md")}
    folder, module = ROOT / "examples" / example, f"parplan_{example.replace('-', '_')}.py"
    source = (folder / module).read_text(encoding="utf-8")
    assert written[f"parplan-{example}/{module}"] == source
    assert written[spec] == (folder / "specs" / spec).read_text(encoding="utf-8")


BUILTINS = load_registry(installed=False)
KIND_HEADINGS = {
    "constraints": "Constraints",
    "objectives": "Objectives",
    "solvers": "Solvers",
    "importers": "Importers",
    "exporters": "Exporters",
    "runtimes": "Runtimes",
    "strategies": "Strategies",
    "heuristics": "Placement heuristics",
    "neighbourhoods": "Neighbourhoods",
    "cost_models": "Cost models",
    "executors": "Executors",
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in KIND_HEADINGS for name in getattr(BUILTINS, kind)]
)
def test_builtin_is_documented_with_its_options(kind: str, name: str) -> None:
    page = section(
        (DOCS / "reference/builtins.md").read_text(encoding="utf-8"), KIND_HEADINGS[kind]
    )
    found = re.search(rf"^### {re.escape(name)}$(.*?)(?=^### |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    value: Any = BUILTINS.get(kind, name).value
    cls = value.options if kind == "importers" else value
    assert [option for option in keys_of(cls) if f"`{option}`" not in found[1]] == []
