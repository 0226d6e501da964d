"""Tables and figures in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

Cells = Sequence[str]


def table(header: Cells, rows: Sequence[Cells]) -> str:
    """Return a table; columns without any entry are left out.

    The first column and those whose name ends in "by" or "schedule" hold words, all others numbers.
    """
    kept = [i for i in range(len(header)) if i == 0 or any(row[i] for row in rows)]
    words = [i == 0 or header[i].endswith(("by", "schedule", "split")) for i in kept]
    lines = [
        [header[i] for i in kept],
        ["---" if word else "---:" for word in words],
        *([row[i] for i in kept] for row in rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def number(value: float | None) -> str:
    """Return six digits of a number; nothing for None."""
    return "" if value is None else f"{value:.6g}"


def percent(value: float | None) -> str:
    """Return a part of one in percent."""
    return "" if value is None else f"{100 * value:.2f}%"


def counted(count: int, what: str) -> str:
    """Return a number of things in words."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
