"""A schedule as rows to draw: who holds which device and link when, without overlap in a lane."""

from __future__ import annotations

import heapq

import numpy as np
from attrs import frozen

from parplan.schedule import Column, Schedule


@frozen(eq=False)
class Row:
    """What happens on one device or one link, in order of start.

    Attributes
    ----------
    name
        Of the device or link.
    tasks
        Task row of the schedule for each bar; -1 for a transfer.
    transfers
        Transfer row of the schedule for each bar; -1 for a task.
    start, end
        In ticks.
    lane
        Bars of one lane do not overlap; lanes are counted from 0.
    """

    name: str
    tasks: Column
    transfers: Column
    start: Column
    end: Column
    lane: Column

    @property
    def lanes(self) -> int:
        """Number of lanes, at least 1."""
        return int(self.lane.max()) + 1 if len(self.lane) else 1


def device_rows(schedule: Schedule) -> list[Row]:
    """Return a row per device of the cluster with the tasks that run on it."""
    bars: list[list[tuple[int, int, int, int]]] = [[] for _ in schedule.problem.cluster.devices]
    starts, ends = schedule.tasks.start.tolist(), schedule.ends.tolist()
    for row in range(len(schedule.tasks)):
        for device in schedule.alternative(row).devices:
            bars[device].append((starts[row], ends[row], row, -1))
    names = [device.name for device in schedule.problem.cluster.devices]
    return [_row(name, found) for name, found in zip(names, bars, strict=True)]


def link_rows(schedule: Schedule) -> list[Row]:
    """Return a row per link of the cluster with the transfers and collectives that hold it."""
    problem = schedule.problem
    bars: list[list[tuple[int, int, int, int]]] = [[] for _ in problem.cluster.links]
    sends = schedule.transfers.start.tolist()
    for row, start in enumerate(sends):
        for hold in schedule.transfer_timing(row).holds:
            begin = start + hold.offset
            bars[hold.link].append((begin, begin + hold.ticks, -1, row))
    starts, ends = schedule.tasks.start.tolist(), schedule.ends.tolist()
    operators = schedule.tasks.operator.tolist()
    for row, operator in enumerate(operators):
        for link in problem.collective_links(operator, schedule.alternative(row)):
            bars[link].append((starts[row], ends[row], row, -1))
    names = [link.name for link in problem.cluster.links]
    return [_row(name, found) for name, found in zip(names, bars, strict=True)]


def coverage(start: Column, end: Column, edges: Column) -> Column:
    """Return the ticks that bars cover between consecutive edges, bars added up.

    Parameters
    ----------
    start, end
        Of each bar, in ticks, in any order.
    edges
        Increasing instants in ticks, shape (bins + 1,); the result has shape (bins,).
    """
    return np.diff(_passed(start, edges) - _passed(end, edges))


def _passed(instants: Column, edges: Column) -> Column:
    """Sum of ``max(edge - instant, 0)`` over all instants, for each edge."""
    ordered = np.sort(instants)
    sums = np.concatenate(([np.int64(0)], np.cumsum(ordered)))
    count = np.searchsorted(ordered, edges, side="right")
    passed: Column = count * edges - sums[count]
    return passed


def _row(name: str, bars: list[tuple[int, int, int, int]]) -> Row:
    bars.sort()
    columns = np.array(bars, dtype=np.int64).reshape(-1, 4).T
    lane = np.array(_lanes(bars), dtype=np.int64)
    return Row(name, columns[2], columns[3], columns[0], columns[1], lane)


def _lanes(bars: list[tuple[int, int, int, int]]) -> list[int]:
    """Give each bar (sorted by start) the lowest lane that is free; O(bars log lanes)."""
    free: list[int] = []
    held: list[tuple[int, int]] = []
    count, result = 0, []
    for start, end, _, _ in bars:
        while held and held[0][0] <= start:
            heapq.heappush(free, heapq.heappop(held)[1])
        if not free:
            heapq.heappush(free, count)
            count += 1
        lane = heapq.heappop(free)
        result.append(lane)
        heapq.heappush(held, (end, lane))
    return result
