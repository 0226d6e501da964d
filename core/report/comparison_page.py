"""The HTML page of a comparison: all schedules on one time axis, and their table."""

from __future__ import annotations

from collections.abc import Mapping

from parplan import __version__
from parplan.explaining.explanation import Explanation
from parplan.explaining.text import parts_text
from parplan.figures.comparison import ComparisonFigures, comparison_table, verdict
from parplan.figures.plan import Table, bound_sentence
from parplan.report.comparison_drawing import comparison_drawing
from parplan.report.document import TIMELINE, document
from parplan.text import counted, plain


def comparison_html(
    figures: ComparisonFigures, explanations: Mapping[int, Explanation] | None = None
) -> str:
    """Return the page of a comparison as one HTML document; see ``parplan.report.document``.

    Parameters
    ----------
    explanations
        Critical paths by the number of their entry, where they are known.
    """
    explained = explanations or {}
    problem = figures.comparison.problem
    counts = ", ".join(
        (
            counted(problem.workload.microbatches, "microbatch"),
            counted(len(problem.cluster.devices), "device"),
        )
    )
    drawing = comparison_drawing(figures, explained)
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
        more=[_bounding(figures, explained)] if explained else [],
        heading="Schedules on one time axis",
        links=True,
        transfers=drawing["transfers"],
        memory=True,
        explained=bool(explained),
    )


def _bounding(figures: ComparisonFigures, explanations: Mapping[int, Explanation]) -> Table:
    """Return a row per schedule: what its critical path consists of."""
    entries = figures.comparison.entries
    rows = [
        (entries[number].name, entries[number].split or "searched", parts_text(found.shares))
        for number, found in explanations.items()
    ]
    title = "What bounds each schedule"
    return Table(title, ("schedule", "split", "critical path"), rows, 2, 1)
