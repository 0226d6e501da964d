"""The list scheduler, compiled: the same decisions as ``list_scheduler.run_plainly``.

Compiled once and kept on disk; a run over 2,000 activities takes well under a millisecond.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from parplan.scheduling.tables import Flags, Real, Tables, Whole
from parplan.system.compiling import compiled, kernel_part


def run_compiled(
    tables: Tables, priority: Real, before: Whole, after: Whole, patient: Flags
) -> tuple[Whole, int, int, int]:
    """Return (starts, how many were started, an activity that is stuck, the resource it lacks).

    Parameters
    ----------
    priority
        ``(n,)``, lower goes first.
    before, after
        Further arcs: ``after[i]`` starts when ``before[i]`` has ended.
    patient
        ``(n,)``, which activities wait for more urgent ones of their queue that are known to come,
        and would fit, before they would have ended themselves.
    """
    t = tables
    starts, done, stuck, resource = _run(
        t.durations,
        t.releases,
        t.arcs.first,
        t.arcs.index,
        t.arcs.amount.astype(np.int64),
        t.needs.first,
        t.needs.index,
        t.needs.amount,
        t.ends.first,
        t.ends.index,
        t.ends.amount,
        t.buffers.first,
        t.buffers.index,
        t.buffers.amount,
        t.frees.first,
        t.frees.index,
        t.left,
        t.waiting,
        t.queue,
        t.gate,
        t.strict,
        t.watchers.first,
        t.watchers.index,
        t.levels,
        t.limits,
        priority,
        before,
        after,
        patient,
    )
    return starts, int(done), int(stuck), int(resource)


@kernel_part
def _push(keys: Any, ids: Any, offset: int, size: int, key: Any, value: int) -> None:
    """Add to the binary heap at ``offset``; order by key, then id."""
    i = size
    while i > 0:
        up = (i - 1) // 2
        if key < keys[offset + up] or (key == keys[offset + up] and value < ids[offset + up]):
            keys[offset + i] = keys[offset + up]
            ids[offset + i] = ids[offset + up]
            i = up
        else:
            break
    keys[offset + i] = key
    ids[offset + i] = value


@kernel_part
def _pop(keys: Any, ids: Any, offset: int, size: int) -> None:
    """Remove the first of the binary heap of ``size`` at ``offset``."""
    last = size - 1
    key, value = keys[offset + last], ids[offset + last]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= last:
            break
        other = child + 1
        if other < last and (
            keys[offset + other] < keys[offset + child]
            or (
                keys[offset + other] == keys[offset + child]
                and ids[offset + other] < ids[offset + child]
            )
        ):
            child = other
        if keys[offset + child] < key or (
            keys[offset + child] == key and ids[offset + child] < value
        ):
            keys[offset + i] = keys[offset + child]
            ids[offset + i] = ids[offset + child]
            i = child
        else:
            break
    keys[offset + i] = key
    ids[offset + i] = value


@kernel_part
def _lacks(first: Any, index: Any, amount: Any, level: Any, limits: Any, activity: Any) -> Any:
    """Return the first resource that an activity needs and that is too full; -1 if it fits."""
    for k in range(first[activity], first[activity + 1]):
        if level[index[k]] + amount[k] > limits[index[k]]:
            return np.int64(index[k])
    return np.int64(-1)


@compiled
def _run(
    durations: Any,
    releases: Any,
    arc_first: Any,
    arc_index: Any,
    arc_delay: Any,
    need_first: Any,
    need_index: Any,
    need_amount: Any,
    end_first: Any,
    end_index: Any,
    end_amount: Any,
    buffer_first: Any,
    buffer_index: Any,
    buffer_amount: Any,
    free_first: Any,
    free_index: Any,
    left_: Any,
    waiting_: Any,
    queue: Any,
    gate: Any,
    strict: Any,
    watch_first: Any,
    watch_index: Any,
    levels: Any,
    limits: Any,
    priority: Any,
    before: Any,
    after: Any,
    patient: Any,
) -> Any:
    n = len(durations)
    queues = len(gate)
    waiting, left, level = waiting_.copy(), left_.copy(), levels.copy()
    ready_at = releases.copy()
    starts = np.full(n, -1, dtype=np.int64)
    # Further arcs, sorted by their beginning.
    more_first = np.zeros(n + 1, dtype=np.int64)
    for i in range(len(before)):
        more_first[before[i] + 1] += 1
        waiting[after[i]] += 1
    for i in range(n):
        more_first[i + 1] += more_first[i]
    place = more_first[:-1].copy()
    more_index = np.empty(len(before), dtype=np.int64)
    for i in range(len(before)):
        more_index[place[before[i]]] = after[i]
        place[before[i]] += 1
    # One heap of events, and one of ready activities for each queue, side by side.
    offset = np.zeros(queues + 1, dtype=np.int64)
    for i in range(n):
        offset[queue[i] + 1] += 1
    for q in range(queues):
        offset[q + 1] += offset[q]
    size = np.zeros(queues, dtype=np.int64)
    ready_key = np.empty(n, dtype=np.float64)
    ready_id = np.empty(n, dtype=np.int64)
    passed_key = np.empty(n, dtype=np.float64)
    passed_id = np.empty(n, dtype=np.int64)
    event_time = np.empty(2 * n, dtype=np.int64)
    event_id = np.empty(2 * n, dtype=np.int64)
    events, done, arrived = 0, 0, 0
    dirty = np.zeros(queues, dtype=np.bool_)
    # What is known to come to each queue, side by side like the heaps, and where each stands.
    coming = np.empty(n, dtype=np.int64)
    expected = np.zeros(queues, dtype=np.int64)
    stand = np.full(n, -1, dtype=np.int64)
    stack = np.empty(n, dtype=np.int64)
    for i in range(n):
        if waiting[i] == 0:
            _push(event_time, event_id, 0, events, ready_at[i], i + n)
            events += 1
    while events > 0:
        now = event_time[0]
        while events > 0 and event_time[0] == now:
            event = event_id[0]
            _pop(event_time, event_id, 0, events)
            events -= 1
            if event >= n:
                activity = event - n
                q = queue[activity]
                if stand[activity] >= 0:
                    expected[q] -= 1
                    moved = coming[offset[q] + expected[q]]
                    coming[stand[activity]] = moved
                    stand[moved] = stand[activity]
                key = priority[activity]
                if strict[q]:
                    arrived += 1
                    key = float(arrived)
                _push(ready_key, ready_id, offset[q], size[q], key, activity)
                size[q] += 1
                dirty[q] = True
                continue
            for k in range(end_first[event], end_first[event + 1]):
                r = end_index[k]
                level[r] -= end_amount[k]
                for w in range(watch_first[r], watch_first[r + 1]):
                    dirty[watch_index[w]] = True
            for f in range(free_first[event], free_first[event + 1]):
                b = free_index[f]
                left[b] -= 1
                if left[b] == 0:
                    for k in range(buffer_first[b], buffer_first[b + 1]):
                        r = buffer_index[k]
                        level[r] -= buffer_amount[k]
                        for w in range(watch_first[r], watch_first[r + 1]):
                            dirty[watch_index[w]] = True
        for q in range(queues):
            if not dirty[q]:
                continue
            dirty[q] = False
            passed = 0
            base = offset[q]
            while size[q] > 0:
                activity = ready_id[base]
                blocked = _lacks(need_first, need_index, need_amount, level, limits, activity)
                if blocked >= 0:
                    if blocked == gate[q] or strict[q]:
                        break
                    passed_key[passed] = ready_key[base]
                    passed_id[passed] = activity
                    passed += 1
                    _pop(ready_key, ready_id, base, size[q])
                    size[q] -= 1
                    continue
                if patient[activity]:
                    waits = False
                    for c in range(base, base + expected[q]):
                        other = coming[c]
                        if (
                            priority[other] < priority[activity]
                            and ready_at[other] < now + durations[activity]
                            and _lacks(need_first, need_index, need_amount, level, limits, other)
                            < 0
                        ):
                            waits = True
                            break
                    if waits:
                        break
                _pop(ready_key, ready_id, base, size[q])
                size[q] -= 1
                for k in range(need_first[activity], need_first[activity + 1]):
                    level[need_index[k]] += need_amount[k]
                starts[activity] = now
                done += 1
                _push(event_time, event_id, 0, events, now + durations[activity], activity)
                events += 1
                stack[0] = activity
                top = 1
                while top > 0:
                    top -= 1
                    one = stack[top]
                    own = arc_first[one + 1] - arc_first[one]
                    for k in range(own + more_first[one + 1] - more_first[one]):
                        if k < own:
                            later = arc_index[arc_first[one] + k]
                            time = starts[one] + arc_delay[arc_first[one] + k]
                        else:
                            later = more_index[more_first[one] + k - own]
                            time = starts[one] + durations[one]
                        ready_at[later] = max(ready_at[later], time, now)
                        waiting[later] -= 1
                        if waiting[later] > 0:
                            continue
                        to = queue[later]
                        if to == 0 and need_first[later] == need_first[later + 1]:
                            # Nothing can hold it up, so what follows it is known already.
                            starts[later] = ready_at[later]
                            done += 1
                            stack[top] = later
                            top += 1
                            if (
                                end_first[later] < end_first[later + 1]
                                or free_first[later] < free_first[later + 1]
                            ):
                                time = starts[later] + durations[later]
                                _push(event_time, event_id, 0, events, time, later)
                                events += 1
                            continue
                        stand[later] = offset[to] + expected[to]
                        coming[stand[later]] = later
                        expected[to] += 1
                        _push(event_time, event_id, 0, events, ready_at[later], later + n)
                        events += 1
            for k in range(passed):
                _push(ready_key, ready_id, base, size[q], passed_key[k], passed_id[k])
                size[q] += 1
            # What takes no time (a free transfer) makes others ready at once: they are heard first.
            if events > 0 and event_time[0] == now:
                break
    stuck, lacking = -1, -1
    for q in range(queues):
        if size[q] > 0 and stuck < 0:
            stuck = ready_id[offset[q]]
            lacking = _lacks(need_first, need_index, need_amount, level, limits, stuck)
    return starts, done, stuck, lacking
