"""Graphs of stages as chains: what skips stages is handed on by every stage between."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise

from parplan.stages.program import SENDS_GRADIENTS, Action, ActionKind

Pair = tuple[int, int]
"""Two stages, by index."""

Handed = Mapping[Pair, Mapping[int, int]]
"""Bytes of the tensors, by index, that go from stage to stage."""


def handed_on(
    before: Action | int, after: Action | int, items: Collection[Action | int]
) -> list[tuple[Action | int, Action | int]]:
    """Return the steps that a result of one action takes to another one of a stage further on.

    Parameters
    ----------
    items
        All that is run: a stage without a backward pass hands on no gradients.
    """
    if not isinstance(before, Action) or not isinstance(after, Action):
        return [(before, after)]
    first, last, k = before.stage, after.stage, before.microbatch
    if before.kind is ActionKind.FORWARD and after.kind is ActionKind.FORWARD and first < last:
        between = [Action(s, ActionKind.FORWARD, k) for s in range(first + 1, last)]
    elif before.kind in SENDS_GRADIENTS and last < first:
        between = [
            action
            for s in range(first - 1, last, -1)
            for kind in SENDS_GRADIENTS
            if (action := Action(s, kind, k)) in items
        ]
    else:
        between = []
    return list(pairwise([before, *between, after]))


def neighbours(items: Collection[Action | int]) -> Iterator[tuple[Action, Action]]:
    """Yield the actions of neighbours in a chain that wait for each other, also for nothing."""
    for item in items:
        if not isinstance(item, Action):
            continue
        step = 1 if item.kind is ActionKind.FORWARD else -1
        kinds = (ActionKind.FORWARD,) if step == 1 else SENDS_GRADIENTS
        if item.kind not in (ActionKind.FORWARD, *SENDS_GRADIENTS):
            continue
        for kind in kinds:
            after = Action(item.stage + step, kind, item.microbatch)
            if after in items:
                yield item, after


def passed_through(handed: Handed, alike: Mapping[int, int]) -> dict[Pair, dict[int, int]]:
    """Return what goes from each stage to the next one if nothing skips a stage.

    Parameters
    ----------
    alike
        Of gradients, what they are added up to on their way: one of each is handed on.
    """
    found: dict[Pair, dict[int, int]] = {}
    known: dict[Pair, set[int]] = {}
    for (source, target), tensors in handed.items():
        for step in pairwise(range(source, target + 1)):
            for t, size in tensors.items():
                if alike.get(t, t) not in known.setdefault(step, set()):
                    known[step].add(alike.get(t, t))
                    found.setdefault(step, {})[t] = size
    return found
