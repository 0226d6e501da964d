"""Figures and names as people read them."""

from __future__ import annotations

import math


def plain(text: str) -> str:
    r"""Return text with control characters made visible: names in a file may hold any.

    >>> print(plain("gpu\x1b[31m0"))
    gpu\x1b[31m0
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def seconds_text(seconds: float) -> str:
    """Return a duration with four significant digits and a fitting unit.

    >>> seconds_text(0.0123456), seconds_text(0), seconds_text(75)
    ('12.35 ms', '0 s', '75 s')
    """
    if seconds == 0 or not math.isfinite(seconds) or abs(seconds) >= 1:
        return f"{seconds:.4g} s" if abs(seconds) < 1e4 else f"{seconds:.0f} s"
    for factor, unit in ((1e3, "ms"), (1e6, "us")):
        if abs(seconds) * factor >= 1:
            return f"{seconds * factor:.4g} {unit}"
    return f"{seconds * 1e9:.4g} ns"


def bytes_text(count: float) -> str:
    """Return a size in binary units.

    >>> bytes_text(512), bytes_text(3 * 2**30)
    ('512 B', '3.00 GiB')
    """
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if abs(value) < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} B" if unit == "B" else f"{value:.2f} {unit}"


def counted(count: int, what: str) -> str:
    """Return how many there are of something.

    >>> counted(1, "task"), counted(1200, "microbatch")
    ('1 task', '1,200 microbatches')
    """
    many = "" if count == 1 else "es" if what.endswith("ch") else "s"
    return f"{count:,} {what}{many}"


def percent_text(share: float | None) -> str:
    """Return a share as a percentage; ``-`` where there is none.

    >>> percent_text(0.0123), percent_text(None)
    ('1.2%', '-')
    """
    return "-" if share is None else f"{100 * share:.1f}%"


def value_text(value: float, unit: str) -> str:
    """Return an objective's value with its unit.

    >>> value_text(0.5, "s"), value_text(2**20, "bytes"), value_text(3, "")
    ('500 ms', '1.00 MiB', '3')
    """
    if unit == "s":
        return seconds_text(value)
    if unit == "bytes":
        return bytes_text(value)
    return f"{value:.6g} {unit}".rstrip()
