"""What a notebook shows of a plan and of a comparison: HTML and SVG without script or style."""

from __future__ import annotations

from parplan.figures.comparison import ComparisonFigures, comparison_table, verdict
from parplan.figures.plan import PlanFigures, bound_sentence, device_table, headline, proof_text
from parplan.report.document import fragment
from parplan.report.gantt import gantt_svg
from parplan.text import plain

ROWS = 16
"""Devices up to which their table is shown."""


def plan_notebook(figures: PlanFigures) -> str:
    """Return a plan's figures, Gantt chart and devices as a piece of HTML."""
    from markupsafe import Markup

    table = device_table(figures)
    return fragment(
        "notebook.html.jinja",
        title=plain(figures.plan.problem.name),
        figures=[(plain(name), plain(text)) for name, text in headline(figures)],
        sentences=[plain(proof_text(figures))],
        picture=Markup(gantt_svg(figures, links=len(table.rows) <= ROWS)),
        tables=[table] if len(table.rows) <= ROWS else [],
    )


def comparison_notebook(figures: ComparisonFigures) -> str:
    """Return the table of a comparison as a piece of HTML."""
    plan = figures.comparison.plan
    return fragment(
        "notebook.html.jinja",
        title=plain(figures.comparison.problem.name),
        figures=[],
        sentences=[plain(verdict(figures)), plain(bound_sentence(plan, figures.unit))],
        picture="",
        tables=[comparison_table(figures)],
    )
