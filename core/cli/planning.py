"""``parplan plan``: search, save, report."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parplan.cli.common import (
    check_folder,
    colour_wanted,
    json_option,
    load_registry,
    note,
    plugin_option,
    say,
)
from parplan.cli.failures import INTERRUPTED
from parplan.cli.interrupts import two_step_interrupt
from parplan.cli.output import emit, emit_json
from parplan.errors import InputError, ParplanError
from parplan.text import value_text

if TYPE_CHECKING:
    from parplan.api import Prepared
    from parplan.plans import Plan


@click.command("plan")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("plan.json"),
    show_default=True,
    help="Where the plan goes; '.gz' packs it.",
)
@click.option("--report", type=click.Path(path_type=Path), help="Write the HTML report here too.")
@click.option("--solver", metavar="NAME", help="Solver backend; 'parplan solvers' lists them.")
@click.option("--time-limit", type=float, metavar="S", help="Seconds for the whole search.")
@click.option(
    "--gap", type=float, metavar="G", help="Stop at this proven gap, as a part of the value."
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY.PATH=VALUE", help="Override a key of SPEC."
)
@plugin_option
@click.option("--dry-run", is_flag=True, help="Say what would be searched, and search nothing.")
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.pass_context
def plan_command(
    context: click.Context,
    spec: Path,
    output: Path,
    report: Path | None,
    solver: str | None,
    time_limit: float | None,
    gap: float | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Plan SPEC, and write a checked plan with its proven bound."""
    from parplan import api

    asked = {"solver": solver, "time_limit_s": time_limit, "gap": gap}
    changes: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    for path in (output, report):
        check_folder(path)
    registry = load_registry(context.obj)
    ready = api.prepare(spec, overrides=overrides, registry=registry, **changes)
    if dry_run:
        _tell_dry_run(ready, as_json=as_json)
        return
    plan = _search(ready, quiet=quiet)
    saved = _save(plan, output, ready)
    if report is not None:
        api.write_report(plan, report, registry=ready.registry)
    _tell(plan, ready, saved, report, as_json=as_json)
    if plan.provenance.get("interrupted"):
        note(f"interrupted; the best plan so far is in '{saved}'")
        context.exit(INTERRUPTED)


def _search(ready: Prepared, *, quiet: bool) -> Plan:
    from parplan.progress import show_progress
    from parplan.search.orchestrator import search

    unit = ready.rules.objectives[0].unit
    limit = ready.options.time_limit_s
    with two_step_interrupt(), show_progress(limit, unit, quiet=quiet) as told:
        return search(ready.problem, ready.rules, ready.registry, ready.options, told)


def _save(plan: Plan, output: Path, ready: Prepared) -> Path:
    """Write the plan; on failure try the folder for temporary files, so that it is not lost."""
    from parplan.plan_files.plan_file import save_plan

    try:
        save_plan(plan, output)
    except InputError as error:
        raise InputError(f"{error}; {_rescued(plan, output, ready)}") from error
    return output


def _rescued(plan: Plan, output: Path, ready: Prepared) -> str:
    from parplan.plan_files.plan_file import save_plan

    unit = ready.rules.objectives[0].unit
    found = f"the plan found has {next(iter(plan.objectives))} {value_text(plan.value, unit)}"
    if plan.bound is not None:
        found += f", bound {value_text(plan.bound.value, unit)}"
    try:
        place = Path(tempfile.mkdtemp(prefix="parplan-")) / output.name
        save_plan(plan, place)
    except (ParplanError, OSError):
        return f"{found}, and could not be saved in '{tempfile.gettempdir()}' either"
    return f"{found}, and was saved as '{place}' instead"


def _tell(plan: Plan, ready: Prepared, saved: Path, report: Path | None, *, as_json: bool) -> None:
    from parplan.figures.plan import figures_of, json_figures
    from parplan.terminal import plan_text

    figures = figures_of(plan, ready.rules.objectives[0].unit)
    if as_json:
        emit_json(json_figures(figures))
        return
    emit(plan_text(figures, gantt=False, colour=colour_wanted()))
    written = [f"plan: {saved}"] + ([] if report is None else [f"report: {report}"])
    emit("\n".join(written))


def _tell_dry_run(ready: Prepared, *, as_json: bool) -> None:
    from parplan.search import orchestrator

    found: Mapping[str, Any] = orchestrator.describe(
        ready.problem, ready.rules, ready.registry, ready.options
    )
    if as_json:
        emit_json({"status": "dry-run", **found})
    else:
        say(found)
