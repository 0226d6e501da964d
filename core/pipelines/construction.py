"""Tools for recipes: orders that come out of the stages' times instead of being written down.

A device that is free runs what it chooses among its passes, whenever some pass ends. Transfers take
no time here; what the orders are worth with transfers, links and memory is found out when they are
scheduled.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from parplan.errors import InputError
from parplan.pipelines.pipeline import Fused, Pass, PassKind, PipelineShape, StageTimes, passes_of

Choice = Callable[[int, float, Mapping[Pass, float]], Pass | Fused | None]
"""(device, now, end of each pass begun so far) -> what a free device begins; None: it waits."""


def check_microbatches(devices: int, microbatches: int) -> None:
    """Refuse fewer microbatches than devices, which cannot fill a pipeline.

    Raises
    ------
    InputError
        If there are fewer.
    """
    if microbatches < devices:
        raise InputError(f"needs at least as many microbatches as devices, {devices}")


def play(
    shape: PipelineShape, times: StageTimes, choose: Choice, fill: Choice | None = None
) -> tuple[tuple[Pass | Fused, ...], ...]:
    """Return what each device begins, in order, where ``choose`` decides; until nothing begins.

    O(passes x devices) calls.

    Parameters
    ----------
    fill
        Asked of the devices that ``choose`` leaves waiting, once it leaves all of them: by then it
        is known what begins at the same instant elsewhere.
    """
    orders: list[list[Pass | Fused]] = [[] for _ in range(shape.devices)]
    free_at = [0.0] * shape.devices
    ends: dict[Pass, float] = {}
    instants = [0.0]
    askers = [choose] if fill is None else [choose, fill]

    def begins(ask: Choice, device: int, now: float) -> bool:
        item = ask(device, now, ends) if free_at[device] <= now else None
        if item is None:
            return False
        end = now
        for one in passes_of((item,)):
            end += times.of(one)
            ends[one] = end
        free_at[device] = end
        heapq.heappush(instants, end)
        orders[device].append(item)
        return True

    while instants:
        now = heapq.heappop(instants)
        while instants and instants[0] == now:
            heapq.heappop(instants)
        # Whatever begins may let others begin at the same instant, so all are asked again.
        while any(begins(ask, d, now) for ask in askers for d in range(shape.devices)):
            pass
    return tuple(tuple(order) for order in orders)


def fill_with_weights(
    shape: PipelineShape,
    passes: Sequence[Sequence[Pass]],
    times: StageTimes,
    most_activations: int,
) -> tuple[tuple[Pass | Fused, ...], ...]:
    """Return orders of F's and B's with W's put in: oldest first, into gaps, or to free memory.

    A device runs its F's and B's in the order given, as soon as it can. It runs a W instead where
    the next pass is a W or more away, or where it holds ``most_activations`` and would begin an F
    (a stage holds one from F to W; Qi et al., ICLR 2024, section 3.1). What is left comes last.

    Raises
    ------
    InputError
        If the orders deadlock within that memory.
    """
    rest = [deque(row) for row in passes]
    pending: list[deque[Pass]] = [deque() for _ in passes]
    held = [0] * len(passes)

    def ready(one: Pass, ends: Mapping[Pass, float]) -> float:
        return max((ends.get(i, float("inf")) for i in shape.inputs(one)), default=0.0)

    def is_full(device: int) -> bool:
        return rest[device][0].kind is PassKind.F and held[device] >= most_activations

    def follow(device: int, now: float, ends: Mapping[Pass, float]) -> Pass | None:
        if not rest[device] or ready(rest[device][0], ends) > now or is_full(device):
            return None
        one = rest[device].popleft()
        if one.kind is PassKind.F:
            held[device] += 1
        else:
            pending[device].append(Pass(PassKind.W, one.stage, one.microbatch))
        return one

    def fill(device: int, now: float, ends: Mapping[Pass, float]) -> Pass | None:
        if not pending[device]:
            return None
        if rest[device] and not is_full(device):
            gap = ready(rest[device][0], ends) - now
            if gap < times.of(pending[device][0]):
                return None
        held[device] -= 1
        return pending[device].popleft()

    orders = play(shape, times, follow, fill)
    stuck = next((row[0] for row in rest if row), None)
    if stuck is not None:
        raise InputError(
            f"pass {stuck} never comes: the orders deadlock with {most_activations} activations"
        )
    return orders


Urgency = Callable[[Pass], tuple[float, ...]]
"""A key of a pass that could begin; the least begins first."""


def most_urgent_first(
    shape: PipelineShape, times: StageTimes, urgency: Urgency
) -> tuple[tuple[Pass | Fused, ...], ...]:
    """Return orders in which a free device begins the most urgent pass that is ready.

    W's run in one call with their B's. The microbatches of a group go through each stage in order.
    """
    queues: list[list[deque[Pass]]] = [[] for _ in range(shape.devices)]
    for group, placement in enumerate(shape.placements):
        own = [k for k in range(shape.microbatches) if shape.group(k) == group]
        for stage, device in enumerate(placement):
            for kind in (PassKind.F, PassKind.B):
                queues[device].append(deque(Pass(kind, stage, k) for k in own))

    def choose(device: int, now: float, ends: Mapping[Pass, float]) -> Pass | Fused | None:
        ready = [
            queue
            for queue in queues[device]
            if queue and all(ends.get(i, float("inf")) <= now for i in shape.inputs(queue[0]))
        ]
        if not ready:
            return None
        one = min(ready, key=lambda queue: urgency(queue[0])).popleft()
        return one if one.kind is PassKind.F else whole_backward(one.stage, one.microbatch)

    return play(shape, times, choose)


def whole_backward(stage: int, microbatch: int) -> Fused:
    """Return B and W of a microbatch in one call."""
    return Fused((Pass(PassKind.B, stage, microbatch), Pass(PassKind.W, stage, microbatch)))
