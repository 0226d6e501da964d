"""What walks are timed by: the figures of a chain of blocks, as arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from parplan.contracts import Criterion
from parplan.declarations import Apart, Contiguous
from parplan.scheduling.tables import Real
from parplan.search.hand_made.baselines import is_pipeline
from parplan.search.hand_made.stages.figures import BlockFigures, block_figures
from parplan.search.placing.placement import Placer


class Course(NamedTuple):
    """Figures of a problem's blocks and microbatches, in ticks and bytes.

    Attributes
    ----------
    reserve
        ``(blocks,)``: bytes that each block needs only while one of its operators runs.
    releases
        ``(microbatches,)`` ticks.
    """

    blocks: BlockFigures
    reserve: Real
    releases: Real


def can_walk(placer: Placer) -> bool:
    """Return whether a device for each block is all that a placement of this problem needs.

    That is a pipeline of one placement group with a choice of devices and none of modes that save
    memory, in which no rule speaks of blocks that meet.
    """
    rules = placer.rules
    return (
        is_pipeline(placer)
        and len(placer.groups) == 1
        and all(placer.devices_of[0])
        and not placer.is_fixed
        and placer.may_merge
        and not placer.savings
        and not rules.of(Apart)
        and not rules.of(Contiguous)
        and rules.objectives[0].follows is Criterion.MAKESPAN
    )


def make_course(placer: Placer) -> Course:
    """Return the course of a problem that ``can_walk``; O(operators x devices)."""
    problem = placer.problem
    count = problem.workload.microbatches
    releases = np.array([problem.release(k) for k in range(count)], dtype=float)
    return Course(block_figures(placer), _reserve(placer), releases)


def _reserve(placer: Placer) -> Real:
    """Return the most that an operator of each block needs and no later pass reads."""
    graph = placer.problem.graph
    needed = [max(mode.workspace_bytes for mode in o.modes) for o in graph.operators]
    kind = [operator.kind for operator in graph.operators]
    for t, producer in enumerate(graph.producers):
        if all(kind[consumer] is kind[producer] for consumer in graph.consumers[t]):
            needed[producer] += graph.tensors[t].bytes
    return np.array([max(needed[o] for o in block) for block in placer.blocks.members], dtype=float)
