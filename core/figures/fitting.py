"""Tables that fit a width: columns that one can do without are left out where there is no room."""

from __future__ import annotations

from attrs import evolve

from parplan.figures.plan import Table
from parplan.text import plain

BETWEEN = 3
"""Characters between columns."""

NOTE = 24
"""Characters that a column of remarks needs at least; it is folded."""


def fitted(table: Table, width: int) -> tuple[Table, tuple[str, ...]]:
    """Return a table less as many of its optional columns as must be, and their names."""
    left_out: list[str] = []
    for column in table.optional:
        if breadth(table) <= width:
            break
        table = _without(table, table.columns.index(column))
        left_out.append(column)
    return table, tuple(left_out)


def breadth(table: Table) -> int:
    """Return the characters that a table needs across."""
    total = -BETWEEN
    for index, column in enumerate(table.columns):
        widest = max(len(plain(cell)) for cell in (column, *(row[index] for row in table.rows)))
        total += BETWEEN + (min(widest, NOTE) if table.kind(index) == "note" else widest)
    return total


def _without(table: Table, column: int) -> Table:
    """Return a table less a column of figures."""
    return evolve(
        table,
        columns=table.columns[:column] + table.columns[column + 1 :],
        rows=[row[:column] + row[column + 1 :] for row in table.rows],
    )
