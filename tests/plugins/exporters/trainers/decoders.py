"""Plans of small decoder-only models on given devices, as exporters for trainers take them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import attrs

from parplan.graph import Graph, Kind
from parplan.plans import Plan
from parplan.recomputing import KEEP, RECOMPUTE
from tests.stages.samples import dispatched, layered, layered_problem

NAMES = ("embedding", *(f"layers.{i}" for i in range(6)), "norm", "head", "loss")
LOOP = (0, 0, 1, 0, 1, 1, 1, 1, 1, 1)
"""Devices of the parts in NAMES, as two stages on each of two ranks in a loop."""
V = (0, 0, 0, 1, 1, 1, 0, 0, 0, 0)
STRAIGHT = (0, 0, 0, 0, 1, 1, 1, 1, 1, 1)


def decoder_plan(
    places: Sequence[int] = STRAIGHT,
    *,
    microbatches: int = 4,
    names: Sequence[str] = NAMES,
    reads: Mapping[str, Sequence[str]] | None = None,
    training: bool = True,
    recompute: Collection[str] | None = None,
) -> Plan:
    """Return a plan of a chain of modules, the i-th on device ``places[i]``.

    Modules whose forward pass runs again are in ``recompute``; None: none has the choice.
    """
    before = {name: tuple(names[i - 1 : i]) for i, name in enumerate(names)}
    graph = layered(before if reads is None else reads, training=training, split=False)
    if recompute is not None:
        graph = _with_choice(graph, recompute)
    problem = layered_problem(graph, max(places) + 1, microbatches)
    return dispatched(problem, dict(zip(names, places, strict=True)))


def _with_choice(graph: Graph, recompute: Collection[str]) -> Graph:
    """Return forward operators with both modes, the one that runs first."""
    operators = tuple(
        attrs.evolve(
            operator,
            modes=tuple(
                attrs.evolve(operator.modes[0], name=name)
                for name in sorted((KEEP, RECOMPUTE), reverse=operator.module in recompute)
            ),
        )
        if operator.kind is Kind.FORWARD
        else operator
        for operator in graph.operators
    )
    return attrs.evolve(graph, operators=operators)
