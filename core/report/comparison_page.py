"""The HTML page of a comparison: all schedules on one time axis, and their table."""

from __future__ import annotations

from parplan import __version__
from parplan.figures.comparison import ComparisonFigures, comparison_table, verdict
from parplan.figures.plan import bound_sentence
from parplan.report.comparison_drawing import comparison_drawing
from parplan.report.document import TIMELINE, document
from parplan.text import plain


def comparison_html(figures: ComparisonFigures) -> str:
    """Return the page of a comparison as one HTML document; see ``parplan.report.document``."""
    problem = figures.comparison.problem
    counts = f"{problem.workload.microbatches} microbatches, {len(problem.cluster.devices)} devices"
    drawing = comparison_drawing(figures)
    return document(
        "comparison.html.jinja",
        (*TIMELINE, "comparison.js"),
        drawing,
        title=plain(problem.name),
        subtitle=plain(
            f"{problem.graph.name} on {problem.cluster.name}: {counts}; parplan {__version__}"
        ),
        sentences=[
            plain(verdict(figures)),
            plain(bound_sentence(figures.comparison.plan, figures.unit)),
        ],
        tables=[comparison_table(figures)],
        more=[],
        transfers=drawing["transfers"],
    )
