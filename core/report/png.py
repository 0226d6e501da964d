"""Pictures as PNG, drawn from their SVG by resvg, which comes with the extra ``png``."""

from __future__ import annotations

from typing import Any

from parplan.errors import InputError
from parplan.report.svg import element, picture, standalone
from parplan.system.extras import required

ZOOM = 2.0
"""Pixels of the picture for each of the SVG's: enough for print."""

PAPER = "#ffffff"


def png_bytes(svg: str, *, zoom: float = ZOOM) -> bytes:
    """Return a picture as PNG on white paper.

    Parameters
    ----------
    svg
        A file of its own, as `parplan.report.svg.standalone` makes it.

    Raises
    ------
    InputError
        If resvg is not installed, or there is no font to write names with.
    """
    resvg = required("resvg_py", "png")
    if not _writes(resvg):
        raise InputError(
            "no font is installed, so the picture would have no names; install one "
            "(Debian: fonts-dejavu-core), or write SVG"
        )
    drawn: bytes = resvg.svg_to_bytes(svg_string=svg, background=PAPER, zoom=zoom)
    return drawn


def _writes(resvg: Any) -> bool:
    """Return whether text leaves a mark; without fonts resvg leaves it out and says nothing."""
    blank, written = (
        resvg.svg_to_bytes(svg_string=standalone(picture(20, 20, "", [part])), background=PAPER)
        for part in ("", element("text", text="x", x=4, y=14))
    )
    return bool(blank != written)
