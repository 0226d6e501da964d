"""The order in which trainers run a chain themselves, where they cannot be told one.

1F1B with a flush, interleaved where ranks hold several stages (Narayanan et al., SC'21), as in
``megatron/core/pipeline_parallel/schedules.py`` (Megatron-LM d98e8a6).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import attrs

from parplan.errors import InputError
from parplan.plans import Plan
from parplan.plugins.exporters.chains import passing_figures, passing_notes
from parplan.plugins.exporters.trainers.placements import (
    Placement,
    in_chain_order,
    placement_of,
    require_chain,
)
from parplan.stages.adapting import as_chain, with_whole_backward
from parplan.stages.building import stage_program
from parplan.stages.cutting import by_device
from parplan.stages.drafting import Draft
from parplan.stages.program import Action, ActionKind, StageProgram
from parplan.text import bytes_text, percent_text, seconds_text


def own_program(plan: Plan, who: str, group: int = 0, *, chain: bool = False) -> StageProgram:
    """Return a plan's stages as a trainer runs them by itself; ranks in the order of the chain.

    Parameters
    ----------
    who
        Name of the trainer.
    group
        Microbatches that go through one stage of a rank before the next stage of it, where there
        are several; 0: as many as there are ranks.
    chain
        Whether a graph of stages is made a chain.

    Raises
    ------
    InputError
        If the stages are no chain in a loop, or so many microbatches cannot be interleaved.
    """
    adapt = partial(_in_own_order, who=who, group=group, chain=chain)
    return in_chain_order(stage_program(plan, float("inf"), (adapt,), (by_device,)))


def _in_own_order(made: Draft, *, who: str, group: int, chain: bool) -> Draft:
    stages = range(len(made.parts))
    edges = {(made.stage_of[a], made.stage_of[b]) for a, b in made.planned.layer_graph.edges}
    edges = {(a, b) for a, b in edges if a != b}
    if chain and edges != set(pairwise(stages)):
        made = as_chain(made)
    else:
        require_chain(edges, len(stages))
    device_of = [made.planned.device_of[part[0]] for part in made.parts]
    names = [made.planned.problem.cluster.devices[device].name for device in device_of]
    placement_of(names, (Placement.LOOP,), who)
    ranks, microbatches = len(set(device_of)), len(made.numbers)
    chunks = len(stages) // ranks
    group = group or ranks
    if chunks > 1 and (group < ranks or 0 < microbatches % group < ranks):
        raise InputError(
            f"{who} cannot interleave {microbatches} microbatches in groups of {group} on {ranks} "
            f"ranks: plan with a multiple of {ranks}, or give groups with --set group=N, at least "
            f"{ranks} and the last of them too",
            key="options.group",
        )
    made = with_whole_backward(made, stages, ActionKind.INPUT_GRADIENT)
    for stage in stages:
        if Action(stage, ActionKind.BACKWARD, 0) not in made.rows:
            raise InputError(
                f"stage {stage} on '{names[stage]}' has no backward pass; {who} runs training "
                "steps, with one for every stage"
            )
    orders = list(made.orders)
    for rank, device in enumerate(device_of[:ranks]):
        once = tuple(item for item in orders[device] if not isinstance(item, Action))
        orders[device] = (*one_rank(rank, ranks, chunks, microbatches, group), *once)
    return attrs.evolve(made, orders=tuple(orders))


def one_rank(
    rank: int, ranks: int, chunks: int, microbatches: int, group: int
) -> tuple[Action, ...]:
    """Return what one rank runs: forwards to warm up, then a forward and a backward in turn."""
    table = [
        (chunk, k)
        for first in range(0, microbatches, group)
        for chunk in range(chunks)
        for k in range(first, min(first + group, microbatches))
    ]
    forwards = [Action(chunk * ranks + rank, ActionKind.FORWARD, k) for chunk, k in table]
    backwards = [
        Action((chunks - 1 - chunk) * ranks + rank, ActionKind.BACKWARD, k) for chunk, k in table
    ]
    ahead = ranks - rank - 1
    warm_up = min(ahead if chunks == 1 else 2 * ahead + (chunks - 1) * group, len(table))
    steady = [
        action
        for forward, backward in zip(forwards[warm_up:], backwards, strict=False)
        for action in (forward, backward)
    ]
    return (*forwards[:warm_up], *steady, *backwards[len(table) - warm_up :])


def order_name(program: StageProgram) -> str:
    """Return what the order of such a program is called."""
    chunks = len(program.stages) // len(program.ranks)
    return "1F1B" if chunks == 1 else f"interleaved 1F1B, {chunks} stages on each rank"


def own_notes(plan: Plan, program: StageProgram, who: str) -> tuple[str, ...]:
    """Return what the trainer's own order costs beside the plan, and which device is which rank."""
    own, planned = program.makespan_s, program.planned_makespan_s
    notes = [
        f"{who} runs its own order, {order_name(program)}: it takes {seconds_text(own)}, the plan "
        f"{seconds_text(planned)} ({percent_text(own / planned - 1)} more)",
        f"pipeline ranks are, in order: {', '.join(rank.device for rank in program.ranks)}",
    ]
    notes += passing_notes(plan, program, None)
    usable: Callable[[str], int | None] = {
        device.name: device.usable_bytes for device in plan.problem.cluster.devices
    }.__getitem__
    for rank in program.ranks:
        room = usable(rank.device)
        if room is not None and rank.peak_bytes > room:
            notes.append(
                f"in that order '{rank.device}' holds {bytes_text(rank.peak_bytes)} at once, but "
                f"has {bytes_text(room)}: it would run out of memory"
            )
    return tuple(notes)


def own_figures(plan: Plan, program: StageProgram) -> dict[str, object]:
    """Return the same as numbers."""
    return {
        "stages": len(program.stages),
        "ranks": [rank.device for rank in program.ranks],
        "planned_makespan_s": program.planned_makespan_s,
        "own_makespan_s": program.makespan_s,
        "own_order": order_name(program),
        "peak_bytes": [rank.peak_bytes for rank in program.ranks],
        **passing_figures(plan, program, None),
    }
