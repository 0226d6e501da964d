"""A recipe's orders as flat arrays, in an order in which their passes can be timed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from parplan.pipelines.pipeline import Fused, Order, PipelineShape
from parplan.problem import Problem
from parplan.scheduling.tables import Real, Whole
from parplan.search.hand_made.stages.figures import BACKWARD, FORWARD, KINDS, WEIGHT
from parplan.search.hand_made.stages.kernel import timing_order


class PassTable(NamedTuple):
    """Passes of all devices, each behind whatever it waits for.

    Attributes
    ----------
    kind, stage, group
        0 for F, 1 for B, 2 for W; the placement group of the microbatch.
    scale, release
        Factor on times and bytes of the microbatch, and its release in ticks (0 but for the first
        stage's F).
    own
        Place of the pass of the same stage that it needs; -1 if there is none.
    handed
        Place of the pass at whose end another stage hands on what it needs; -1 if none does.
    """

    kind: Whole
    stage: Whole
    group: Whole
    scale: Real
    release: Real
    own: Whole
    handed: Whole


def pass_table(
    problem: Problem,
    shape: PipelineShape,
    orders: Sequence[Order],
    numbering: Sequence[int] = (),
    *,
    fused: bool,
) -> PassTable | None:
    """Return orders as arrays; None if some pass is missing, or they wait for one another.

    Parameters
    ----------
    numbering
        The problem's number of each of the shape's microbatches. Empty: they are the same.
    fused
        What B hands on leaves only when the W of the same microbatch has ended.
    """
    rows: list[tuple[int, int, int, int]] = []
    firsts = [0]
    for order in orders:
        for item in order:
            call = item.passes if isinstance(item, Fused) else (item,)
            leaves = len(rows) + len(call) - 1
            rows += [(KINDS[one.kind], one.stage, one.microbatch, leaves) for one in call]
        firsts.append(len(rows))
    if len(rows) != 3 * shape.stages * shape.microbatches:
        return None
    kind, stage, microbatch, leaves = np.array(rows, dtype=np.int64).T
    places = np.full((3, shape.stages + 2, shape.microbatches), -1, dtype=np.int64)
    places[kind, stage + 1, microbatch] = np.arange(len(rows))  # with nothing around the stages
    if fused:
        weights = places[WEIGHT, stage + 1, microbatch]
        leaves = np.where(kind == BACKWARD, np.maximum(leaves, weights), leaves)
    own = np.where(kind == FORWARD, -1, places[kind - 1, stage + 1, microbatch])
    neighbour = stage + 1 + np.array([-1, 1, 0])[kind]
    from_neighbour = np.where(kind == WEIGHT, -1, places[kind, neighbour, microbatch])
    handed = np.where(from_neighbour >= 0, leaves[from_neighbour], -1)
    order_of_timing = timing_order(np.array(firsts, dtype=np.int64), own, handed)
    if len(order_of_timing) != len(rows):
        return None
    found = PassTable(
        kind,
        stage,
        np.array(shape.groups or (0,) * shape.microbatches)[microbatch],
        *_of_microbatches(problem, numbering or range(shape.microbatches), microbatch),
        own,
        handed,
    )
    return _in_order(found, order_of_timing)


def _of_microbatches(
    problem: Problem, numbering: Sequence[int], microbatch: Whole
) -> tuple[Real, Real]:
    scales = np.array([problem.workload.scale(k) for k in numbering])
    releases = np.array([problem.release(k) for k in numbering], dtype=float)
    return scales[microbatch], releases[microbatch]


def _in_order(table: PassTable, order: Whole) -> PassTable:
    """Return the passes sorted; places of other passes change with them."""
    place = np.full(len(order) + 1, -1, dtype=np.int64)  # the last entry is that of -1
    place[order] = np.arange(len(order))
    return PassTable(
        table.kind[order],
        table.stage[order],
        table.group[order],
        table.scale[order],
        table.release[order],
        place[table.own[order]],
        place[table.handed[order]],
    )
