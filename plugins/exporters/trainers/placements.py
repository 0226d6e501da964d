"""Which rank holds which stage of a chain, in the ways that pipelines of other tools know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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


def require_chain(pairs: Iterable[tuple[int, int]], stages: int) -> None:
    """Raise InputError unless each stage hands on to the next one, and to no other.

    Parameters
    ----------
    pairs
        (source, target) of what flows forwards between stages.
    """
    apart = sorted(set(pairs) ^ {(s, s + 1) for s in range(stages - 1)})
    if not apart:
        return
    source, target = apart[0]
    what = "does not read" if target == source + 1 else "reads"
    raise InputError(
        f"its stages form no chain: stage {target} {what} from stage {source}; the target runs "
        "chains alone: --set as_chain=true makes them one, and says what that costs; 'parplan run' "
        "runs any graph",
        key="options.as_chain",
    )


def in_chain_order(program: StageProgram) -> StageProgram:
    """Return a chain with its ranks numbered in the order of their first stages.

    Raises
    ------
    InputError
        If it is no chain.
    """
    require_chain(((e.source, e.target) for e in program.edges), len(program.stages))
    order = list(dict.fromkeys(stage.rank for stage in program.stages))
    new = {rank: i for i, rank in enumerate(order)}
    return attrs.evolve(
        program,
        stages=tuple(attrs.evolve(stage, rank=new[stage.rank]) for stage in program.stages),
        ranks=tuple(program.ranks[rank] for rank in order),
    )


def placement_of(devices: Sequence[str], known: Sequence[Placement], who: str) -> Placement:
    """Return the first known placement that a chain has, ranks in the order of first stages.

    Parameters
    ----------
    devices
        Name of the device of each stage.

    Raises
    ------
    InputError
        If it has none of them; naming a stage and its device.
    """
    ranks = list(dict.fromkeys(devices))
    for placement in known:
        if placement.accepts(len(devices), len(ranks)) and all(
            device == ranks[placement.rank(stage, len(ranks))]
            for stage, device in enumerate(devices)
        ):
            return placement
    wanted = [ranks[stage % len(ranks)] for stage in range(len(devices))]
    odd = next((s for s, d in enumerate(devices) if d != wanted[s]), len(devices) - 1)
    raise InputError(
        f"{who} places stages in a {' or a '.join(known)}, as many on each rank; the plan has "
        f"{len(devices)} stages on {len(ranks)} devices, stage {odd} on '{devices[odd]}' where a "
        f"loop has '{wanted[odd]}': plan with the constraint 'placement', option 'contiguous', "
        "for one stage on each"
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
