"""Plugins are found by every door; a broken one is named and contained."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from parplan.contracts import Constraint, Objective
from parplan.errors import InputError, PluginError
from parplan.hooks import hookimpl
from parplan.plugins.manager import load_registry

GOOD = """
from attrs import frozen
from parplan.contracts import Constraint
from parplan.hooks import hookimpl

@frozen
class Quiet(Constraint):
    name = "{name}"

@hookimpl
def parplan_constraints():
    return [Quiet]
"""

Install = Callable[..., None]


class Night(Constraint):
    name = "night"


class Day(Objective):
    name = "day"


def plugin(**hooks: Callable[[], object]) -> SimpleNamespace:
    """Return a plugin object with these hook functions."""
    return SimpleNamespace(**{name: hookimpl(function) for name, function in hooks.items()})


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Write a module and the metadata of a distribution with an entry point to it."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(distribution: str, source: str) -> None:
        module = f"{distribution.replace('-', '_')}_module"
        monkeypatch.delitem(sys.modules, module, raising=False)
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{distribution}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(f"[parplan]\n{distribution} = {module}\n")

    return write


def test_builtins_come_from_parplan() -> None:
    registry = load_registry(installed=False)
    assert {"devices", "links", "memory"} <= set(registry.constraints)
    assert registry.objectives["makespan"].distribution == "parplan"
    assert registry.failures == ()


def test_installed_plugin_is_found_with_its_origin(install: Install) -> None:
    install("quiet-hours", GOOD.format(name="quiet"))
    found = load_registry().constraints["quiet"]
    assert (found.plugin, found.distribution) == ("quiet-hours", "quiet-hours")


def test_installed_plugins_can_be_left_out(install: Install) -> None:
    install("quiet-hours", GOOD.format(name="quiet"))
    assert "quiet" not in load_registry(installed=False).constraints


def test_module_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "by_name_plugin.py").write_text(GOOD.format(name="by-name"))
    found = load_registry(["by_name_plugin"], installed=False).constraints["by-name"]
    assert (found.plugin, found.distribution) == ("by_name_plugin", "")


def test_object_is_a_plugin() -> None:
    given = plugin(parplan_constraints=lambda: [Night], parplan_objectives=lambda: [Day])
    registry = load_registry([given], installed=False)
    assert registry.constraints["night"].value is Night
    assert registry.objectives["day"].value is Day


def test_installed_plugin_given_again_counts_once(install: Install) -> None:
    install("quiet-hours", GOOD.format(name="quiet"))
    registry = load_registry(["quiet_hours_module"])
    assert registry.constraints["quiet"].distribution == "quiet-hours"


def test_none_means_nothing() -> None:
    registry = load_registry([plugin(parplan_constraints=lambda: None)], installed=False)
    assert registry.constraints == load_registry(installed=False).constraints


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import no_such_module_anywhere", "no_such_module_anywhere"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_installed_plugin_that_cannot_be_imported_is_contained(
    install: Install, source: str, cause: str
) -> None:
    install("quiet-hours", GOOD.format(name="quiet"))
    install("broken-thing", source)
    registry = load_registry()
    assert "quiet" in registry.constraints
    (failure,) = registry.failures
    assert (failure.plugin, failure.distribution, failure.hook) == (
        "broken-thing",
        "broken-thing",
        "import",
    )
    assert cause in str(failure)


def test_name_that_a_broken_plugin_would_give_is_explained(install: Install) -> None:
    install("broken-thing", "import no_such_module_anywhere")
    with pytest.raises(InputError, match=r"no constraint is named 'quiet'.*broken-thing"):
        load_registry().get("constraints", "quiet")


def test_named_module_that_cannot_be_imported_is_an_error() -> None:
    with pytest.raises(PluginError, match=r"plugin 'no_such\.module', in import"):
        load_registry(["no_such.module"], installed=False)


def _raise() -> object:
    raise ZeroDivisionError("halves of nothing")


def _raise_late() -> object:
    yield Night
    raise ZeroDivisionError("halves of nothing")


@pytest.mark.parametrize("hook", [_raise, _raise_late])
def test_hook_that_raises_is_named_and_gives_nothing(hook: Callable[[], object]) -> None:
    with pytest.raises(PluginError, match="halves of nothing") as caught:
        load_registry([plugin(parplan_constraints=hook)], installed=False)
    assert caught.value.hook == "parplan_constraints"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Night, "not iterable"),
        ([Night()], "is no subclass of parplan.contracts.Constraint"),
        ([Day], "is no subclass of parplan.contracts.Constraint"),
        ([Constraint], "has no name"),
    ],
)
def test_hook_that_returns_something_else_is_refused(value: object, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        load_registry([plugin(parplan_constraints=lambda: value)], installed=False)


def test_class_where_an_object_is_asked_for_is_refused() -> None:
    with pytest.raises(PluginError, match=r"is no object of parplan\.contracts\.Solver"):
        load_registry([plugin(parplan_solvers=lambda: [Night])], installed=False)


def test_misspelt_hook_is_an_error() -> None:
    with pytest.raises(PluginError, match="parplan_constraint"):
        load_registry([plugin(parplan_constraint=lambda: [Night])], installed=False)


def test_hook_with_an_argument_too_many_is_an_error() -> None:
    given = SimpleNamespace(parplan_constraints=hookimpl(lambda problem: [Night]))
    with pytest.raises(PluginError, match="problem"):
        load_registry([given], installed=False)


def test_name_of_a_builtin_cannot_be_taken(install: Install) -> None:
    install("memory-thief", GOOD.format(name="memory"))
    (failure,) = load_registry().failures
    assert "memory-thief" in str(failure)
    assert "'memory' is already given by plugin 'parplan.plugins.builtins'" in str(failure)
    assert "(from parplan)" in str(failure)


def test_two_plugins_of_one_name_are_both_named(install: Install) -> None:
    install("first-quiet", GOOD.format(name="quiet"))
    install("second-quiet", GOOD.format(name="quiet"))
    (failure,) = load_registry().failures
    assert failure.plugin == "second-quiet"
    assert "plugin 'first-quiet' (from first-quiet)" in str(failure)


def test_one_plugin_cannot_give_a_name_twice() -> None:
    with pytest.raises(PluginError, match="'night' is already given"):
        load_registry([plugin(parplan_constraints=lambda: [Night, Night])], installed=False)
