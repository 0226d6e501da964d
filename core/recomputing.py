"""Names that the recomputation strategy and its constraints agree on."""

from __future__ import annotations

from parplan.graph import Graph, Mode, Operator

KEEP = "keep"
RECOMPUTE = "recompute"


def variant(name: str, what: str) -> str:
    """Return the name of a mode's variant: ``keep``, or ``tensor-2/keep`` for mode tensor-2."""
    return what if name == Mode().name else f"{name}/{what}"


def is_variant(mode: Mode, what: str) -> bool:
    """Return whether a mode is the ``keep`` or ``recompute`` variant of another."""
    return mode.name.rpartition("/")[2] == what


def kept_mode(operator: Operator, mode: Mode) -> int | None:
    """Return the index of the ``keep`` mode beside a ``recompute`` mode; None if there is none."""
    name = mode.name.removesuffix(RECOMPUTE) + KEEP
    return next((i for i, m in enumerate(operator.modes) if m.name == name), None)


def can_recompute(operator: Operator) -> bool:
    """Return whether an operator has the choice."""
    return all(any(is_variant(m, w) for m in operator.modes) for w in (KEEP, RECOMPUTE))


def recomputing_blocks(graph: Graph) -> dict[str, list[str]]:
    """Return the operators that can recompute by module; by name where they have no module."""
    blocks: dict[str, list[str]] = {}
    for operator in graph.operators:
        if can_recompute(operator):
            blocks.setdefault(operator.module or operator.name, []).append(operator.name)
    return blocks
