"""Finds plugins (built-in, entry points, modules by name) and makes the registry of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib.metadata import entry_points
from typing import Any

import pluggy
from attrs import define, field

from parplan import contracts, hooks
from parplan.errors import PluginError
from parplan.registry import Registered, Registry

BUILTINS = ("parplan.plugins.builtins",)
"""Modules with parplan's own plugins, found through the same hooks as everybody's."""

CLASSES: Mapping[str, type] = {
    "parplan_constraints": contracts.Constraint,
    "parplan_objectives": contracts.Objective,
    "parplan_strategies": contracts.Strategy,
    "parplan_cost_models": contracts.CostModel,
}
"""Hooks that return classes, which are made from their options for each problem."""

OBJECTS: Mapping[str, type] = {
    "parplan_solvers": contracts.Solver,
    "parplan_importers": contracts.Importer,
    "parplan_exporters": contracts.Exporter,
    "parplan_runtimes": contracts.Runtime,
    "parplan_heuristics": contracts.PlacementHeuristic,
    "parplan_neighbourhoods": contracts.Neighbourhood,
    "parplan_executors": contracts.ExecutorFactory,
}
"""Hooks that return objects."""


@define
class _Found:
    """What has been collected so far; ``loaded`` are the plugins, so that none counts twice."""

    entries: dict[str, dict[str, Registered[Any]]] = field(
        factory=lambda: {hook: {} for hook in (*CLASSES, *OBJECTS)}
    )
    loaded: list[object] = field(factory=list)


def load_registry(plugins: Sequence[str | object] = (), *, installed: bool = True) -> Registry:
    """Return everything that is installed, by kind and name.

    Parameters
    ----------
    plugins
        Further plugins: modules by dotted name, or objects with hook functions. One that is
        installed as well counts once.
    installed
        Whether to look for entry points of the group ``parplan``.

    Raises
    ------
    PluginError
        If two plugins give the same name, or one of ``plugins`` cannot be loaded. An installed
        plugin that cannot be loaded is kept in ``Registry.failures`` instead.
    """
    found = _Found()
    failures: list[PluginError] = []
    for name in BUILTINS:
        _collect(found, importlib.import_module(name), name, "parplan")
    for distribution, entry in _installed() if installed else ():
        try:
            plugin = _guard(entry.name, distribution, "import", entry.load)
            _collect(found, plugin, entry.name, distribution)
        except PluginError as error:
            failures.append(error)
    for given in plugins:
        name = given if isinstance(given, str) else getattr(given, "__name__", repr(given))
        plugin = given
        if isinstance(given, str):
            plugin = _guard(name, "", "import", partial(importlib.import_module, given))
        _collect(found, plugin, name, "")
    return Registry(
        **{hook.removeprefix("parplan_"): rows for hook, rows in found.entries.items()},
        failures=tuple(failures),
    )


def _installed() -> list[tuple[str, Any]]:
    """Return (distribution, entry point), in an order that does not depend on ``sys.path``."""
    entries = entry_points(group=hooks.PROJECT)
    named = [(entry.dist.name if entry.dist else "", entry) for entry in entries]
    return sorted(named, key=lambda pair: (pair[0], pair[1].name))


def _collect(found: _Found, plugin: Any, name: str, distribution: str) -> None:
    """Add what one plugin gives, all of it or (on an error) nothing."""
    if any(plugin is known for known in found.loaded):
        return
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    _guard(name, distribution, "register", lambda: manager.register(plugin, name))
    _guard(name, distribution, "register", manager.check_pending)
    fresh: dict[tuple[str, str], Registered[Any]] = {}
    for hook, known in found.entries.items():
        for value in _guard(name, distribution, hook, partial(_results, manager, hook)):
            try:
                key = _checked_name(hook, value)
                other = fresh.get((hook, key)) or known.get(key)
                if other is not None:
                    raise ValueError(
                        f"'{key}' is already given by plugin '{other.plugin}' (from "
                        f"{other.distribution or 'no distribution'}); rename one of the two"
                    )
            except ValueError as error:
                raise _failure(str(error), name, distribution, hook) from None
            fresh[hook, key] = Registered(key, value, name, distribution)
    for (hook, key), entry in fresh.items():
        found.entries[hook][key] = entry
    found.loaded.append(plugin)


def _results(manager: pluggy.PluginManager, hook: str) -> list[Any]:
    """Return all that a plugin gives for a hook; generators run here, where errors are guarded."""
    results: list[Iterable[Any]] = getattr(manager.hook, hook)()
    return [value for result in results for value in result]


def _checked_name(hook: str, value: Any) -> str:
    """Return the name of an extension; ValueError if it is not what the hook asks for."""
    if hook in CLASSES:
        base = CLASSES[hook]
        if not (isinstance(value, type) and issubclass(value, base)):
            raise ValueError(f"{value!r} is no subclass of parplan.contracts.{base.__name__}")
    elif not isinstance(value, OBJECTS[hook]):
        raise ValueError(f"{value!r} is no object of parplan.contracts.{OBJECTS[hook].__name__}")
    name = getattr(value, "name", None)
    if not isinstance(name, str) or not name:
        raise ValueError(f"{value!r} has no name; set the class attribute 'name'")
    return name


def _guard(name: str, distribution: str, hook: str, call: Callable[[], Any]) -> Any:
    """Run a plugin's code; whatever it raises (SystemExit too) names the plugin."""
    try:
        return call()
    except PluginError:
        raise
    except (Exception, SystemExit) as error:
        message = f"{type(error).__name__}: {error}"
        raise _failure(message, name, distribution, hook) from error


def _failure(message: str, name: str, distribution: str, hook: str) -> PluginError:
    return PluginError(message, plugin=name, hook=hook, distribution=distribution or None)
