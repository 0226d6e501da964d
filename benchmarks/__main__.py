"""Command line of the benchmarks: one JSON object per line and case on standard output."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from benchmarks.report import load_rows, results_page
from benchmarks.runner import Selection, run_suite
from parplan.errors import ParplanError


class Commands(click.Group):
    """Commands by name; any other first word is the name of a suite to run."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments mean."""
        return super().resolve_command(ctx, args if args[0] in self.commands else ["run", *args])


@click.command(cls=Commands)
def main() -> None:
    """Run a suite of benchmarks by its name, or report on what suites have left."""


@main.command("run")
@click.argument("suite")
@click.option("--case", "pattern", default="*", metavar="GLOB", help="Only cases that match.")
@click.option("--time-limit", type=click.FloatRange(0, min_open=True), help="Seconds per case.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the public data.")
@click.option(
    "--plans",
    type=click.Path(path_type=Path),
    default=Path("build/benchmarks"),
    show_default=True,
    help="Where the plan behind each row is kept.",
)
@click.option("--short", is_flag=True, help="A few cases with a short limit each.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Also write the rows here.")
def run_command(
    suite: str,
    pattern: str,
    time_limit: float | None,
    data: Path | None,
    plans: Path,
    short: bool,
    file: Path | None,
) -> None:
    """Run the cases of SUITE (pipelines or spine), each in a fresh process, one after the other."""
    rows = []
    try:
        for row in run_suite(suite, Selection(pattern, time_limit, data, plans, short)):
            rows.append(json.dumps(row, allow_nan=False))
            click.echo(rows[-1])
            sys.stdout.flush()
    except ParplanError as error:
        raise click.ClickException(str(error)) from None
    if file is not None:
        file.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    if any(json.loads(row)["status"] in ("failed", "refused") for row in rows):
        sys.exit(1)


@main.command("report")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The page; or printed.")
def report_command(files: tuple[Path, ...], output: Path | None) -> None:
    """Write a page of the docs from result FILES; of rows of one case the last one counts."""
    try:
        page = results_page(load_rows(files))
    except ParplanError as error:
        raise click.ClickException(str(error)) from None
    if output is None:
        click.echo(page, nl=False)
    else:
        output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
