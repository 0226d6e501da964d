"""``parplan explain``: what a plan's makespan consists of, and what would shorten it."""

from __future__ import annotations

from pathlib import Path

import click

from parplan.cli.common import Settings, colour_wanted, json_option, load_registry, plugin_option
from parplan.cli.interrupts import two_step_interrupt
from parplan.cli.output import emit, emit_json


@click.command("explain")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option(
    "--what-if",
    "changes",
    multiple=True,
    metavar="CHANGE",
    help="Search with this change, e.g. 'memory=gpu0:1 GiB', 'bandwidth=nic*:10%', "
    "'speed=gpu0:10%', 'devices=H100:1', 'microbatches=:1'; may be given several times. Unless "
    "given, the resources that bind most are changed.",
)
@click.option("--path-only", is_flag=True, help="Tell the critical path, and search nothing.")
@click.option(
    "--seconds", default=3.0, show_default=True, metavar="S", help="Time limit of each search."
)
@json_option
@plugin_option
@click.pass_obj
def explain_command(
    settings: Settings,
    plan: Path,
    changes: tuple[str, ...],
    path_only: bool,
    seconds: float,
    as_json: bool,
) -> None:
    """Tell what PLAN's makespan consists of, and what would shorten it.

    A critical path with what each step waits for, and the plans of changed problems.
    """
    from parplan import api
    from parplan.explaining.text import explanation_text
    from parplan.plan_files.plan_file import load_plan

    asked = () if path_only else changes or None
    loaded, registry = load_plan(plan), load_registry(settings)
    with two_step_interrupt():
        found = api.explain(loaded, what_if=asked, seconds=seconds, registry=registry)
    if as_json:
        emit_json(found.to_dict())
    else:
        emit(explanation_text(found, colour=colour_wanted()))
