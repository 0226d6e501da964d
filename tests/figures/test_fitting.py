"""Tables in little room: names and what matters most stay whole, and nothing vanishes unsaid."""

from __future__ import annotations

import sys

import pytest

from parplan.figures.comparison import comparison_figures, comparison_table
from parplan.figures.fitting import breadth, fitted
from parplan.figures.plan import Table
from parplan.terminal import comparison_text
from tests.plan_samples import comparison_sample

TABLE = Table(
    "", ("name", "value", "gap", "note"), [("a", "1 s", "10.0%", "x" * 90)], 1, 1,
    optional=("gap", "value"),
)  # fmt: skip


def test_columns_go_in_their_order_and_only_as_many_as_must() -> None:
    assert breadth(TABLE) == 4 + 3 + 5 + 3 + 5 + 3 + 24
    assert fitted(TABLE, breadth(TABLE)) == (TABLE, ())
    less, left_out = fitted(TABLE, breadth(TABLE) - 1)
    assert (less.columns, left_out) == (("name", "value", "note"), ("gap",))
    assert less.rows == (("a", "1 s", "x" * 90),)
    least, left_out = fitted(TABLE, 1)
    assert (least.columns, left_out) == (("name", "note"), ("gap", "value"))


@pytest.mark.parametrize("width", [80, 120])
def test_a_comparison_fits_a_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    figures = comparison_figures(comparison_sample(), "s")
    text = comparison_text(figures, colour=False)
    table, left_out = fitted(comparison_table(figures), width)
    assert left_out
    head = next(line for line in text.splitlines() if line.startswith("schedule"))
    assert [column in head for column in table.columns] == [True] * len(table.columns)
    assert f"no room for: {left_out[0]}" in text
    # Each schedule has one line, which begins with its whole name and value.
    lines = [line for line in text.splitlines() if line.startswith(("plan ", "1f1b "))]
    assert [line.split()[:3] for line in lines] == [
        ["plan", "searched", "26.5"],
        ["1f1b", "uniform", "52.5"],
    ]
