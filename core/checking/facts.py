"""What a schedule says, derived anew from graph, cluster and workload.

Nothing here trusts the times that the model and the search use (``Problem.ticks``,
``Problem.transfer_timing``): durations and transfer times are recomputed from seconds, bytes,
bandwidths and latencies. Only valid rows may come here; ``parplan.checking.tasks`` sees to that.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from attrs import frozen

from parplan.checking.columns import Lookup, Mask, Ragged, Real, Whole, whole
from parplan.graph import Mode, Repeat
from parplan.problem import STEP, Alternative, Problem
from parplan.schedule import Schedule
from parplan.ticks import WHOLE, ticks_up


@frozen(eq=False)
class Reads:
    """One row for each (task, tensor, microbatch of the producer) that is read."""

    reader: Whole
    tensor: Whole
    microbatch: Whole
    producer: Whole


@frozen(eq=False)
class Needs:
    """One row for each read and each device of the reader.

    ``transfer`` is the row of the transfer that brings the tensor, -1 if there is none; ``local``
    says that the device is one of the producer's.
    """

    read: Whole
    device: Whole
    local: Mask
    transfer: Whole


@frozen(eq=False)
class Moves:
    """One row for each transfer: when it holds what, in ticks after its start.

    Where it cannot be (no route, or a tensor that is not written), ``possible`` is false and all
    times are 0.
    """

    producer: Whole
    bytes: Whole
    possible: Mask
    occupied: Whole
    arrival: Whole


@frozen(eq=False)
class Holds:
    """One row for each link that a transfer holds, from ``start`` to ``end`` in ticks."""

    transfer: Whole
    link: Whole
    start: Whole
    end: Whole


@frozen(eq=False)
class Facts:
    """Everything the checker and the reports derive from a schedule, each computed once."""

    schedule: Schedule

    @property
    def problem(self) -> Problem:
        """The problem that the schedule is for."""
        return self.schedule.problem

    @cached_property
    def once(self) -> Mask:
        """Whether each operator runs once per step."""
        return np.array([o.repeat is Repeat.STEP for o in self.problem.graph.operators])

    @cached_property
    def _first_task(self) -> Whole:
        runs = np.where(self.once, 1, self.problem.workload.microbatches)
        return (np.cumsum(runs) - runs).astype(np.int64)

    def task_number(self, operator: Whole, microbatch: Whole) -> Whole:
        """Return the position of tasks among all tasks of the problem."""
        return self._first_task[operator] + np.maximum(microbatch, 0)

    @cached_property
    def rows(self) -> Whole:
        """Row of each task of the problem, by its number."""
        t = self.schedule.tasks
        rows = np.full(self.problem.task_count, -1, dtype=np.int64)
        rows[self.task_number(t.operator, t.microbatch)] = np.arange(len(t))
        return rows

    # -- what each task chose ------------------------------------------------------------------

    @cached_property
    def _distinct(self) -> tuple[Whole, Whole]:
        t = self.schedule.tasks
        width = max(len(a) for a in self.problem.alternatives)
        keys, inverse = np.unique(t.operator * width + t.alternative, return_inverse=True)
        return keys, inverse.astype(np.int64)

    @cached_property
    def choices(self) -> tuple[tuple[int, Alternative], ...]:
        """The distinct (operator, alternative) pairs of all tasks."""
        alternatives = self.problem.alternatives
        width = max(len(a) for a in alternatives)
        pairs = (divmod(key, width) for key in self._distinct[0].tolist())
        return tuple((o, alternatives[o][a]) for o, a in pairs)

    @property
    def choice(self) -> Whole:
        """Index into ``choices`` of each task row."""
        return self._distinct[1]

    @cached_property
    def modes(self) -> tuple[Mode, ...]:
        """Mode of each choice."""
        operators = self.problem.graph.operators
        return tuple(operators[o].modes[a.mode] for o, a in self.choices)

    @cached_property
    def devices(self) -> Ragged:
        """Devices of each choice."""
        return Ragged.of([a.devices for _, a in self.choices])

    @cached_property
    def _membership(self) -> Lookup:
        count = len(self.problem.cluster.devices)
        which, device = self.devices.at(np.arange(len(self.choices)))
        return Lookup(which * count + device)

    def runs_on(self, row: Whole, device: Whole) -> Mask:
        """Return whether tasks (by row) run on devices."""
        count = len(self.problem.cluster.devices)
        return self._membership.find(self.choice[row] * count + device) >= 0

    # -- times of tasks ------------------------------------------------------------------------

    def scale(self, microbatch: Whole) -> Real:
        """Return the factor on times and bytes of microbatches; 1 for work once per step."""
        scales = self.problem.workload.scales
        if not scales:
            return np.ones(len(microbatch))
        return np.where(microbatch < 0, 1.0, np.array(scales)[np.maximum(microbatch, 0)])

    @cached_property
    def durations(self) -> Whole:
        """Ticks of each task: the slowest device of its group, or its ring if that is longer."""
        costs = [self._costs(m, a) for m, (_, a) in zip(self.modes, self.choices, strict=True)]
        table = np.array(costs, dtype=np.float64).reshape(-1, 3)[self.choice]
        scale = self.scale(self.schedule.tasks.microbatch)
        ring = table[:, 1] + table[:, 2] * scale
        seconds = np.maximum(table[:, 0] * scale, ring)
        ticks = np.ceil(seconds / self.problem.tick_s - WHOLE)
        return np.maximum(ticks, 0).astype(np.int64)

    def _costs(self, mode: Mode, chosen: Alternative) -> tuple[float, float, float]:
        """Return seconds on the slowest device, of the ring's latencies, and of its bytes."""
        devices = [self.problem.cluster.devices[d] for d in chosen.devices]
        seconds = 0.0
        for device in devices:
            base = mode.seconds.get(device.kind, mode.seconds.get("*", math.nan))
            slow = max((device.slowdown.get(engine, 1.0) for engine in mode.engines), default=1.0)
            seconds = max(seconds, base * slow)
        if mode.ring_steps == 0:
            return seconds, 0.0, 0.0
        hops = [[self.problem.cluster.links[k] for k in hop] for hop in self.ring(chosen)]
        latency = max(sum(link.latency_s for link in hop) for hop in hops)
        narrowest = min(link.bandwidth for hop in hops for link in hop)
        return seconds, mode.ring_steps * latency, mode.ring_bytes / narrowest

    def ring(self, chosen: Alternative) -> list[list[int]]:
        """Return the links from each device of a group to the next; the last leads to the first."""
        cluster, group = self.problem.cluster, chosen.devices
        hops = []
        for position, here in enumerate(group):
            route = cluster.route(here, group[(position + 1) % len(group)])
            hops.append([] if route is None else [cluster.link_index[n] for n in route.links])
        return hops

    @cached_property
    def starts(self) -> Whole:
        """Start of each task row in ticks."""
        return self.schedule.tasks.start

    @cached_property
    def ends(self) -> Whole:
        """End of each task row in ticks."""
        return self.starts + self.durations

    @cached_property
    def makespan(self) -> int:
        """End of the last task in ticks."""
        return int(self.ends.max(initial=0))

    # -- reads ---------------------------------------------------------------------------------

    @cached_property
    def producers(self) -> Whole:
        """Operator that makes each tensor."""
        index = self.problem.graph.operator_index
        return whole(index[t.producer] for t in self.problem.graph.tensors)

    @cached_property
    def reads(self) -> Reads:
        """All that tasks read, in their modes."""
        graph, t = self.problem.graph, self.schedule.tasks
        table = Ragged.of([graph.reads(o, a.mode) for o, a in self.choices])
        reader, tensor = table.at(self.choice)
        made_once, read_once = self.once[self.producers[tensor]], self.once[t.operator[reader]]
        # Work done once per step reads the tensors of every microbatch.
        copies = np.where(read_once & ~made_once, self.problem.workload.microbatches, 1)
        which = np.repeat(np.arange(len(reader)), copies)
        within = np.arange(len(which)) - np.repeat(np.cumsum(copies) - copies, copies)
        reader, tensor = reader[which], tensor[which]
        microbatch = np.where(read_once[which], within, t.microbatch[reader])
        microbatch = np.where(made_once[which], STEP, microbatch)
        producer = self.rows[self.task_number(self.producers[tensor], microbatch)]
        return Reads(reader, tensor, microbatch, producer)

    def place_key(self, tensor: Whole, microbatch: Whole, device: Whole) -> Whole:
        """Return one number for each (tensor, microbatch, device)."""
        runs = self.problem.workload.microbatches + 1
        return (tensor * runs + microbatch + 1) * len(self.problem.cluster.devices) + device

    @cached_property
    def needs(self) -> Needs:
        """Where each read happens, and which transfer serves it."""
        reads, x = self.reads, self.schedule.transfers
        read, device = self.devices.at(self.choice[reads.reader])
        local = self.runs_on(reads.producer[read], device)
        found = Lookup(self.place_key(x.tensor, x.microbatch, x.target)).find(
            self.place_key(reads.tensor[read], reads.microbatch[read], device)
        )
        return Needs(read, device, local, np.where(local, -1, found))

    # -- tensors and their transfers -----------------------------------------------------------

    def tensor_bytes(self, row: Whole, tensor: Whole) -> Whole:
        """Return the bytes per device that tasks (by row) write of tensors; -1 if they do not."""
        keys, inverse = np.unique(
            self.choice[row] * max(len(self.producers), 1) + tensor, return_inverse=True
        )
        sizes = np.empty(len(keys))
        for i, (c, t) in enumerate(divmod(k, max(len(self.producers), 1)) for k in keys.tolist()):
            writes, spec = self.modes[c].writes, self.problem.graph.tensors[t]
            sizes[i] = spec.bytes if writes is None else writes.get(spec.name, -1)
        full = sizes[inverse]
        scaled = np.ceil(full * self.scale(self.schedule.tasks.microbatch[row]) - 1e-9)
        return np.where(full < 0, -1, scaled).astype(np.int64)

    @cached_property
    def moves(self) -> Moves:
        """Times of each transfer."""
        x = self.schedule.transfers
        producer = self.rows[self.task_number(self.producers[x.tensor], x.microbatch)]
        size = self.tensor_bytes(producer, x.tensor)
        times = self._timings[1][self._timings[0]] if len(x) else np.zeros((0, 3), np.int64)
        return Moves(producer, size, times[:, 2] > 0, times[:, 0], times[:, 1])

    @cached_property
    def _timings(self) -> tuple[Whole, Whole, list[list[tuple[int, int, int]]]]:
        """Distinct timing of each transfer; (occupied, arrival, possible) and holds of each."""
        x, count = self.schedule.transfers, len(self.problem.cluster.devices)
        producer = self.rows[self.task_number(self.producers[x.tensor], x.microbatch)]
        sizes, size_number = np.unique(self.tensor_bytes(producer, x.tensor), return_inverse=True)
        keys, inverse = np.unique(
            (size_number * count + x.source) * count + x.target, return_inverse=True
        )
        times, holds = np.zeros((len(keys), 3), dtype=np.int64), []
        for i, key in enumerate(keys.tolist()):
            rest, target = divmod(key, count)
            number, source = divmod(rest, count)
            found = self._timing(int(sizes[number]), source, target)
            holds.append([] if found is None else found[2])
            times[i] = (0, 0, 0) if found is None else (found[0], found[1], 1)
        return inverse.astype(np.int64), times, holds

    def _timing(
        self, size: int, source: int, target: int
    ) -> tuple[int, int, list[tuple[int, int, int]]] | None:
        """Return ticks occupied, until arrival, and (link, offset, ticks) of each hold."""
        cluster, tick_s = self.problem.cluster, self.problem.tick_s
        route = cluster.route(source, target) if source != target else None
        if route is None or size < 0:
            return None
        crossed = [cluster.link_index[name] for name in route.links]
        ends = zip((source, target), cluster.transfer_engines, strict=True)
        slow = max([1.0, *(cluster.devices[d].slowdown.get(e, 1.0) for d, e in ends if e)])
        each = [ticks_up(size * slow / cluster.links[k].bandwidth, tick_s) for k in crossed]
        latency = ticks_up(sum(cluster.links[k].latency_s for k in crossed), tick_s)
        if not route.store_and_forward:
            each = [max(each, default=0)] * len(crossed)
            offsets, occupied = [0] * len(crossed), max(each, default=0)
        else:
            offsets, occupied = [sum(each[:i]) for i in range(len(each))], sum(each)
        return occupied, occupied + latency, list(zip(crossed, offsets, each, strict=True))

    @cached_property
    def holds(self) -> Holds:
        """Each hold of a link by a transfer."""
        which, _, holds = self._timings
        flat = [hold for row in holds for hold in row]
        numbers = iter(range(len(flat)))
        table = Ragged.of([[next(numbers) for _ in row] for row in holds])
        link, offset, ticks = (whole(hold[i] for hold in flat) for i in range(3))
        row, hold = table.at(which)
        start = self.schedule.transfers.start[row] + offset[hold]
        return Holds(row, link[hold], start, start + ticks[hold])

    # -- names ---------------------------------------------------------------------------------

    def seconds(self, ticks: int) -> str:
        """Return a time in seconds as text."""
        return f"{ticks * self.problem.tick_s:.9g} s"

    def task_name(self, row: int) -> str:
        """Return a task's operator, microbatch and devices as text."""
        t, devices = self.schedule.tasks, self.problem.cluster.devices
        operator = self.problem.graph.operators[int(t.operator[row])].name
        group = "+".join(devices[d].name for d in self.choices[int(self.choice[row])][1].devices)
        return f"'{operator}' ({run_name(int(t.microbatch[row]))}) on {group}"

    def transfer_name(self, row: int) -> str:
        """Return a transfer's tensor, microbatch and devices as text."""
        x, devices = self.schedule.transfers, self.problem.cluster.devices
        tensor = self.problem.graph.tensors[int(x.tensor[row])].name
        source, target = devices[int(x.source[row])].name, devices[int(x.target[row])].name
        run = run_name(int(x.microbatch[row]))
        return f"transfer of '{tensor}' ({run}) from {source} to {target}"


def run_name(microbatch: int) -> str:
    """Return which run of an operator is meant, as text."""
    return "once per step" if microbatch == STEP else f"microbatch {microbatch}"
