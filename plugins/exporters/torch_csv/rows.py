"""The rows of PyTorch's schedule files: each rank's actions, with sends and receives between them.

What the cells mean: ``torch/distributed/pipelining/schedules.py`` (PyTorch 2.13), ``_Action``.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from itertools import pairwise

from attrs import frozen

from parplan.errors import InputError
from parplan.stages.program import RELEASES, SENDS_GRADIENTS, Action, ActionKind, StageProgram

Row = list[str]


class Receive(Enum):
    """When a receive of several messages is posted: when the first is made, or the last."""

    AFTER_LAST = "after the last"
    AFTER_FIRST = "after the first"


def compute_rows(program: StageProgram) -> list[Row]:
    """Return the actions of each rank, for the format ``compute_only``."""
    return [[str(timed.action) for timed in rank.actions] for rank in program.ranks]


def comms_rows(program: StageProgram, receive: Receive, *, tagged: bool = False) -> list[Row]:
    """Return actions, sends, receives and gradient reductions, for the format ``compute_comms``.

    A receive stands where the row of its rank is when all that it receives is made; so every rank
    has messages in the order of one clock. A send stands behind the action that made what it sends,
    and waits for sends that the other rank receives before it: messages of two ranks have no names.
    Those that are ``tagged`` have, and do not wait.

    Raises
    ------
    InputError
        If a send would have to come both before and after another one.
    """
    rank_of = [stage.rank for stage in program.stages]
    wires = _Wires(program)
    timeline, before = _received(program, wires, receive)
    if tagged:
        before = defaultdict(set)
    rows: list[Row] = [[] for _ in program.ranks]
    waiting: list[Row] = [[] for _ in program.ranks]
    sent: set[str] = set()
    last = _last_releases(program)
    for rank, item in timeline:
        if isinstance(item, str):
            rows[rank].append(item)
            continue
        rows[rank].append(str(item))
        if wires.receivers(item):
            waiting[rank].append(wires.send(item))
        while (cell := next((c for c in waiting[rank] if before[c] <= sent), None)) is not None:
            waiting[rank].remove(cell)
            sent.add(cell)
            rows[rank].append(cell)
        if last.get(item.stage) == item:
            rows[rank_of[item.stage]].append(f"{item.stage}REDUCE_GRAD")
    late = next((cell for cells in waiting for cell in cells), None)
    if late is not None:
        raise InputError(f"{late} would have to come both before and after another send")
    return rows


Timeline = list[tuple[int, Action | str]]
"""Ranks with their actions, and with receives as cells, by one clock."""


def _received(
    program: StageProgram, wires: _Wires, receive: Receive
) -> tuple[Timeline, Mapping[str, set[str]]]:
    """Return actions and receives by one clock, and the sends that come before each send."""
    rank_of = [stage.rank for stage in program.stages]
    timeline: Timeline = []
    made: dict[str, int] = defaultdict(int)
    lanes: dict[tuple[int, int], list[str]] = defaultdict(list)
    for action in _in_order(program):
        timeline.append((rank_of[action.stage], action))
        direction, k = wires.direction(action), action.microbatch
        for target in wires.receivers(action):
            cell = f"{target}RECV_{direction}{k}"
            sources = wires.sources(target, direction)
            made[cell] += 1
            if made[cell] != (1 if receive is Receive.AFTER_FIRST else len(sources)):
                continue
            timeline.append((rank_of[target], cell))
            for source in sources:
                lanes[rank_of[source], rank_of[target]].append(f"{source}SEND_{direction}{k}")
    before: dict[str, set[str]] = defaultdict(set)
    for lane in lanes.values():
        for one, other in pairwise(lane):
            if one != other:
                before[other].add(one)
    return timeline, before


@frozen(eq=False)
class _Wires:
    """Who sends to whom on another rank."""

    program: StageProgram

    def direction(self, action: Action) -> str:
        """Return what the results of an action are called in sends: F or B."""
        return "F" if action.kind is ActionKind.FORWARD else "B"

    def send(self, action: Action) -> str:
        """Return the cell that sends the results of an action."""
        return f"{action.stage}SEND_{self.direction(action)}{action.microbatch}"

    def receivers(self, action: Action) -> list[int]:
        """Return the stages on other ranks that an action hands tensors to."""
        if action.kind is ActionKind.FORWARD:
            targets = [e.target for e in self.program.edges_out_of(action.stage)]
        elif action.kind in SENDS_GRADIENTS:
            edges = self.program.edges_into(action.stage)
            targets = [e.source for e in edges if e.gradients]
        else:
            targets = []
        return [t for t in targets if not self._together(t, action.stage)]

    def sources(self, stage: int, direction: str) -> list[int]:
        """Return the stages on other ranks that a stage gets tensors from."""
        if direction == "F":
            found = [e.source for e in self.program.edges_into(stage)]
        else:
            found = [e.target for e in self.program.edges_out_of(stage) if e.gradients]
        return [s for s in found if not self._together(s, stage)]

    def _together(self, one: int, other: int) -> bool:
        return self.program.stages[one].rank == self.program.stages[other].rank


def _last_releases(program: StageProgram) -> dict[int, Action]:
    """Return the last B or W of each stage."""
    return {
        timed.action.stage: timed.action
        for rank in program.ranks
        for timed in rank.actions
        if timed.action.kind in RELEASES
    }


def _in_order(program: StageProgram) -> Iterator[Action]:
    """Yield all actions by their end, each after those that it waits for."""
    ends = {timed.action: timed.end_s for rank in program.ranks for timed in rank.actions}
    waits, followers = _dependencies(program, ends)
    heap = [(ends[action], action) for action, count in waits.items() if count == 0]
    heapq.heapify(heap)
    while heap:
        _, action = heapq.heappop(heap)
        yield action
        for after in followers[action]:
            waits[after] -= 1
            if waits[after] == 0:
                heapq.heappush(heap, (ends[after], after))


def _dependencies(
    program: StageProgram, ends: Mapping[Action, float]
) -> tuple[dict[Action, int], dict[Action, list[Action]]]:
    waits = dict.fromkeys(ends, 0)
    followers: dict[Action, list[Action]] = {action: [] for action in ends}

    def wait(before: Action, after: Action) -> None:
        followers[before].append(after)
        waits[after] += 1

    for rank in program.ranks:
        actions = [timed.action for timed in rank.actions]
        for before, after in pairwise(actions):
            wait(before, after)
    for action in ends:
        for before in inputs_of(program, action):
            if before in ends:
                wait(before, action)
    return waits, followers


def inputs_of(program: StageProgram, action: Action) -> Sequence[Action]:
    """Return actions of other stages: those of them that are there, an action waits for."""
    stage, k = action.stage, action.microbatch
    if action.kind is ActionKind.FORWARD:
        return [Action(e.source, ActionKind.FORWARD, k) for e in program.edges_into(stage)]
    if action.kind not in SENDS_GRADIENTS:
        return []
    edges = [e for e in program.edges_out_of(stage) if e.gradients]
    return [Action(e.target, kind, k) for e in edges for kind in SENDS_GRADIENTS]
