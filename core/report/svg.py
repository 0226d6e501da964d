"""Pictures as SVG: elements with escaped attributes and text.

Styles are presentation attributes, so that a page with a content security policy, a notebook and a
file of its own show the same picture; ``currentColor`` takes the ink of what is around it.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from parplan.text import plain

FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"


def element(tag: str, *inside: str, text: str = "", **attributes: str | float) -> str:
    """Return an element; ``_`` in names of attributes is ``-``, and ends of them are dropped.

    Parameters
    ----------
    inside
        Elements, as they are.
    text
        Anybody's text, which is escaped.
    """
    named = "".join(
        f' {name.strip("_").replace("_", "-")}="{escape(_value(value))}"'
        for name, value in attributes.items()
    )
    content = escape(plain(text)) + "".join(inside)
    return f"<{tag}{named}>{content}</{tag}>" if content else f"<{tag}{named}/>"


def picture(width: float, height: float, name: str, parts: Iterable[str], size: float = 11) -> str:
    """Return a picture of a size in pixels; ``size`` is that of its text."""
    title = element("title", text=name)
    return element(
        "svg",
        title,
        *parts,
        viewBox=f"0 0 {_value(width)} {_value(height)}",
        width=width,
        height=height,
        role="img",
        font_family=FONT,
        font_size=size,
    )


def standalone(drawn: str) -> str:
    """Return a picture as a file of its own, which must name its format; within HTML none needs to.

    >>> standalone("<svg/>")
    '<svg xmlns="http://www.w3.org/2000/svg"/>'
    """
    return drawn.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)


def box_path(boxes: Iterable[tuple[float, float, float, float]]) -> str:
    """Return the path around boxes of (left, top, width, height): shorter than one element each."""
    return "".join(
        f"M{_value(x)} {_value(y)}h{_value(w)}v{_value(h)}h{_value(-w)}z" for x, y, w, h in boxes
    )


def cut(text: str, room: float, size: float = 11) -> str:
    """Return text that fits into a width at a font size, as far as can be known without a font."""
    shown = plain(text)
    most = int(room / (0.56 * size))
    return shown if len(shown) <= most else f"{shown[: max(0, most - 1)]}…"


def _value(value: str | float) -> str:
    return plain(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
