"""Which rank holds which stage of a chain, in the ways that pipelines of other tools know."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import attrs

from parplan.errors import InputError
from parplan.stages.cutting import Parts, by_device
from parplan.stages.planned import Planned
from parplan.stages.program import StageProgram

GroupOf = Callable[[str], object]
"""What of a model must not be cut, by a module's path: the same for all of one group."""


class Placement(StrEnum):
    """Where stage s of a chain is, on P ranks.

    LOOP: on rank s modulo P. V: two stages on each rank, s and 2P-1-s.
    """

    LOOP = "loop"
    V = "v"

    def rank(self, stage: int, ranks: int) -> int:
        """Return the rank of a stage."""
        if self is Placement.LOOP:
            return stage % ranks
        return min(stage, 2 * ranks - 1 - stage)

    def accepts(self, stages: int, ranks: int) -> bool:
        """Return whether so many stages can be placed so."""
        return stages % ranks == 0 if self is Placement.LOOP else stages == 2 * ranks


def in_chain_order(program: StageProgram) -> StageProgram:
    """Return a chain with its ranks numbered in the order of their first stages.

    Raises
    ------
    InputError
        If it is no chain.
    """
    if not program.is_chain:
        apart = next(
            ((e.source, e.target) for e in program.edges if e.target != e.source + 1), None
        )
        where = "" if apart is None else f": stage {apart[1]} reads from stage {apart[0]}"
        raise InputError(
            f"its stages form no chain{where}; the target runs chains alone: export 'torch-csv' "
            "and use 'parplan run', which runs any graph"
        )
    order = list(dict.fromkeys(stage.rank for stage in program.stages))
    new = {rank: i for i, rank in enumerate(order)}
    return attrs.evolve(
        program,
        stages=tuple(attrs.evolve(stage, rank=new[stage.rank]) for stage in program.stages),
        ranks=tuple(program.ranks[rank] for rank in order),
    )


def require_placement(program: StageProgram, known: tuple[Placement, ...], who: str) -> Placement:
    """Return the first known placement that a chain has.

    Raises
    ------
    InputError
        If it has none of them; naming a stage and its device.
    """
    ranks, stages = len(program.ranks), program.stages
    for placement in known:
        if placement.accepts(len(stages), ranks) and all(
            stage.rank == placement.rank(stage.index, ranks) for stage in stages
        ):
            return placement
    names = " or ".join(known)
    odd = next((s for s in stages if s.rank != s.index % ranks), stages[-1])
    wanted = program.ranks[odd.index % ranks].device
    raise InputError(
        f"{who} places stages in a {names}, with as many on each rank; of {len(stages)} stages on "
        f"{ranks} ranks, stage {odd.index} is on '{odd.device}' where a loop has '{wanted}': plan "
        "with the constraint 'placement', option 'contiguous', or take the best hand-made schedule "
        "of that kind ('parplan compare')"
    )


def turned(planned: Planned, group_of: GroupOf) -> Parts:
    """Return stages cut by device, the one at which a V turns round cut in two.

    Parameters
    ----------
    group_of
        Layers of one group stay together.
    """
    parts = by_device(planned)
    middle = len(parts) // 2
    devices = [planned.device_of[part[0]] for part in parts]
    if len(parts) % 2 == 0 or len(parts) == 1 or devices != devices[::-1]:
        return parts
    operators = planned.problem.graph.operators
    part = parts[middle]
    groups = list(dict.fromkeys(group_of(operators[layer].module) for layer in part))
    first = groups[: (len(groups) + 1) // 2]
    halves = (
        tuple(layer for layer in part if group_of(operators[layer].module) in first),
        tuple(layer for layer in part if group_of(operators[layer].module) not in first),
    )
    return (*parts[:middle], *(half for half in halves if half), *parts[middle + 1 :])
