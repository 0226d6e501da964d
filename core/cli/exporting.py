"""``parplan export``: a plan in the form of another tool."""

from __future__ import annotations

from pathlib import Path

import click

from parplan.cli.common import Settings, json_option, load_registry, named_options, plugin_option
from parplan.cli.output import emit, emit_json
from parplan.text import plain


@click.command("export")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--to", "kind", required=True, metavar="KIND", help="Name of an exporter.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The folder for the files; made if it is not there.",
)
@click.option(
    "--set", "options", multiple=True, metavar="NAME=VALUE", help="An option of the exporter."
)
@json_option
@plugin_option
@click.pass_obj
def export_command(
    settings: Settings,
    plan: Path,
    kind: str,
    output: Path,
    options: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write PLAN in the form of another tool.

    What is written is read again and checked. 'parplan plugins' lists the exporters.
    """
    from parplan import api

    registry = load_registry(settings)
    done = api.export_plan(plan, kind, output, named_options(options), registry=registry)
    if as_json:
        files = [str(path) for path in done.files]
        emit_json({"files": files, "notes": list(done.notes), **done.figures})
        return
    for path in done.files:
        emit(f"{path}: written")
    for text in done.notes:
        emit(plain(text))
