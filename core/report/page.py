"""The HTML report: one file with its script and style inside, that asks for nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import Any

from parplan import __version__
from parplan.figures import (
    PlanFigures,
    baseline_table,
    device_table,
    headline,
    link_table,
    proof_text,
)
from parplan.report.drawing import drawing_data
from parplan.text import plain

# Every one of these could end the script element, or open a comment inside it.
ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def report_html(figures: PlanFigures) -> str:
    """Return the report of a plan as one HTML document.

    Names in a plan may be hostile: in the document they are escaped, for the script they are JSON
    without any ``<``, the script sets them as text, and a content security policy lets nothing run
    or load but the script and style that parplan wrote.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    folder = files("parplan.report")
    script = (folder / "report.js").read_text(encoding="utf-8")
    style = (folder / "report.css").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = environment.from_string((folder / "report.html.jinja").read_text(encoding="utf-8"))
    problem = figures.plan.problem
    tables = [device_table(figures), link_table(figures), baseline_table(figures)]
    return template.render(
        title=plain(problem.name),
        subtitle=_subtitle(figures),
        figures=[(plain(name), plain(text)) for name, text in headline(figures)],
        proof=plain(proof_text(figures)),
        tables=[table for table in tables if table.rows],
        plain=plain,
        provenance=plain(json.dumps(_plain_data(figures), indent=2, default=str)),
        data=Markup(script_json(drawing_data(figures))),
        script=Markup(script),
        script_hash=_hash(script),
        style=Markup(style),
        style_hash=_hash(style),
    )


def script_json(data: Any) -> str:
    r"""Return JSON that is safe inside a script element.

    >>> print(script_json("</script>"))
    "\u003c/script\u003e"
    """
    return json.dumps(data, separators=(",", ":")).translate(ESCAPES)


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


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
