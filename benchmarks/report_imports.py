"""Tables of models that were imported: what their graphs hold, and what it takes to make them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.markdown import table

Row = Mapping[str, Any]

COMPARED = ("parameters", "forward_flops", "backward_flops")
"""Figures in which two importers of one model should agree."""


def import_tables(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a sentence and a table for models of known figures, and a sentence for small ones."""
    known = [row for row in rows if "analytic_parameters" in (row["details"] or {})]
    if known:
        same = sum(map(_agrees, known))
        yield (
            f"Parameters and FLOP of {same} of {len(known)} are those of the importer "
            "`huggingface`, which writes them down by formulas.\n"
        )
        header = ("model", "operators", "parameters", "TFLOP forward", "TFLOP backward",
                  "seconds", "MiB")  # fmt: skip
        yield table(header, [_line(row) for row in known])
    for row in rows:
        models = (row["details"] or {}).get("models")
        if models:
            yield (
                f"Of {len(models)} small models of as many architectures of transformers "
                f"{row['value']:.0f} become a graph.\n"
            )


def _agrees(row: Row) -> bool:
    told = row["details"]
    return all(told[what] == told[f"analytic_{what}"] for what in COMPARED)


def _line(row: Row) -> tuple[str, ...]:
    told = row["details"]
    return (
        row["case"].partition("/")[2],
        f"{told['operators']:,}",
        f"{told['parameters']:,}",
        *(f"{told[what] / 1e12:.6g}" for what in COMPARED[1:]),
        f"{row['value']:.1f}",
        f"{row['peak_mib']:.0f}",
    )
