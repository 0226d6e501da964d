"""The colours of kinds of work, the same in the terminal, in reports and in figures."""

from __future__ import annotations

from parplan.graph import Kind

TRANSFER = "transfer"

# Okabe and Ito, "Color Universal Design" (2008): told apart with any colour vision.
COLOURS = {
    Kind.FORWARD.value: "#0072b2",
    Kind.BACKWARD.value: "#e69f00",
    Kind.BACKWARD_INPUT.value: "#d55e00",
    Kind.BACKWARD_WEIGHT.value: "#009e73",
    Kind.OPTIMIZER.value: "#cc79a7",
    Kind.COLLECTIVE.value: "#f0e442",
    Kind.OTHER.value: "#999999",
    TRANSFER: "#56b4e9",
}
"""Of each kind of operator, and of transfers."""

DARK = frozenset({Kind.FORWARD.value, Kind.BACKWARD_INPUT.value, Kind.BACKWARD_WEIGHT.value})


def ink(kind: str) -> str:
    """Return the colour of text that can be read on that of a kind."""
    return "#ffffff" if kind in DARK else "#000000"


def colours_of(kinds: list[str]) -> dict[str, tuple[str, str]]:
    """Return the colour of each kind, and of text on it."""
    return {kind: (COLOURS[kind], ink(kind)) for kind in kinds}


# Of devices, in turn: they are always named as well.
_DEVICES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a800", "#7a7a7a")


def device_colours(count: int) -> list[str]:
    """Return a colour for each device, the same ones again after eight."""
    return [_DEVICES[i % len(_DEVICES)] for i in range(count)]
