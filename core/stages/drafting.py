"""The actions of given stages, in the order in which the plan runs their operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

import attrs
from attrs import frozen

from parplan.problem import STEP
from parplan.stages.chaining import handed_on, neighbours
from parplan.stages.cutting import Parts
from parplan.stages.edges import size_of
from parplan.stages.layers import Side
from parplan.stages.planned import Planned
from parplan.stages.program import Action, ActionKind
from parplan.stages.timing import Handover, Work, timed

Item = Action | int
"""What a device runs: an action of a stage, or an operator that runs once per step, by index."""

Joins = Callable[[int, int], bool]
"""Whether the backward pass of (stage, microbatch) is whole, where the plan runs it in one go."""


@frozen(eq=False)
class Draft:
    """Stages with the actions of each device, before they have times.

    Attributes
    ----------
    parts
        Layers of each stage.
    rows
        Task rows of each action, and of each operator that runs once per step.
    orders
        What each device of the cluster runs.
    numbers
        The plan's number of each microbatch.
    is_chain
        Whether stages hand on to the next one alone, and what skips stages passes through them.
    """

    planned: Planned
    parts: Parts
    rows: Mapping[Item, tuple[int, ...]]
    orders: tuple[tuple[Item, ...], ...]
    numbers: tuple[int, ...]
    is_chain: bool = False

    @cached_property
    def stage_of(self) -> Mapping[int, int]:
        """Stage of each layer."""
        return {layer: s for s, part in enumerate(self.parts) for layer in part}

    def ticks(self, item: Item) -> int:
        """Return how long the operators of an item take one after another."""
        schedule = self.planned.schedule
        starts, ends = schedule.tasks.start, schedule.ends
        return int(sum(ends[row] - starts[row] for row in self.rows[item]))

    def devices(self, item: Item) -> tuple[int, ...]:
        """Return the devices that an item runs on; one of an action."""
        return self.planned.schedule.alternative(self.rows[item][0]).devices

    def release(self, item: Item) -> int:
        """Return the tick before which an item may not start."""
        problem = self.planned.problem
        return problem.release(self.numbers[item.microbatch]) if isinstance(item, Action) else 0

    def planned_start(self, item: Item) -> int:
        """Return when the plan starts the first operator of an item, in ticks."""
        return int(min(self.planned.schedule.tasks.start[row] for row in self.rows[item]))


def draft(planned: Planned, parts: Parts, joins: Joins) -> Draft:
    """Return the actions of stages.

    An action stands where the first of its operators stands in the plan; the one for weights, which
    nobody waits for, where the last one stands, and behind the one for inputs. What runs once per
    step stays behind all that it stands behind in the plan.
    """
    stage_of = {layer: s for s, part in enumerate(parts) for layer in part}
    rows: dict[Item, tuple[int, ...]] = {}
    orders = []
    for device_rows in planned.rows:
        found = _positions_by_pass(planned, stage_of, device_rows)
        positions = dict(_items(found, joins))
        for item in positions:
            rows[item] = tuple(device_rows[i] for i in positions[item])
        places = _places(positions)
        orders.append(tuple(sorted(places, key=places.__getitem__)))
    numbers = tuple(range(planned.problem.workload.microbatches))
    return Draft(planned, parts, rows, tuple(orders), numbers)


Pass = tuple[int, int, Side] | int
"""Stage, microbatch and side; or an operator that runs once per step."""


def _positions_by_pass(
    planned: Planned, stage_of: Mapping[int, int], rows: Sequence[int]
) -> dict[Pass, list[int]]:
    """Return the positions on a device of the operators of each pass."""
    tasks, layers = planned.schedule.tasks, planned.layers
    found: dict[Pass, list[int]] = {}
    for i, row in enumerate(rows):
        o, k = int(tasks.operator[row]), int(tasks.microbatch[row])
        key = o if k == STEP else (stage_of[layers.layer_of[o]], k, layers.side[o])
        found.setdefault(key, []).append(i)
    return found


def _items(found: Mapping[Pass, list[int]], joins: Joins) -> Iterator[tuple[Item, list[int]]]:
    """Yield each item with the positions of its operators."""
    for key, positions in found.items():
        if isinstance(key, int):
            yield key, positions
            continue
        stage, k, side = key
        if side is Side.FORWARD:
            yield Action(stage, ActionKind.FORWARD, k), positions
            continue
        inputs = found.get((stage, k, Side.BACKWARD), [])
        weights = found.get((stage, k, Side.WEIGHT), [])
        both = sorted([*inputs, *weights])
        in_one_go = both[-1] - both[0] == len(both) - 1
        if not inputs or not weights or (in_one_go and joins(stage, k)):
            if side is Side.BACKWARD or not inputs:
                yield Action(stage, ActionKind.BACKWARD, k), both
        elif side is Side.BACKWARD:
            yield Action(stage, ActionKind.INPUT_GRADIENT, k), positions
        else:
            yield Action(stage, ActionKind.WEIGHT_GRADIENT, k), positions


def _places(positions: Mapping[Item, list[int]]) -> dict[Item, tuple[int, int]]:
    """Return what orders the items of a device, from the positions of their operators."""
    places: dict[Item, tuple[int, int]] = {}
    for item, own in positions.items():
        if isinstance(item, Action) and item.kind is ActionKind.WEIGHT_GRADIENT:
            inputs = positions[attrs.evolve(item, kind=ActionKind.INPUT_GRADIENT)]
            places[item] = (max(own[-1], inputs[0]), 1)
        else:
            places[item] = (own[0], 0)
    for item, own in positions.items():
        if not isinstance(item, Action):
            earlier = (places[other] for other, at in positions.items() if at[-1] < own[0])
            places[item] = max((own[0], 0), *((place, 2) for place, _ in earlier), (0, 0))
    return places


@frozen(eq=False)
class TimedDraft:
    """A draft with the start of each item, as early as orders and inputs allow.

    Attributes
    ----------
    starts
        In ticks; what is left out never starts.
    flows
        Bytes that items hand to one another.
    """

    draft: Draft
    starts: Mapping[Item, int]
    makespan: int
    flows: Mapping[tuple[Item, Item], int]

    @property
    def stuck(self) -> list[Item]:
        """What never starts because orders and inputs wait for each other."""
        return [item for item in self.draft.rows if item not in self.starts]

    def whole_for_free(self) -> set[tuple[int, int]]:
        """Return the (stage, microbatch) whose I may as well run as one with its W.

        No receiver of the gradients would start later.
        """
        late: set[tuple[int, int]] = set()
        for (before, after), size in self.flows.items():
            if not isinstance(before, Action) or before.kind is not ActionKind.INPUT_GRADIENT:
                continue
            weight = Action(before.stage, ActionKind.WEIGHT_GRADIENT, before.microbatch)
            if after != weight and self._wait(before, after, size) < self.draft.ticks(weight):
                late.add((before.stage, before.microbatch))
        split = {
            (item.stage, item.microbatch)
            for item in self.draft.rows
            if isinstance(item, Action) and item.kind is ActionKind.INPUT_GRADIENT
        }
        return split - late

    def _wait(self, before: Item, after: Item, size: int) -> int:
        """Return the ticks from the arrival of what is handed over to its use."""
        made = self.draft
        problem, ready = made.planned.problem, self.starts[before] + made.ticks(before)
        sources, targets = made.devices(before), made.devices(after)
        ways = [
            problem.transfer_timing(size, sources[0], target)
            for target in targets
            if target not in sources
        ]
        return self.starts[after] - ready - max((way.arrival for way in ways if way), default=0)


def with_times(made: Draft) -> TimedDraft:
    """Return a draft with its times; O(n log n) in its items and what they hand over."""
    number = {item: i for i, item in enumerate(made.rows)}
    flows = flows_of(made)
    timing = timed(
        made.planned.problem,
        [Work(made.devices(item), made.ticks(item), made.release(item)) for item in number],
        [[number[item] for item in order] for order in made.orders],
        [Handover(number[a], number[b], size) for (a, b), size in flows.items()],
    )
    starts = {item: timing.starts[i] for item, i in number.items() if i in timing.starts}
    return TimedDraft(made, starts, timing.makespan, flows)


def flows_of(made: Draft) -> dict[tuple[Item, Item], int]:
    """Return the bytes that items hand to one another; an action hands on all its tensors at once.

    A backward pass comes after the forward pass of its stage, and W after I. In a chain a stage
    waits for the one before, also where nothing passes, and a gradient for the one behind.
    """
    found: dict[tuple[Item, Item], int] = {}
    planned = made.planned
    problem, sent = planned.problem, set()
    for t, reader in planned.readings():
        maker = problem.graph.producers[t]
        if _share_stage(made, maker, reader):
            continue
        size = size_of(planned, t)
        for k in problem.microbatches_of(maker):
            before = _maker(made, maker, k)
            for m in problem.reading_tasks(reader, k):
                after = _receiver(made, reader, m, before)
                scale = 1.0 if k == STEP else problem.workload.scale(made.numbers[k])
                way = handed_on(before, after, made.rows) if made.is_chain else [(before, after)]
                what = planned.gradient_of.get(t, t) if made.is_chain else t
                for one, other in way:
                    if one == other or (what, one, other) in sent:
                        continue
                    sent.add((what, one, other))
                    found[one, other] = found.get((one, other), 0) + round(size * scale)
    for item in made.rows:
        if isinstance(item, Action) and item.kind is not ActionKind.FORWARD:
            forward = Action(item.stage, ActionKind.FORWARD, item.microbatch)
            found.setdefault((forward, item), 0)
            inputs = Action(item.stage, ActionKind.INPUT_GRADIENT, item.microbatch)
            if item.kind is ActionKind.WEIGHT_GRADIENT:
                found.setdefault((inputs, item), 0)
    if made.is_chain:
        for pair in neighbours(made.rows):
            found.setdefault(pair, 0)
    return found


def _share_stage(made: Draft, one: int, other: int) -> bool:
    """Return whether two operators are of one stage, whose own order holds them apart."""
    layer_of = made.planned.layers.layer_of
    if one not in layer_of or other not in layer_of:
        return False
    return made.stage_of[layer_of[one]] == made.stage_of[layer_of[other]]


def _maker(made: Draft, o: int, k: int) -> Item:
    """Return the item that an operator runs in."""
    layers = made.planned.layers
    side = layers.side[o]
    if side is Side.ONCE:
        return o
    stage = made.stage_of[layers.layer_of[o]]
    if side is Side.FORWARD:
        return Action(stage, ActionKind.FORWARD, k)
    whole = Action(stage, ActionKind.BACKWARD, k)
    if whole in made.rows:
        return whole
    is_weight = side is Side.WEIGHT
    return Action(stage, ActionKind.WEIGHT_GRADIENT if is_weight else ActionKind.INPUT_GRADIENT, k)


def _receiver(made: Draft, o: int, k: int, before: Item) -> Item:
    """Return the item that takes in what an operator reads: the first of its stage that can."""
    own = _maker(made, o, k)
    if not isinstance(own, Action) or not isinstance(before, Action) or own.stage == before.stage:
        return own
    if before.kind is ActionKind.FORWARD and before.stage < own.stage:
        return Action(own.stage, ActionKind.FORWARD, k)
    if own.kind is ActionKind.WEIGHT_GRADIENT:
        return Action(own.stage, ActionKind.INPUT_GRADIENT, k)
    return own
