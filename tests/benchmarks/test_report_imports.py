"""The tables of imported models say what rows hold, and whether two importers agree."""

from __future__ import annotations

from typing import Any

from benchmarks.report_imports import import_tables


def row(case: str, **details: Any) -> dict[str, Any]:
    return {"case": f"import/{case}", "value": 28.31, "peak_mib": 589.1, "details": details}


def figures(parameters: int) -> dict[str, Any]:
    told = {"parameters": 7, "forward_flops": 2e12, "backward_flops": 4e12}
    beside = {**told, "parameters": parameters}
    return {"operators": 7228, **told, **{f"analytic_{k}": v for k, v in beside.items()}}


def test_models_stand_in_a_table_that_counts_how_many_agree() -> None:
    said, drawn = import_tables([row("one", **figures(7)), row("other", **figures(8))])
    assert "1 of 2" in said
    assert "| one | 7,228 | 7 | 2 | 4 | 28.3 | 589 |" in drawn


def test_small_models_are_counted() -> None:
    counted = {**row("architectures", models={"A": "2 operators", "B": "no"}), "value": 1.0}
    (said,) = import_tables([counted])
    assert "Of 2 small models" in said
    assert "1 become" in said


def test_rows_of_other_families_say_nothing() -> None:
    assert list(import_tables([row("one"), {**row("two"), "details": None}])) == []
