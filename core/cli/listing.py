"""``parplan solvers`` and ``parplan plugins``: what is here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from parplan.cli.common import Settings, colour_wanted, load_registry, plugin_option
from parplan.cli.output import emit
from parplan.errors import PluginError

if TYPE_CHECKING:
    from parplan.registry import Registered, Registry

KINDS = (
    "constraints",
    "objectives",
    "solvers",
    "importers",
    "exporters",
    "runtimes",
    "strategies",
    "heuristics",
    "neighbourhoods",
    "cost_models",
    "executors",
)


@click.command("solvers")
@plugin_option
@click.pass_obj
def solvers_command(settings: Settings) -> None:
    """List the solvers, and try whether each runs here."""
    from parplan.figures.plan import Table
    from parplan.terminal import render, shown

    registry = load_registry(settings)
    rows = (_solver_row(entry) for entry in registry.solvers.values())
    columns = ("solver", "runs here", "version", "can", "remarks")
    emit(render([shown(Table("", columns, rows, 5))], colour=colour_wanted()))


def _solver_row(entry: Registered[Any]) -> tuple[str, ...]:
    from parplan.contracts import Availability
    from parplan.rules import guarded

    solver = entry.value
    try:
        found = guarded(entry, "probe", solver.probe)
    except PluginError as error:
        found = Availability(False, reason=str(error))
    can = ", ".join(sorted(solver.capabilities))
    remarks = "; ".join(text for text in (found.reason, found.limit) if text)
    return entry.name, "yes" if found.available else "no", found.version or "-", can, remarks


@click.command("plugins")
@plugin_option
@click.pass_obj
def plugins_command(settings: Settings) -> None:
    """List every extension and where it came from."""
    from parplan.figures.plan import Table
    from parplan.terminal import render, shown

    registry = load_registry(settings)
    columns = ("kind", "name", "plugin", "distribution")
    emit(render([shown(Table("", columns, _plugin_rows(registry), 4))], colour=colour_wanted()))


def _plugin_rows(registry: Registry) -> list[tuple[str, ...]]:
    return [
        (kind.removesuffix("s").replace("strategie", "strategy").replace("_", " "), entry.name,
         entry.plugin, entry.distribution or "-")
        for kind in KINDS
        for entry in getattr(registry, kind).values()
    ]  # fmt: skip
