"""The Gantt chart as PNG: what SVG says in pixels, or one clear line on what is missing."""

from __future__ import annotations

import struct
import sys
from types import SimpleNamespace

import pytest

from parplan.errors import InputError
from parplan.figures.plan import figures_of
from parplan.report import png
from parplan.report.gantt import WIDTH, gantt_svg
from parplan.report.png import png_bytes
from parplan.report.svg import element, picture, standalone
from tests.plan_samples import pipeline_plan


def size_of(drawn: bytes) -> tuple[int, int]:
    """Return width and height, which stand first in a PNG file."""
    assert drawn[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", drawn[16:24])
    return width, height


def test_a_chart_is_drawn_as_large_as_asked_for() -> None:
    svg = standalone(gantt_svg(figures_of(pipeline_plan(), "s")))
    assert size_of(png_bytes(svg))[0] == 2 * WIDTH
    assert size_of(png_bytes(svg, zoom=1.0))[0] == WIDTH


def test_bars_and_names_leave_marks() -> None:
    def drawn(*parts: str) -> bytes:
        return png_bytes(standalone(picture(40, 20, "", parts)))

    bar = element("rect", x=2, y=2, width=8, height=8, fill="#0072b2")
    other = element("rect", x=2, y=2, width=8, height=8, fill="#e69f00")
    name = element("text", text="gpu0", x=2, y=14)
    assert len({drawn(), drawn(bar), drawn(other), drawn(name), drawn(bar, name)}) == 5


def test_without_resvg_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(InputError, match=r"pip install 'parplan\[png\]'"):
        png_bytes(standalone(picture(1, 1, "", ())))


def test_without_fonts_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    blind = SimpleNamespace(svg_to_bytes=lambda **_: b"the same for all")
    monkeypatch.setattr(png, "required", lambda *_: blind)
    with pytest.raises(InputError, match="no font"):
        png_bytes(standalone(picture(1, 1, "", ())))
