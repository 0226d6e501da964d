"""Who waits for whom: tensors, time lags, orders, first-in-first-out links, the makespan."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import networkx as nx

from parplan.declarations import Edge, Order, TimeLag
from parplan.model.blocks import RuleBlock, Value
from parplan.model.demands import edge
from parplan.model.tasks import Task, TaskKey
from parplan.model.terms import Interval, Time, instant
from parplan.model.transfers import Transfer, TransferKey, Transport
from parplan.ticks import ticks_up

Arc = tuple[TaskKey, TaskKey]


class Precedence:
    """Adds precedences; remembers which hold whatever is chosen.

    Attributes
    ----------
    arcs
        (task, later task) pairs that hold in every solution.
    """

    def __init__(self, transport: Transport, block: RuleBlock) -> None:
        self.transport, self.block = transport, block
        self.choices, self.problem = transport.choices, transport.problem
        self.tasks, self.clock = transport.tasks, transport.clock
        self.arcs: dict[Arc, None] = {}

    # -- tensors -------------------------------------------------------------------------------

    def add_tensors(self) -> None:
        """Let each reader wait for the tensors it reads, or for their arrival."""
        graph = self.problem.graph
        for tensor, producer in enumerate(graph.producers):
            for microbatch in self.problem.microbatches_of(producer):
                for consumer in graph.consumers[tensor]:
                    for m in self.problem.reading_tasks(consumer, microbatch):
                        self._add_read(tensor, microbatch, self.tasks[consumer, m])
        self.transport.on_late = self._wait_for

    def _add_read(self, tensor: int, microbatch: int, reader: Task) -> None:
        """State ``S[reader] >= E[producer]``, or the end of the transfer where there is one."""
        producer = self.tasks[self.problem.graph.producers[tensor], microbatch]
        reads = self.problem.graph.reads
        rows = tuple(
            a
            for a in reader.sizes
            if tensor in reads(reader.operator, self.choices.alternative(reader.operator, a).mode)
        )
        if not rows:
            return
        if len(rows) == len(reader.sizes):
            self.arcs[
                (producer.operator, producer.microbatch), (reader.operator, reader.microbatch)
            ] = None
        if (tensor, microbatch) in self.transport.explicit:
            implied = self._wait_for_transfers(tensor, microbatch, reader)
        else:
            implied = self._wait_for_delays(tensor, producer, reader, rows)
        if not implied:
            self.block.before(producer.interval, reader.within(rows))

    def _wait_for_transfers(self, tensor: int, microbatch: int, reader: Task) -> bool:
        """Return whether one of these is there in every case, and so implies the rest."""
        implied = False
        for target in self.transport.targets(tensor, microbatch):
            rows = self.transport.reading_rows(reader.key, tensor, target)
            if rows:
                transfer = self.transport.make((tensor, microbatch, target))
                there = reader.within(rows)
                self.block.before(transfer.interval, there)
                implied = implied or (transfer.presence is None and there.presence is None)
        return implied

    def _wait_for(self, transfer: Transfer) -> None:
        """Let readers wait for a transfer that was made when their waits were already stated."""
        tensor, microbatch, target = transfer.key
        for consumer in self.problem.graph.consumers[tensor]:
            for m in self.problem.reading_tasks(consumer, microbatch):
                reader = self.tasks[consumer, m]
                rows = self.transport.reading_rows(reader.key, tensor, target)
                if rows:
                    self.block.before(transfer.interval, reader.within(rows))

    def _wait_for_delays(
        self, tensor: int, producer: Task, reader: Task, rows: tuple[int, ...]
    ) -> bool:
        """Wait for the arrival of transfers that start at once, since nothing hinders them."""
        lags: dict[int, dict[tuple[int, ...], list[int]]] = {}
        for b in rows:
            by_lag: dict[int, list[int]] = {}
            for a in producer.sizes:
                lag = self._lag(tensor, producer, a, reader, b)
                if lag:
                    by_lag.setdefault(lag, []).append(a)
            for lag, senders in by_lag.items():
                lags.setdefault(lag, {}).setdefault(tuple(senders), []).append(b)
        implied = False
        for lag, groups in lags.items():
            for sending, reading in groups.items():
                first, second = producer.within(sending), reader.within(tuple(reading))
                self.block.before(first, second, lag)
                implied = implied or (first.presence is None and second.presence is None)
        return implied

    def _lag(self, tensor: int, producer: Task, a: int, reader: Task, b: int) -> int:
        """Return ticks from the producer's end to the last arrival, by the best sources."""
        made = self.choices.alternative(producer.operator, a)
        read = self.choices.alternative(reader.operator, b)
        size = self.problem.tensor_bytes(tensor, made.mode, producer.microbatch)
        longest = 0
        for target in read.devices:
            if size is not None and target not in made.devices:
                timings = [self.problem.transfer_timing(size, s, target) for s in made.devices]
                arrivals = [t.arrival for t in timings if t is not None]
                longest = max(longest, min(arrivals, default=0))  # no route: the coupling forbids
        return self.clock.ticks(longest)

    # -- declared ------------------------------------------------------------------------------

    def add_lag(self, block: RuleBlock, lag: TimeLag) -> None:
        """State ``edge of after >= edge of before + seconds``, microbatch by microbatch."""
        ticks = self.clock.lag(
            ticks_up(lag.seconds, self.problem.tick_s), to_end=lag.after_edge is Edge.END
        )
        for first, second in self._pairs(lag.before, lag.after, lag.offset):
            one, two = edge(first, lag.before_edge), edge(second, lag.after_edge)
            block.before(instant(first.name, one), instant(second.name, two), ticks)

    def add_order(self, block: RuleBlock, order: Order) -> None:
        """Let the operators run one after the other, for each microbatch."""
        for before, after in zip(order.operators, order.operators[1:], strict=False):
            for first, second in self._pairs(before, after, 0):
                block.before(first.interval, second.interval)
                self.arcs[
                    (first.operator, first.microbatch), (second.operator, second.microbatch)
                ] = None

    def _pairs(self, before: str, after: str, offset: int) -> Iterable[tuple[Task, Task]]:
        """Yield microbatch k with k + offset; what runs once per step goes with every one."""
        index = self.problem.graph.operator_index
        one, two = index[before], index[after]
        for k in self.problem.microbatches_of(one):
            for m in self.problem.reading_tasks(two, k):
                tied = m + offset if m == k and m >= 0 else m
                if (two, tied) in self.tasks:
                    yield self.tasks[one, k], self.tasks[two, tied]

    # -- first in, first out ---------------------------------------------------------------------

    def add_fifo(self, block: RuleBlock) -> None:
        """Let transfers of one ordered device pair start in the order of their producers' ends.

        Where nothing fixes that order, two binaries say which it is; at a tie either may be.
        For bounds on coarser ticks such pairs are left free, since rounding may swap ends.
        """
        lanes: dict[tuple[int, int], list[tuple[Transfer, int]]] = {}
        for key in self.transport.possible:
            transfer = self.transport.make(key)
            for i, option in enumerate(transfer.options):
                lanes.setdefault((option.source, key[2]), []).append((transfer, i))
        graph: nx.DiGraph[TaskKey] = nx.DiGraph(list(self.arcs))
        graph.add_nodes_from(self.tasks)
        later = {task: nx.descendants(graph, task) for task in self.tasks}
        for lane in lanes.values():
            for n, (one, i) in enumerate(lane):
                for two, j in lane[n + 1 :]:
                    if one is not two:
                        self._queue(block, (one, i), (two, j), later)

    def _queue(
        self,
        block: RuleBlock,
        one: tuple[Transfer, int],
        two: tuple[Transfer, int],
        later: dict[TaskKey, set[TaskKey]],
    ) -> None:
        starts = [instant(t.name, t.start, t.literals[i]) for t, i in (one, two)]
        makers = [self._maker(t.key) for t, _ in (one, two)]
        if makers[0] == makers[1]:
            return
        for a, b in ((0, 1), (1, 0)):
            # A producer of zero length may end when the one before ends: then either may be first.
            if makers[b] in later[makers[a]] and min(self.tasks[makers[b]].sizes.values()):
                block.before(starts[a], starts[b])
                return
        if self.clock.relaxed:
            return
        name = f"{one[0].name},{one[1]} and {two[0].name},{two[1]}"
        ends = [self.tasks[k].end for k in makers]

        def leads(a: int, b: int, value: Value) -> float:
            there = all(s.presence is None or value(s.presence) > 0.5 for s in starts)
            # At a tie of the ends the order of the starts is free: follow it.
            times = [(value(ends[n]), value(starts[n].start), n) for n in (a, b)]
            return float(there and times[0] < times[1])

        orders = [
            block.binary(f"{name}: first leads", partial(leads, 0, 1)),
            block.binary(f"{name}: second leads", partial(leads, 1, 0)),
        ]
        both = 1 + sum(s.presence - 1 for s in starts if s.presence is not None)
        block.row(orders[0] + orders[1] >= both)
        block.at_most_one(orders)
        block.row(orders[0] + orders[1] <= 1)
        for a, b, order in ((0, 1, orders[0]), (1, 0, orders[1])):
            for times in (ends, [s.start for s in starts]):
                block.before(
                    instant(starts[a].name, times[a], order),
                    instant(starts[b].name, times[b], order),
                )

    def _maker(self, key: TransferKey) -> TaskKey:
        return self.problem.graph.producers[key[0]], key[1]

    # -- the end -------------------------------------------------------------------------------

    def add_makespan(self, makespan: Time) -> None:
        """Let the makespan be at least the end of every task that nothing surely follows."""
        followed = {one for one, _ in self.arcs}
        goal: Interval = instant("makespan", makespan)
        for key, task in self.tasks.items():
            if key not in followed:
                self.block.before(task.interval, goal)
