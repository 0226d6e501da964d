"""Forward and backward passes that a runtime may run at once, as DualPipe does: ``OVERLAP_F_B``.

PyTorch's own runtime (2.13) runs the two one after another; one that is given a function for such
actions exchanges the tokens of the one while it computes the other. Either way both have all their
inputs before they begin, and hand on nothing before they have ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from parplan.stages.program import SENDS_GRADIENTS, Action, ActionKind, StageProgram

Unit = tuple[Action, ...]
"""Actions that begin together: one, or a forward pass with a backward pass."""


def overlapping_rows(program: StageProgram) -> list[list[Unit]]:
    """Return the actions of each rank, a forward pass with the backward pass right behind it.

    Apart stay passes of one microbatch, and those that would wait for each other.
    """
    apart: set[Action] = set()
    while True:
        rows = [_units([t.action for t in rank.actions], apart) for rank in program.ranks]
        stuck = _stuck(program, rows)
        if not stuck:
            return rows
        apart |= stuck


def _units(actions: Sequence[Action], apart: set[Action]) -> list[Unit]:
    found: list[Unit] = []
    i = 0
    while i < len(actions):
        end = i + 1
        behind = actions[end] if end < len(actions) else None
        if (
            behind is not None
            and actions[i] not in apart
            and actions[i].kind is ActionKind.FORWARD
            and behind.kind in SENDS_GRADIENTS
            and behind.microbatch != actions[i].microbatch
        ):
            end += 1
            weight = Action(behind.stage, ActionKind.WEIGHT_GRADIENT, behind.microbatch)
            end += end < len(actions) and actions[end] == weight
        found.append(tuple(actions[i:end]))
        i = end
    return found


def _stuck(program: StageProgram, rows: Sequence[Sequence[Unit]]) -> set[Action]:
    """Return the forward passes of pairs at which ranks wait for each other for ever."""
    at = [0] * len(rows)
    done: set[Action] = set()
    moved = True
    while moved:
        moved = False
        for rank, row in enumerate(rows):
            while at[rank] < len(row) and all(_can_run(program, a, done) for a in row[at[rank]]):
                done.update(row[at[rank]])
                at[rank] += 1
                moved = True
    heads = (row[i] for row, i in zip(rows, at, strict=True) if i < len(row))
    return {unit[0] for unit in heads if len(unit) > 1}


def _can_run(program: StageProgram, action: Action, done: set[Action]) -> bool:
    k = action.microbatch
    if action.kind is ActionKind.FORWARD:
        return all(
            Action(edge.source, ActionKind.FORWARD, k) in done
            for edge in program.edges_into(action.stage)
        )
    if action.kind is ActionKind.WEIGHT_GRADIENT:
        return True
    return all(
        any(Action(edge.target, kind, k) in done for kind in SENDS_GRADIENTS)
        for edge in program.edges_out_of(action.stage)
        if edge.gradients
    )


def cell_of(unit: Unit) -> str:
    """Return the cell of actions that begin together.

    >>> cell_of((Action(0, ActionKind.FORWARD, 2), Action(3, ActionKind.BACKWARD, 1)))
    '(0F2;3B1)OVERLAP_F_B'
    """
    if len(unit) == 1:
        return str(unit[0])
    return f"({';'.join(map(str, unit))})OVERLAP_F_B"
