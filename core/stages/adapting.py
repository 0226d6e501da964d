"""Drafts changed to what a runtime asks of them; each function says what it keeps."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise

import attrs

from parplan.errors import InputError
from parplan.stages.drafting import Draft, Item, flows_of, with_times
from parplan.stages.program import Action, ActionKind

Adaptation = Callable[[Draft], Draft]


def as_chain(draft: Draft) -> Draft:
    """Return a draft in which each stage hands on to the next one alone; no action changes.

    Orders stay as they are unless stages would wait for each other; then all is run by its planned
    start, after what it waits for.

    Raises
    ------
    InputError
        If there is no way from the device of a stage to that of the next one.
    """
    problem = draft.planned.problem
    devices = [draft.planned.device_of[part[0]] for part in draft.parts]
    for stage, (one, other) in enumerate(pairwise(devices)):
        for source, target in ((one, other), (other, one)):
            if source != target and problem.transfer_timing(1, source, target) is None:
                names = [problem.cluster.devices[d].name for d in (source, target)]
                raise InputError(
                    f"stages {stage} and {stage + 1} would be neighbours in a chain, but nothing "
                    f"can be sent from '{names[0]}' to '{names[1]}'"
                )
    chain = attrs.evolve(draft, is_chain=True)
    return _by_planned_start(chain) if with_times(chain).stuck else chain


def _by_planned_start(draft: Draft) -> Draft:
    followers: dict[Item, list[Item]] = {item: [] for item in draft.rows}
    waits = dict.fromkeys(draft.rows, 0)
    for before, after in flows_of(draft):
        followers[before].append(after)
        waits[after] += 1
    number = {item: i for i, item in enumerate(draft.rows)}
    ready = [(draft.planned_start(i), number[i], i) for i, count in waits.items() if not count]
    heapq.heapify(ready)
    place: dict[Item, int] = {}
    while ready:
        _, _, item = heapq.heappop(ready)
        place[item] = len(place)
        for after in followers[item]:
            waits[after] -= 1
            if not waits[after]:
                heapq.heappush(ready, (draft.planned_start(after), number[after], after))
    orders = tuple(tuple(sorted(order, key=place.__getitem__)) for order in draft.orders)
    return attrs.evolve(draft, orders=orders)


def with_whole_backward(draft: Draft, stages: Collection[int], place: ActionKind) -> Draft:
    """Return a draft in which the backward passes of some stages are not split.

    Parameters
    ----------
    place
        Whether the whole pass stands where I stood, or where W did.
    """
    rows = dict(draft.rows)
    other = (
        ActionKind.WEIGHT_GRADIENT
        if place is ActionKind.INPUT_GRADIENT
        else ActionKind.INPUT_GRADIENT
    )
    for item in draft.rows:
        if isinstance(item, Action) and item.stage in stages and item.kind is place:
            weight = Action(item.stage, other, item.microbatch)
            both = sorted({*rows.pop(item), *rows.pop(weight)}, key=draft.planned.place_of)
            rows[_whole(item)] = tuple(both)
    orders = tuple(
        tuple(
            _whole(item) if _is_split(item, stages) else item
            for item in order
            if not (_is_split(item, stages) and isinstance(item, Action) and item.kind is other)
        )
        for order in draft.orders
    )
    return attrs.evolve(draft, rows=rows, orders=orders)


def _is_split(item: Item, stages: Collection[int]) -> bool:
    split = (ActionKind.INPUT_GRADIENT, ActionKind.WEIGHT_GRADIENT)
    return isinstance(item, Action) and item.stage in stages and item.kind in split


def _whole(item: Item) -> Action:
    assert isinstance(item, Action)
    return attrs.evolve(item, kind=ActionKind.BACKWARD)


def renumbered(draft: Draft, number: Mapping[int, int]) -> Draft:
    """Return a draft in which microbatch k is called ``number[k]``; no time changes."""

    def one(item: Item) -> Item:
        if not isinstance(item, Action):
            return item
        return attrs.evolve(item, microbatch=number[item.microbatch])

    return attrs.evolve(
        draft,
        rows={one(item): rows for item, rows in draft.rows.items()},
        orders=tuple(tuple(map(one, order)) for order in draft.orders),
        numbers=tuple(
            draft.numbers[k] for k in sorted(range(len(draft.numbers)), key=number.__getitem__)
        ),
    )


def in_turn(draft: Draft, stages: Collection[int]) -> Draft:
    """Return a draft in which some stages take microbatches in the order of their numbers.

    The first forward pass of such a stage becomes that of microbatch 0, and its backward passes
    with it, and so on; other stages keep their order.
    """
    number = {
        (stage, action.microbatch): k
        for order in draft.orders
        for stage in stages
        for k, action in enumerate(forwards(order, stage))
    }

    def one(item: Item) -> Item:
        if not isinstance(item, Action) or item.stage not in stages:
            return item
        return attrs.evolve(item, microbatch=number[item.stage, item.microbatch])

    return attrs.evolve(
        draft,
        rows={one(item): rows for item, rows in draft.rows.items()},
        orders=tuple(tuple(map(one, order)) for order in draft.orders),
    )


def forwards(order: Sequence[Item], stage: int) -> list[Action]:
    """Return the forward passes of a stage, in the order of its device."""
    return [
        item
        for item in order
        if isinstance(item, Action) and item.stage == stage and item.kind is ActionKind.FORWARD
    ]
