"""Rows of results as a page of the docs: a table for each family, and what it comes to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report_family import Family, overview, section
from benchmarks.runner import KEYS
from parplan.errors import InputError

Row = Mapping[str, Any]

CONFIRMING = "confirm"
"""The suite of rows that ``python -m benchmarks confirm`` writes."""

BEGINNING = """# Benchmark results: {suites}

Written by `python -m benchmarks report` from the rows of [the benchmarks](../how-to/benchmarks.md), which tell what each family shows.
Value and bound are in the unit of the objective; the gap is what is not proven, as a part of the value.
*Against it* is how far the value lies above (+) or below (-) its reference.
Seconds are of the whole process: imports, search, check and writing; those above the time limit are bold.
"""  # noqa: E501


def load_rows(paths: Iterable[Path]) -> list[Row]:
    """Return the rows of result files; of rows of one case the last one counts.

    Raises
    ------
    InputError
        With file and line of what is no row.
    """
    found: dict[tuple[str, str, str], Row] = {}
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot be read: {error}", file=str(path)) from None
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"is not JSON: {error.msg}", file=str(path), line=number) from None
            missing = set(KEYS) - set(row) if isinstance(row, dict) else set(KEYS)
            if missing:
                message = f"is no row of results; it lacks {', '.join(sorted(missing))}"
                raise InputError(message, file=str(path), line=number)
            # Several solvers may have been asked about one case.
            key = (row["suite"], row["case"], row["solver"] if row["suite"] == CONFIRMING else "")
            found[key] = row
    return list(found.values())


def results_page(rows: Sequence[Row]) -> str:
    """Return the page of these rows, in Markdown."""
    families: dict[tuple[str, str], list[Row]] = {}
    confirmations: dict[str, list[Row]] = {}
    for row in rows:
        if row["suite"] == CONFIRMING:
            confirmations.setdefault(row["case"], []).append(row)
        else:
            families.setdefault((row["suite"], row["case"].partition("/")[0]), []).append(row)
    sums = [Family(*key, tuple(members), confirmations) for key, members in families.items()]
    suites = ", ".join(dict.fromkeys(family.suite for family in sums))
    parts = [BEGINNING.format(suites=suites), *_origins(rows), overview(sums)]
    for family in sums:
        parts += [f"## {family.suite}: {family.name}\n", *section(family)]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _origins(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the machines and the versions behind the rows, each once."""
    machines = dict.fromkeys(_machine(row["machine"]) for row in rows if row["machine"])
    days = sorted({row["date"] for row in rows if row["date"]})
    measured = {" to ".join(dict.fromkeys((days[0], days[-1]))): None} if days else {}
    versions = dict.fromkeys(
        ", ".join(f"{name} {value}" for name, value in row["versions"].items())
        for row in rows
        if row["versions"]
    )
    for what, found in (("Machine", machines), ("Versions", versions), ("Measured", measured)):
        if found:
            yield "".join(f"{what}: {text}.\n" for text in found)


def _machine(machine: Mapping[str, Any]) -> str:
    cores = f"{machine['cores']} core{'' if machine['cores'] == 1 else 's'}"
    return f"{machine['cpu']}, {cores}, {machine['memory_gib']:.0f} GiB"
