"""``parplan costs``, ``import``, ``schema``, ``init``, ``new-plugin``: around the spec file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from parplan.cli.common import (
    Settings,
    call_named,
    colour_wanted,
    load_registry,
    named_options,
    plugin_option,
)
from parplan.cli.output import emit
from parplan.errors import InputError
from parplan.new_plugin import KINDS
from parplan.text import bytes_text, plain, seconds_text

if TYPE_CHECKING:
    from parplan.costs import CostRow


@click.command("costs")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY.PATH=VALUE", help="Override a key of SPEC."
)
@plugin_option
@click.pass_obj
def costs_command(settings: Settings, spec: Path, overrides: tuple[str, ...]) -> None:
    """Show the seconds and bytes of every operator.

    Each with the formula or measurement, and the source, that it comes from.
    """
    from parplan import api
    from parplan.costs import cost_table
    from parplan.figures.plan import Table
    from parplan.terminal import render, shown

    ready = api.prepare(spec, overrides=overrides, registry=load_registry(settings))
    origins: dict[str, int] = {}
    rows = [_cost_row(row, origins) for row in cost_table(ready.problem)]
    columns = ("operator", "mode", "device", "seconds", "FLOP", "touched", "reads", "writes",
               "kept", "parameters", "workspace", "from")  # fmt: skip
    emit(render([shown(Table("", columns, rows, 3))], colour=colour_wanted()))
    emit("\n".join(f"[{number}] {plain(origin)}" for origin, number in origins.items()))


def _cost_row(row: CostRow, origins: dict[str, int]) -> tuple[str, ...]:
    """Return the cells of a row; where its seconds come from is a number in ``origins``."""
    origin = origins.setdefault(f"{row.formula}; {row.source}", len(origins) + 1)
    sizes = (row.bytes_touched, row.input_bytes, row.output_bytes, row.saved_bytes,
             row.parameter_bytes, row.workspace_bytes)  # fmt: skip
    return (
        row.operator,
        row.mode,
        row.device_kind,
        seconds_text(row.seconds),
        f"{row.flops:.4g}",
        *(bytes_text(size) for size in sizes),
        f"[{origin}]",
    )


@click.command("import")
@click.argument("kind")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--model",
    metavar="MODULE:FUNCTION",
    help="Python code that returns the model, in place of FILE; in the working directory too.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where the graph goes.")
@click.option(
    "--set", "options", multiple=True, metavar="NAME=VALUE", help="An option of the importer."
)
@plugin_option
@click.pass_obj
def import_command(
    settings: Settings,
    kind: str,
    file: Path | None,
    model: str | None,
    output: Path | None,
    options: tuple[str, ...],
) -> None:
    """Read a model file, or call code that makes a model, and write its graph as JSON.

    KIND is the name of an importer; 'parplan plugins' lists them.
    """
    from parplan import api
    from parplan.plan_files.plan_file import graph_text, save_graph

    if (file is None) == (model is None):
        raise click.UsageError("name a FILE, or code by --model MODULE:FUNCTION, and not both")
    registry = load_registry(settings)
    chosen = named_options(options)
    if file is not None:
        graph = api.import_model(kind, file, chosen, registry=registry)
    else:
        made = call_named(model or "", "--model")
        graph = api.import_object(kind, made, chosen, registry=registry)
    if output is None:
        emit(graph_text(graph))
        return
    save_graph(graph, output)
    emit(f"{output}: {len(graph.operators)} operators, {len(graph.tensors)} tensors")


@click.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of a spec file."""
    from parplan.spec.schema import spec_schema

    emit(json.dumps(spec_schema(), indent=2))


@click.command("init")
@click.argument("file", type=click.Path(path_type=Path), default=Path("spec.yaml"))
def init_command(file: Path) -> None:
    """Write a first spec into FILE (spec.yaml)."""
    from parplan.files.atomic import write_text
    from parplan.spec.schema import example_spec

    if file.exists():
        raise InputError("already exists; name another file or remove it", file=str(file))
    write_text(file, example_spec())
    emit(f"{file}: written; now run: parplan plan {file}")


@click.command("new-plugin")
@click.argument("name")
@click.argument("directory", type=click.Path(path_type=Path), required=False)
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default=KINDS[0],
    show_default=True,
    help="What the plugin holds; a strategy is a pipeline schedule.",
)
def new_plugin_command(name: str, directory: Path | None, kind: str) -> None:
    """Write a small plugin NAME.

    It is a distribution of its own, with a test and a README, in DIRECTORY (parplan-NAME).
    """
    from parplan.new_plugin import write_plugin

    for path in write_plugin(name, directory or Path(f"parplan-{name}"), kind):
        emit(str(path))
