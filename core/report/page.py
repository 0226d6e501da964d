"""The HTML report of one plan: its timeline, tables and provenance."""

from __future__ import annotations

import json

from attrs import evolve

from parplan import __version__
from parplan.explaining.explanation import Explanation
from parplan.explaining.text import path_table, share_table, summary_sentence
from parplan.figures.plan import (
    PlanFigures,
    Table,
    baseline_table,
    device_table,
    headline_figures,
    link_table,
    proof_text,
)
from parplan.figures.search import bounds_table, found_sentence, history_table
from parplan.report.cluster_view import cluster_svg
from parplan.report.document import TIMELINE, document
from parplan.report.drawing import drawing_data
from parplan.report.model_view import model_svg
from parplan.text import counted, plain


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
    more = (baseline_table(figures), link_table(figures), *steps)
    search = (history_table(figures), bounds_table(figures))
    return document(
        "report.html.jinja",
        (*TIMELINE, "report.js"),
        drawing_data(figures, explanation),
        title=plain(figures.plan.problem.name),
        subtitle=_subtitle(figures),
        figures=[(plain(name), plain(text)) for name, text in headline_figures(figures)],
        proof=plain(proof_text(figures)),
        model=Markup(model_svg(figures)),
        cluster=Markup(cluster_svg(figures)),
        explained=explanation is not None,
        summary="" if explanation is None else _summary(explanation),
        tables=[table for table in tables if table.rows],
        more=[table for table in more if table.rows],
        found=plain(found_sentence(figures)),
        search=[table for table in search if table.rows],
        provenance=_provenance(figures),
    )


def _summary(explanation: Explanation) -> str:
    told = plain(summary_sentence(explanation.shares))
    return f"{told[:1].upper()}{told[1:]}."


def _bounding(explanation: Explanation) -> Table:
    """Return what the critical path consists of, under a title that stands alone."""
    return evolve(share_table(explanation), title="What bounds the makespan")


def _subtitle(figures: PlanFigures) -> str:
    problem = figures.plan.problem
    counts = (
        (len(problem.graph.operators), "operator"),
        (problem.workload.microbatches, "microbatch"),
        (problem.task_count, "task"),
        (len(figures.plan.schedule.transfers), "transfer"),
        (len(problem.cluster.devices), "device"),
    )
    shown = ", ".join(counted(count, what) for count, what in counts)
    return plain(f"{problem.graph.name} on {problem.cluster.name}: {shown}; parplan {__version__}")


def _provenance(figures: PlanFigures) -> str:
    """Return all that is known of the search as JSON, less the baselines, which have a table."""
    known = {k: v for k, v in figures.plan.provenance.items() if k != "baselines"}
    return plain(json.dumps(known, indent=2, default=str))
