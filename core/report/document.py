"""One HTML file with its script and style inside, that asks for nothing else.

Names in a plan may be hostile: in the document they are escaped, for the script they are JSON
without any ``<``, the script sets them as text, and a content security policy lets nothing run or
load but the script and style that parplan wrote.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from parplan.text import plain

TIMELINE = (
    "text.js",
    "columns.js",
    "palette.js",
    "theme.js",
    "bars.js",
    "memory.js",
    "path.js",
    "timeline.js",
    "finding.js",
    "moving.js",
    "graphs.js",
    "page.js",
)
"""Scripts that draw a timeline and let it be moved and searched, in order."""

# Every one of these could end the script element, or open a comment inside it.
ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def document(template: str, scripts: Sequence[str], data: Any, **values: Any) -> str:
    """Return a template of this folder filled in.

    Parameters
    ----------
    scripts
        Names of the files that make its script, in order.
    data
        What the script draws, as plain data.
    values
        What the template names; text is escaped.
    """
    from markupsafe import Markup

    script = "".join(_read(name) for name in scripts)
    style = _read("report.css")
    return fragment(
        template,
        **values,
        data=Markup(script_json(data)),
        script=Markup(script),
        script_hash=_hash(script),
        style=Markup(style),
        style_hash=_hash(style),
    )


def fragment(template: str, **values: Any) -> str:
    """Return a template of this folder filled in, without script or style; text is escaped."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, loader=FunctionLoader(_read)
    )
    return environment.get_template(template).render(**values, plain=plain)


def script_json(data: Any) -> str:
    r"""Return JSON that is safe inside a script element.

    >>> print(script_json("</script>"))
    "\u003c/script\u003e"
    """
    return json.dumps(data, separators=(",", ":")).translate(ESCAPES)


def _read(name: str) -> str:
    return (files("parplan.report") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
