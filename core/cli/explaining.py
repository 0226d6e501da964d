"""``parplan explain``: what a plan's makespan consists of."""

from __future__ import annotations

from pathlib import Path

import click

from parplan.cli.common import Settings, colour_wanted, load_registry, plugin_option
from parplan.cli.output import emit, emit_json


@click.command("explain")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@plugin_option
@click.pass_obj
def explain_command(settings: Settings, plan: Path, as_json: bool) -> None:
    """Tell what PLAN's makespan consists of: its critical path, and what each step waits for."""
    from parplan import api
    from parplan.explaining.text import explanation_text
    from parplan.plan_file import load_plan

    found = api.explain(load_plan(plan), registry=load_registry(settings))
    if as_json:
        emit_json(found.to_dict())
    else:
        emit(explanation_text(found, colour=colour_wanted()))
