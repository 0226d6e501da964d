"""``parplan show`` and ``parplan check``: look at a plan file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from parplan.cli.common import Settings, colour_wanted, load_registry, plugin_option
from parplan.cli.output import emit
from parplan.text import plain, value_text

if TYPE_CHECKING:
    from parplan.plans import Plan

VIOLATED = 1


@click.command("show")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--html", type=click.Path(path_type=Path), help="Write the HTML report here.")
@click.option("--trace", type=click.Path(path_type=Path), help="Write a Perfetto trace here.")
@click.option("--svg", type=click.Path(path_type=Path), help="Write the Gantt chart here.")
@click.option("--png", type=click.Path(path_type=Path), help="Write it as PNG (extra 'png').")
@plugin_option
@click.pass_obj
def show_command(
    settings: Settings,
    plan: Path,
    html: Path | None,
    trace: Path | None,
    svg: Path | None,
    png: Path | None,
) -> None:
    """Draw PLAN in the terminal, or as HTML, a trace, SVG or PNG."""
    from parplan import api
    from parplan.plan_files.plan_file import load_plan

    registry = load_registry(settings)
    loaded = load_plan(plan)
    if not any((html, trace, svg, png)):
        emit(api.show(loaded, registry=registry, colour=colour_wanted()))
    if html is not None:
        emit(f"report: {api.write_report(loaded, html, registry=registry)}")
    if trace is not None:
        emit(f"trace: {api.write_trace(loaded, trace)}")
    if svg is not None:
        emit(f"chart: {api.write_svg(loaded, svg)}")
    if png is not None:
        emit(f"chart: {api.write_png(loaded, png)}")


@click.command("check")
@click.argument("plan", type=click.Path(path_type=Path))
@plugin_option
@click.pass_context
def check_command(context: click.Context, plan: Path) -> None:
    """Check PLAN and list every violation.

    The code that checks shares nothing with the model and the search.
    """
    from parplan import api
    from parplan.plan_files.plan_file import load_plan

    registry = load_registry(context.obj)
    loaded = load_plan(plan)
    violations = api.check(loaded, registry=registry)
    for found in violations:
        emit(plain(f"{found.rule}: {found.where}: {found.message}"))
    if violations:
        emit(f"{plan}: {len(violations)} violation{'s' if len(violations) > 1 else ''}")
        context.exit(VIOLATED)
    emit(f"{plan}: holds; {_value(loaded, api.unit_of(loaded, registry))}")


def _value(plan: Plan, unit: str) -> str:
    text = f"{plain(next(iter(plan.objectives)))} {value_text(plan.value, unit)}"
    if plan.bound is None:
        return f"{text}, no bound"
    told = f"as claimed by {plan.bound.source}" if plan.bound.claimed else plan.bound.source
    return f"{text}, bound {value_text(plan.bound.value, unit)} ({plain(told)})"
