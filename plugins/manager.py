"""Finds plugins (built-in, entry points, modules by name) and makes the registry of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.metadata import entry_points
from typing import Any

import pluggy

from parplan import hooks
from parplan.errors import PluginError
from parplan.registry import Registered, Registry

BUILTINS = ("parplan.plugins.builtins",)
"""Modules with parplan's own plugins, found through the same hooks as everybody's."""

KINDS = tuple(name for name in vars(hooks) if name.startswith("parplan_"))


def load_registry(plugins: Sequence[str | object] = (), *, installed: bool = True) -> Registry:
    """Return everything that is installed, by kind and name.

    Parameters
    ----------
    plugins
        Further plugins: modules by dotted name, or objects with hook functions.
    installed
        Whether to look for entry points of the group ``parplan``.

    Raises
    ------
    PluginError
        If two plugins give the same name, or one of ``plugins`` cannot be loaded. An installed
        plugin that cannot be loaded is kept in ``Registry.failures`` instead.
    """
    found: dict[str, dict[str, Registered[Any]]] = {kind: {} for kind in KINDS}
    failures: list[PluginError] = []
    for name in BUILTINS:
        _collect(found, importlib.import_module(name), name, "parplan")
    for entry in entry_points(group=hooks.PROJECT) if installed else ():
        distribution = entry.dist.name if entry.dist else ""
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
        **{kind.removeprefix("parplan_"): found[kind] for kind in KINDS}, failures=tuple(failures)
    )


def _collect(
    found: dict[str, dict[str, Registered[Any]]], plugin: Any, name: str, distribution: str
) -> None:
    """Add what one plugin gives, all of it or (on an error) nothing."""
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    _guard(name, distribution, "register", lambda: manager.register(plugin, name))
    _guard(name, distribution, "check_pending", manager.check_pending)
    fresh: list[tuple[str, Registered[Any]]] = []
    for kind in KINDS:
        results: list[Iterable[Any]] = _guard(name, distribution, kind, getattr(manager.hook, kind))
        for value in (v for result in results for v in result):
            key = getattr(value, "name", None)
            if not isinstance(key, str):
                raise PluginError(
                    f"{value!r} has no name", plugin=name, hook=kind, distribution=distribution
                )
            known = found[kind].get(key)
            if known is not None:
                raise PluginError(
                    f"'{key}' is already given by plugin '{known.plugin}' (from "
                    f"{known.distribution or 'no distribution'}); rename one of the two",
                    plugin=name,
                    hook=kind,
                    distribution=distribution or None,
                )
            fresh.append((kind, Registered(key, value, name, distribution)))
    for kind, entry in fresh:
        found[kind][entry.name] = entry


def _guard(name: str, distribution: str, hook: str, call: Callable[[], Any]) -> Any:
    """Run a plugin's code; whatever it raises (SystemExit too) names the plugin."""
    try:
        return call()
    except PluginError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{type(error).__name__}: {error}",
            plugin=name,
            hook=hook,
            distribution=distribution or None,
        ) from error
