"""Loads of a partition, kept up to date move by move: compiled.

``parplan.steady_state.loads`` says the same of a schedule, in plain Python.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from parplan.scheduling.tables import Real, Whole
from parplan.search.partitioning.instance import Instance, Mask
from parplan.system.compiling import compiled, kernel_part


class State(NamedTuple):
    """A partition and what follows from it.

    Attributes
    ----------
    device_of
        Device of each item.
    load
        Ticks per microbatch of each place.
    stored
        Bytes on each device.
    readers_on
        Items that read ``[tensor, device]`` there.
    flow
        Arcs from device to device, ``[flow, source, target]``; kept only where the partition must
        be contiguous.
    unreached
        One number: transfers that have no route.
    peak, waiting
        Scratch, of each place and of each device.
    """

    device_of: Whole
    load: Real
    stored: Real
    readers_on: Whole
    flow: Whole
    unreached: Whole
    peak: Real
    waiting: Mask


def make_state(instance: Instance, device_of: Whole) -> State:
    """Return the state of a partition."""
    devices = instance.allowed.shape[1]
    state = State(
        device_of=device_of.astype(np.int64),
        load=np.zeros(instance.places),
        stored=np.zeros(devices),
        readers_on=np.zeros((len(instance.sizes), devices), dtype=np.int64),
        flow=np.zeros((len(instance.goes_back), devices, devices), dtype=np.int64),
        unreached=np.zeros(1, dtype=np.int64),
        peak=np.zeros(instance.places),
        waiting=np.zeros(devices, dtype=np.bool_),
    )
    refresh(instance, state)
    return state


@compiled
def refresh(instance: Any, state: Any) -> Any:
    """Compute everything that follows from ``device_of`` anew; rounding errors are gone then."""
    state.load[:] = 0.0
    state.stored[:] = 0.0
    state.readers_on[:] = 0
    state.flow[:] = 0
    state.unreached[0] = 0
    engines = instance.work.shape[2]
    for item in range(len(state.device_of)):
        device = state.device_of[item]
        state.stored[device] += instance.bytes[item]
        for engine in range(engines):
            state.load[device * engines + engine] += instance.work[item, device, engine]
    for t in range(len(instance.sizes)):
        for at in range(instance.reader_first[t], instance.reader_first[t + 1]):
            state.readers_on[t, state.device_of[instance.readers[at]]] += 1
    _charge(instance, state, np.arange(len(instance.sizes)), 1)
    for a in range(len(instance.arc_tail)):
        tail = state.device_of[instance.arc_tail[a]]
        head = state.device_of[instance.arc_head[a]]
        state.flow[instance.arc_flow[a], tail, head] += 1


@kernel_part
def _charge(instance: Any, state: Any, tensors: Any, sign: Any) -> Any:
    """Add (or, by the sign, take back) what the transfers of some tensors hold."""
    devices, width = instance.place.shape[1], instance.place.shape[2]
    for t in tensors:
        source = state.device_of[instance.makers[t]]
        readers = instance.reader_first[t + 1] - instance.reader_first[t]
        left = readers - state.readers_on[t, source]
        size = instance.sizes[t]
        peaks = False
        target = 0
        while left > 0:
            here = state.readers_on[t, target]
            if here > 0 and target != source:
                left -= here
                for k in range(width):
                    where = instance.place[source, target, k]
                    if where < 0:
                        break
                    if instance.rate[source, target, k] == np.inf:
                        state.unreached[0] += sign
                        break
                    ticks = instance.rate[source, target, k] * size
                    if not instance.once[source, target, k]:
                        state.load[where] += sign * ticks
                    elif ticks > state.peak[where]:
                        state.load[where] += sign * (ticks - state.peak[where])
                        state.peak[where] = ticks
                        peaks = True
            target += 1
        if peaks:
            for other in range(devices):
                for k in range(width):
                    where = instance.place[source, other, k]
                    if where >= 0:
                        state.peak[where] = 0.0


@kernel_part
def move(instance: Any, state: Any, item: Any, device: Any) -> Any:
    """Put an item on a device."""
    before = state.device_of[item]
    engines = instance.work.shape[2]
    touching = instance.touching[instance.touch_first[item] : instance.touch_first[item + 1]]
    _charge(instance, state, touching, -1)
    if instance.contiguous:
        _count(instance, state, item, -1)
    for t in touching:
        if instance.makers[t] != item:
            state.readers_on[t, before] -= 1
            state.readers_on[t, device] += 1
    for engine in range(engines):
        state.load[before * engines + engine] -= instance.work[item, before, engine]
        state.load[device * engines + engine] += instance.work[item, device, engine]
    state.stored[before] -= instance.bytes[item]
    state.stored[device] += instance.bytes[item]
    state.device_of[item] = device
    _charge(instance, state, touching, 1)
    if instance.contiguous:
        _count(instance, state, item, 1)


@kernel_part
def _count(instance: Any, state: Any, item: Any, sign: Any) -> Any:
    """Add (or take back) the arcs of an item to the flow between devices."""
    for at in range(instance.arc_first[item], instance.arc_first[item + 1]):
        a = instance.arcs[at]
        tail = state.device_of[instance.arc_tail[a]]
        head = state.device_of[instance.arc_head[a]]
        state.flow[instance.arc_flow[a], tail, head] += sign


@compiled
def busiest(state: Any) -> Any:
    """Return the place with the largest load."""
    found = 0
    for where in range(len(state.load)):
        if state.load[where] > state.load[found]:
            found = where
    return found


@compiled
def excess(instance: Any, state: Any) -> Any:
    """Return by how much a partition cannot be: memory beyond the room, transfers without route."""
    over = float(state.unreached[0])
    for device in range(len(state.stored)):
        # A millionth of a byte may be left over by rounding.
        if state.stored[device] > instance.room[device] + 1e-6:
            over += state.stored[device] / instance.room[device]
    return over


@compiled
def is_contiguous(state: Any) -> Any:
    """Return whether the devices can stand in a row in which no arc goes back, in each flow."""
    devices = len(state.stored)
    for flow in range(len(state.flow)):
        state.waiting[:] = True
        left, before = devices, devices + 1
        while 0 < left < before:
            before = left
            for device in range(devices):
                if state.waiting[device]:
                    free = True
                    for other in range(devices):
                        if (
                            other != device
                            and state.waiting[other]
                            and state.flow[flow, other, device] > 0
                        ):
                            free = False
                            break
                    if free:
                        state.waiting[device] = False
                        left -= 1
        if left > 0:
            return False
    return True
