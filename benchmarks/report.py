"""Rows of results as a page of the docs: a table for each family, and what it comes to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.runner import KEYS
from parplan.errors import InputError

Row = Mapping[str, Any]

COLUMNS = ("case", "value", "bound", "gap", "reference", "against it", "seconds", "MiB", "found by")

SAME = 1e-9
"""A value within this part of its reference is equal to it."""

BEGINNING = """# Benchmark results

Written by `python -m benchmarks report` from the rows of [the benchmarks](../how-to/benchmarks.md).
Value and bound are in the unit of the objective.
*Against it* is how far the value lies above (+) or below (-) its reference.
Seconds are of the whole process: imports, search, check and writing.
"""


def load_rows(paths: Iterable[Path]) -> list[Row]:
    """Return the rows of result files; of rows of one case the last one counts.

    Raises
    ------
    InputError
        With file and line of what is no row.
    """
    found: dict[tuple[str, str], Row] = {}
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
            found.pop((row["suite"], row["case"]), None)
            found[row["suite"], row["case"]] = row
    return list(found.values())


def results_page(rows: Sequence[Row]) -> str:
    """Return the page of these rows, in Markdown."""
    families: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        families.setdefault((row["suite"], row["case"].partition("/")[0]), []).append(row)
    parts = [BEGINNING, *_origins(rows)]
    for (suite, family), members in families.items():
        parts += [f"## {suite}: {family}\n", _summary(members), _table(members)]
        parts += [f"- `{r['case']}`: {_why(r)}\n" for r in members if r["value"] is None]
    return "\n".join(part.rstrip("\n") + ("" if part.startswith("- ") else "\n") for part in parts)


def _origins(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the machines and the versions behind the rows, each once."""
    machines = dict.fromkeys(_machine(row["machine"]) for row in rows if row["machine"])
    versions = dict.fromkeys(
        ", ".join(f"{name} {value}" for name, value in row["versions"].items())
        for row in rows
        if row["versions"]
    )
    for what, found in (("Machine", machines), ("Versions", versions)):
        if found:
            yield "".join(f"{what}: {text}.\n" for text in found)


def _machine(machine: Mapping[str, Any]) -> str:
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']:.0f} GiB"


def _summary(rows: Sequence[Row]) -> str:
    """Return what a family comes to, in a sentence each."""
    planned = [row for row in rows if row["status"] in ("optimal", "feasible")]
    if not planned:
        return f"{_count(len(rows), 'case')}, none planned.\n"
    proven = sum(row["status"] == "optimal" for row in planned)
    parts = [f"{len(planned)} of {_count(len(rows), 'case')} planned, {proven} proven optimal."]
    gaps = [row["gap"] for row in planned if row["gap"] is not None]
    if gaps:
        parts.append(f"Gap: median {_percent(median(gaps))}, worst {_percent(max(gaps))}.")
    offs = [off for row in planned if (off := _against(row)) is not None]
    if offs:
        below, equal = sum(off < -SAME for off in offs), sum(abs(off) <= SAME for off in offs)
        parts.append(f"Against {_count(len(offs), 'reference')}: {below} better, {equal} equal, "
                     f"{len(offs) - below - equal} worse.")  # fmt: skip
    return "\n".join(parts) + "\n"


def _table(rows: Sequence[Row]) -> str:
    lines = [COLUMNS, ("---", *("---:" for _ in COLUMNS[1:-1]), "---")]
    for row in rows:
        off = _against(row)
        lines.append(
            (
                row["case"].partition("/")[2],
                _number(row["value"]),
                _number(row["bound"]),
                _percent(row["gap"]),
                _number(row["reference"]),
                "" if off is None else "=" if abs(off) <= SAME else f"{100 * off:+.2f}%",
                "" if row["seconds"] is None else f"{row['seconds']:.1f}",
                "" if row["peak_mib"] is None else f"{row['peak_mib']:.0f}",
                row["solver"] or row["status"],
            )
        )
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _why(row: Row) -> str:
    details = row["details"] or {}
    reason = details.get("reason") or "; ".join(details.get("violations", ())) or "no figure"
    lines = str(reason).strip().splitlines()
    return f"{row['status']}: {lines[-1] if lines else reason}"


def _against(row: Row) -> float | None:
    """Return the part by which a value lies above its reference; None without either."""
    if row["value"] is None or not row["reference"]:
        return None
    return float(row["value"] / row["reference"] - 1)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}%"
