"""Command line of the benchmarks: one JSON object per line and case on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

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
    """Run a suite of benchmarks by its name, or question, confirm or report on what is claimed."""


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
    try:
        rows = _told(run_suite(suite, Selection(pattern, time_limit, data, plans, short)), file)
    except ParplanError as error:
        raise click.ClickException(str(error)) from None
    if any(row["status"] in ("failed", "refused") for row in rows):
        sys.exit(1)


def _told(rows: Iterable[dict[str, Any]], file: Path | None) -> list[dict[str, Any]]:
    """Print each row as it comes, write all of them to a file, and return them."""
    found = []
    for row in rows:
        found.append(row)
        click.echo(json.dumps(row, allow_nan=False))
        sys.stdout.flush()
    if file is not None:
        text = "".join(f"{json.dumps(row, allow_nan=False)}\n" for row in found)
        file.write_text(text, encoding="utf-8")
    return found


@main.command("confirm")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--case", "pattern", default="*", metavar="GLOB", help="Only cases that match.")
@click.option("--solver", "solvers", multiple=True, help="Whom to ask; or one the claim is not of.")
@click.option(
    "--time-limit",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds of each solver and case.",
)
@click.option(
    "--most-tasks",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Leave out larger plans.",
)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Also write the rows here.")
def confirm_command(
    files: tuple[Path, ...],
    pattern: str,
    solvers: tuple[str, ...],
    time_limit: float,
    most_tasks: int,
    file: Path | None,
) -> None:
    """Ask a second solver whether the optima that rows in FILES claim can be bettered."""
    from benchmarks.confirming import Question, Ruling, confirm_rows  # loads Pyomo: a second
    from parplan.api import load_registry

    question = Question(solvers, time_limit, most_tasks)
    try:
        chosen = [row for row in load_rows(files) if fnmatchcase(row["case"], pattern)]
        rows = _told(confirm_rows(chosen, load_registry(), question), file)
    except ParplanError as error:
        raise click.ClickException(str(error)) from None
    if any(row["status"] in ("failed", Ruling.CONTRADICTED) for row in rows):
        sys.exit(1)


@main.command("contradict")
@click.option("--cases", type=click.IntRange(1), default=10_000, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the problems.")
@click.option(
    "--json",
    "file",
    type=click.Path(path_type=Path),
    help="Keep a row of each problem here; those that are there already are not done again.",
)
def contradict_command(cases: int, seed: int, file: Path | None) -> None:
    """Hold what is claimed of random small problems against full enumeration and other solvers."""
    from benchmarks.contradicting import judge, summary  # loads Pyomo: a second
    from parplan.api import load_registry

    with TemporaryDirectory() as folder:
        rows = []
        for row in judge(range(cases), seed, load_registry(), file or Path(folder, "rows.jsonl")):
            rows.append(row)
            for text in row.get("contradictions", ()):
                click.echo(f"{row['case']} ({row['kind']}): {text}", err=True)
    found = summary(rows)
    click.echo(json.dumps(found))
    if found["contradictions"]:
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
