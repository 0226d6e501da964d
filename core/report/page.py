"""The HTML report of one plan: its timeline, tables and provenance."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve

from parplan import __version__
from parplan.explaining.explanation import Explanation
from parplan.explaining.text import path_table, share_table, summary_sentence
from parplan.figures.plan import (
    PlanFigures,
    Table,
    baseline_table,
    device_table,
    headline,
    link_table,
    proof_text,
)
from parplan.report.cluster_view import cluster_svg
from parplan.report.document import TIMELINE, document
from parplan.report.drawing import drawing_data
from parplan.report.model_view import model_svg
from parplan.text import plain


def report_html(figures: PlanFigures, explanation: Explanation | None = None) -> str:
    """Return the report of a plan as one HTML document; see ``parplan.report.document``.

    Parameters
    ----------
    explanation
        The critical path, drawn and told where it is known.
    """
    from markupsafe import Markup

    shares = () if explanation is None else (_bounding(explanation),)
    steps = () if explanation is None else (path_table(explanation),)
    tables = (device_table(figures), *shares)
    more = (link_table(figures), baseline_table(figures), *steps)
    return document(
        "report.html.jinja",
        (*TIMELINE, "report.js"),
        drawing_data(figures, explanation),
        title=plain(figures.plan.problem.name),
        subtitle=_subtitle(figures),
        figures=[(plain(name), plain(text)) for name, text in headline(figures)],
        proof=plain(proof_text(figures)),
        model=Markup(model_svg(figures)),
        cluster=Markup(cluster_svg(figures)),
        explained=explanation is not None,
        summary="" if explanation is None else plain(summary_sentence(explanation.shares)),
        tables=[table for table in tables if table.rows],
        more=[table for table in more if table.rows],
        provenance=plain(json.dumps(_plain_data(figures), indent=2, default=str)),
    )


def _bounding(explanation: Explanation) -> Table:
    """Return what the critical path consists of, under a title that stands alone."""
    return evolve(share_table(explanation), title="What bounds the makespan")


def _subtitle(figures: PlanFigures) -> str:
    problem = figures.plan.problem
    counts = (
        (len(problem.graph.operators), "operators"),
        (problem.workload.microbatches, "microbatches"),
        (problem.task_count, "tasks"),
        (len(figures.plan.schedule.transfers), "transfers"),
        (len(problem.cluster.devices), "devices"),
    )
    shown = ", ".join(f"{count:,} {what}" for count, what in counts)
    return plain(f"{problem.graph.name} on {problem.cluster.name}: {shown}; parplan {__version__}")


def _plain_data(figures: PlanFigures) -> dict[str, Any]:
    # Baselines have a table of their own.
    return {k: v for k, v in figures.plan.provenance.items() if k != "baselines"}
