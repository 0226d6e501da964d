"""``parplan compare``: the plan found beside every hand-made schedule."""

from __future__ import annotations

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
)
from parplan.cli.failures import INTERRUPTED
from parplan.cli.interrupts import two_step_interrupt
from parplan.cli.output import emit, emit_json
from parplan.text import plain

if TYPE_CHECKING:
    from parplan.api import Prepared
    from parplan.comparison import Comparison


@click.command("compare")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "--with",
    "schedules",
    metavar="NAME,...",
    default="",
    help="Compare with these hand-made schedules alone; 'parplan plugins' lists strategies.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Keep every schedule in this file; '.gz' packs it.",
)
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    help="Draw the schedules one above the other in this HTML file.",
)
@click.option("--solver", metavar="NAME", help="Solver backend; 'parplan solvers' lists them.")
@click.option("--time-limit", type=float, metavar="S", help="Seconds for the whole comparison.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY.PATH=VALUE", help="Override a key of SPEC."
)
@plugin_option
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.pass_context
def compare_command(
    context: click.Context,
    spec: Path,
    schedules: str,
    output: Path | None,
    html: Path | None,
    solver: str | None,
    time_limit: float | None,
    overrides: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Plan SPEC, and show the plan beside every hand-made schedule.

    All stand under the same costs, memory rule and links; what does not fit says why.
    """
    from parplan import api

    asked = {"solver": solver, "time_limit_s": time_limit}
    changes: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    for path in (output, html):
        check_folder(path)
    ready = api.prepare(spec, overrides=overrides, registry=load_registry(context.obj), **changes)
    names = [name.strip() for name in schedules.split(",") if name.strip()]
    comparison = _compare(ready, names, quiet=quiet)
    if output is not None:
        from parplan.plan_files.plan_file import save_comparison

        save_comparison(comparison, output)
    if html is not None:
        api.write_comparison(comparison, html, registry=ready.registry)
    _tell(comparison, ready, output, html, as_json=as_json)
    if comparison.is_interrupted:
        note("interrupted; the plan is the best so far")
        context.exit(INTERRUPTED)


def _compare(ready: Prepared, names: list[str], *, quiet: bool) -> Comparison:
    from parplan.progress import show_progress
    from parplan.search.comparing import compare

    unit, options = ready.rules.objectives[0].unit, ready.options
    with (
        two_step_interrupt(),
        show_progress(options.time_limit_s, unit, quiet=quiet) as told,
    ):
        return compare(ready.problem, ready.rules, ready.registry, options, names, told)


def _tell(
    comparison: Comparison,
    ready: Prepared,
    output: Path | None,
    html: Path | None,
    *,
    as_json: bool,
) -> None:
    from parplan.figures.comparison import comparison_figures, json_comparison
    from parplan.figures.plan import figures_of
    from parplan.terminal import comparison_text

    unit = ready.rules.objectives[0].unit
    figures = comparison_figures(comparison, unit)
    if as_json:
        emit_json(json_comparison(figures, figures_of(comparison.plan, unit)))
        return
    emit(comparison_text(figures, colour=colour_wanted()))
    for what, path in (("schedules", output), ("drawing", html)):
        if path is not None:
            emit(plain(f"{what}: {path}"))
