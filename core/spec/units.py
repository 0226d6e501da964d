"""Quantities with units: ``80 GB``, ``400 Gbit/s``, ``1.5 ms``, ``989 TFLOP/s``.

Units are case-sensitive. ``GB`` is 10^9 bytes and ``GiB`` is 2^30 bytes (IEC 80000-13). A plain
number is in the base unit: bytes, seconds, bytes per second, FLOP, FLOP per second.
"""

from __future__ import annotations

import difflib
import re
from enum import StrEnum
from fractions import Fraction

from parplan.errors import UnitError


class Dimension(StrEnum):
    """What a quantity measures."""

    SIZE = "size in bytes"
    TIME = "time"
    BANDWIDTH = "bandwidth"
    WORK = "amount of work"
    SPEED = "computing speed"
    BITS = "size in bits"


EXAMPLES = {
    Dimension.SIZE: "80 GB",
    Dimension.TIME: "1.5 ms",
    Dimension.BANDWIDTH: "50 GB/s",
    Dimension.WORK: "2 TFLOP",
    Dimension.SPEED: "989 TFLOP/s",
}

_DECIMAL = {"": 0, "k": 3, "K": 3, "M": 6, "G": 9, "T": 12, "P": 15}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50}
_TIMES = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),
    "μs": Fraction(1, 10**6),
    "ms": Fraction(1, 10**3),
    "s": Fraction(1),
    "min": Fraction(60),
    "h": Fraction(3600),
}


def _table() -> dict[str, tuple[Dimension, Fraction]]:
    """Return every unit with its dimension and its factor to the base unit."""
    found = {unit: (Dimension.TIME, factor) for unit, factor in _TIMES.items()}
    prefixes = {p: Fraction(10**e) for p, e in _DECIMAL.items()}
    prefixes |= {p: Fraction(2**e) for p, e in _BINARY.items()}
    for prefix, factor in prefixes.items():
        found[f"{prefix}B"] = (Dimension.SIZE, factor)
        found[f"{prefix}B/s"] = (Dimension.BANDWIDTH, factor)
        found[f"{prefix}bit"] = (Dimension.BITS, factor / 8)
        found[f"{prefix}bit/s"] = (Dimension.BANDWIDTH, factor / 8)
        found[f"{prefix}FLOP"] = (Dimension.WORK, factor)
        found[f"{prefix}FLOP/s"] = (Dimension.SPEED, factor)
    return found


UNITS = _table()

_QUANTITY = re.compile(
    r"\s*([-+]?(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?)\s*(\S.*?)?\s*"
)


def parse_quantity(text: str, dimension: Dimension) -> int | float:
    """Return a quantity in its base unit, as an int where it is whole.

    Raises
    ------
    UnitError
        If ``text`` is no number, or its unit is unknown, ambiguous or of another dimension; the
        message says what to write instead.

    Examples
    --------
    >>> parse_quantity("80 GB", Dimension.SIZE)
    80000000000
    >>> parse_quantity("400 Gbit/s", Dimension.BANDWIDTH)
    50000000000
    """
    if text.strip() in ("inf", "infinite") and dimension is Dimension.BANDWIDTH:
        return float("inf")
    match = _QUANTITY.fullmatch(text)
    if match is None or len(text) > 100:
        raise UnitError(f"'{text[:100]}' is no {dimension}; write e.g. '{EXAMPLES[dimension]}'")
    number, unit = match.groups()
    amount = Fraction(number.replace("_", ""))
    if unit is not None:
        if unit not in UNITS:
            raise UnitError(_unknown(number, unit, dimension))
        found, factor = UNITS[unit]
        if found is not dimension:
            raise UnitError(_mismatch(number, unit, found, dimension))
        amount *= factor
    return int(amount) if amount.denominator == 1 else float(amount)


def _unknown(number: str, unit: str, dimension: Dimension) -> str:
    """Say what may have been meant by a unit that does not exist."""
    said = f"'{number} {unit}'"
    if dimension is Dimension.SIZE and (bits := re.fullmatch(r"([kKMGTP]i?)b", unit)):
        return (
            f"{said} is in bits (small b); memory counts bytes: write '{number} {bits[1]}B', "
            f"or '{float(number) / 8:g} {bits[1]}B' if bits were meant"
        )
    if bits := re.fullmatch(r"([kKMGTP]i?)b(/s|ps)", unit):
        return (
            f"{said} can be read as bits or bytes; write '{number} {bits[1]}bit/s' or "
            f"'{number} {bits[1]}B/s'"
        )
    if re.fullmatch(r"[kKMGTP]i?", unit):
        return f"{said} lacks its unit; write e.g. '{number} {unit}{_base(dimension)}'"
    if speed := re.fullmatch(r"([kKMGTP]?)(?:FLOPS|FLOPs|flops|FLOP/S|flop/s)", unit):
        wanted = "FLOP" if dimension is Dimension.WORK else "FLOP/s"
        return f"{said}: write '{number} {speed[1]}{wanted}'"
    fitting = [name for name, (found, _) in UNITS.items() if found is dimension]
    lower = {name.lower(): name for name in reversed(fitting)}
    close = difflib.get_close_matches(unit.lower(), lower, n=1)
    hint = f"did you mean '{number} {lower[close[0]]}'? " if close else ""
    return f"{said} has an unknown unit; {hint}a {dimension} is written like {EXAMPLES[dimension]}"


def _base(dimension: Dimension) -> str:
    return {
        Dimension.SIZE: "B",
        Dimension.BANDWIDTH: "B/s",
        Dimension.WORK: "FLOP",
        Dimension.SPEED: "FLOP/s",
    }.get(dimension, "s")


def _mismatch(number: str, unit: str, found: Dimension, wanted: Dimension) -> str:
    """Say which unit of the wanted dimension may have been meant."""
    said = f"'{number} {unit}' is a {found}, but a {wanted} is needed here"
    if (found, wanted) in (
        (Dimension.SIZE, Dimension.BANDWIDTH),
        (Dimension.BITS, Dimension.BANDWIDTH),
        (Dimension.WORK, Dimension.SPEED),
    ):
        return f"{said}: write '{number} {unit}/s'"
    if (found, wanted) in (
        (Dimension.BANDWIDTH, Dimension.SIZE),
        (Dimension.SPEED, Dimension.WORK),
    ):
        return f"{said}: write '{number} {unit.removesuffix('/s')}'"
    if (found, wanted) == (Dimension.BITS, Dimension.SIZE):
        prefix = unit.removesuffix("bit")
        return f"{said}: write '{float(number) / 8:g} {prefix}B', or '{number} {prefix}B'"
    return f"{said}, e.g. '{EXAMPLES[wanted]}'"


def dimension_of(name: str) -> Dimension | None:
    """Return what a field measures by its name: the unit is part of every such name.

    ``latency_s``, ``memory_bytes``, ``bytes_touched``, ``memory_bandwidth``, ``peak_flops``.
    """
    if name.endswith(("bandwidth", "bytes_per_s")):
        return Dimension.BANDWIDTH
    if name.endswith(("peak_flops", "flops_per_s")):
        return Dimension.SPEED
    if name.endswith("flops"):
        return Dimension.WORK
    if name == "writes" or name.endswith("bytes") or name.startswith("bytes_"):
        return Dimension.SIZE
    if name.endswith(("_s", "seconds")):
        return Dimension.TIME
    return None
