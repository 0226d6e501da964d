"""The sequence view of a network: machines that run their activities in an order.

A machine is a resource of capacity one. Every other resource that can bind (memory, tokens, power)
is kept by one machine, its home: what takes or gives back some of it visits that machine too, even
if it does not run there. Then an order of visits decides alone, whatever the times, whether memory
suffices: a prefix sum of what is taken and given back. Times follow by longest path:

- what runs on a machine starts when what ran there before has ended;
- every visit starts no earlier than the visits before it, and when those of them that give
  something back have ended.

So a receive is a visit to its receiver's machine: its buffer is taken when it starts. Such orders
cover every schedule in which nothing is given back by activities that overlap with later takers;
where they do (two engines that share a memory), the order makes the later one wait.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from parplan.problem import STEP
from parplan.scheduling.network import Network
from parplan.scheduling.tables import Real, Rows, Tables, Whole

Flags = NDArray[np.bool_]


class Machines(NamedTuple):
    """Flat arrays of n activities (nodes), their visits to q machines, and r kept resources.

    Rows of an array ``x`` that belong to i are at ``x_first[i]`` up to ``x_first[i + 1]``. Nodes
    are the activities of the network without transfers that hold nothing, which are delays here.
    An *order* lists the nodes of machine 0, then those of machine 1, and so on; machine q's are
    at ``first[q]`` up to ``first[q + 1]``. All times in ticks.

    Attributes
    ----------
    durations, releases, tails, counted
        Of each node; ``tails`` is the longest path from its start to the end of the last task,
        ``counted`` whether its end counts for the makespan (transfers do not).
    arc_first, arc_from, arc_delay
        Arcs into each node: it starts ``delay`` after the start of ``from``, or later.
    visit_first, visit_machine, visit_runs
        Machines that each node visits, and whether it runs there or only takes and gives.
    first, out, mixed
        Of each machine: its place in an order, the shortest time from the end of one that runs
        there to the end of all, and whether some visits only take and give.
    kinds, ranks, member_first, members
        Kind of each node, its number among its kind, and the nodes of each kind. Nodes of one
        kind (an operator under one group, if all microbatches are alike) keep their order.
    move_first, move_resource, move_take, move_give
        What each node takes as it starts and gives back as it ends.
    last_first, last_buffer, buffer_first, buffer_nodes, hold_first, hold_resource, hold_amount
        Buffers that the last of several nodes gives back: those that wait for each node, the
        nodes that each buffer waits for, and what it holds.
    kept_first, held_first
        Resources of each machine, which are numbered by machine; and where its prefix sums begin
        (a row of its resources for each of its visits).
    levels, limits
        Of each resource: what is held from the outset, and its capacity.
    """

    durations: Whole
    releases: Whole
    tails: Whole
    counted: Flags
    arc_first: Whole
    arc_from: Whole
    arc_delay: Whole
    visit_first: Whole
    visit_machine: Whole
    visit_runs: Flags
    first: Whole
    out: Whole
    mixed: Flags
    kinds: Whole
    ranks: Whole
    member_first: Whole
    members: Whole
    move_first: Whole
    move_resource: Whole
    move_take: Real
    move_give: Real
    last_first: Whole
    last_buffer: Whole
    buffer_first: Whole
    buffer_nodes: Whole
    hold_first: Whole
    hold_resource: Whole
    hold_amount: Real
    kept_first: Whole
    held_first: Whole
    levels: Real
    limits: Real


@frozen(eq=False)
class SequenceView:
    """A network seen as machines, and the way there and back.

    Attributes
    ----------
    activities
        Activity of each node.
    topological
        Rank of each node in a topological order of the arcs; breaks ties of starts.
    delays
        (activity, its producer, delay) of each transfer that is only a delay.
    """

    network: Network
    machines: Machines
    activities: Whole
    topological: Whole
    delays: tuple[Whole, Whole, Whole]

    def order(self, starts: Sequence[int] | Whole) -> Whole:
        """Return the order of a schedule of the network; O(visits x log)."""
        return self.order_of_nodes(np.asarray(starts, dtype=np.int64)[self.activities])

    def order_of_nodes(self, begun: Whole) -> Whole:
        """Return the order in which nodes with such starts visit their machines."""
        m = self.machines
        owners = np.repeat(np.arange(len(begun)), np.diff(m.visit_first))
        rows = np.lexsort((self.topological[owners], begun[owners], m.visit_machine))
        return self._in_line(owners[rows])

    def _in_line(self, order: Whole) -> Whole:
        """Return the order with the nodes of each kind sorted by their numbers."""
        m = self.machines
        found = order.copy()
        for q in range(len(m.first) - 1):
            row = order[m.first[q] : m.first[q + 1]]
            by_place = np.argsort(m.kinds[row], kind="stable")
            by_rank = np.lexsort((m.ranks[row], m.kinds[row]))
            found[m.first[q] + by_place] = row[by_rank]
        return found

    def starts(self, nodes: Whole) -> Whole:
        """Return the start of every activity of the network from those of the nodes."""
        found = np.full(len(self.network), -1, dtype=np.int64)
        found[self.activities] = nodes
        moved, makers, delays = self.delays
        found[moved] = found[makers] + delays
        return found


def make_view(network: Network, tables: Tables) -> SequenceView | None:
    """Return the sequence view of a network; None where orders cannot say all of it.

    That is so with first-in-first-out transfers that hold links: which goes first is decided by
    their producers. Linear in visits and arcs, but for buffers that several nodes release: there
    paths within a microbatch are searched, once for each group of equal microbatches.
    """
    if any(tables.strict[tables.queue[a]] and network.amounts[a] for a in range(len(network))):
        return None
    return _Builder(network, tables).build()


@frozen
class _Buffer:
    """What is held until the last of some activities has ended."""

    amounts: tuple[tuple[int, float], ...]
    releasers: tuple[int, ...]


class _Builder:
    """Collects the parts of one view; lives only inside ``make_view``."""

    def __init__(self, network: Network, tables: Tables) -> None:
        self.network = network
        self.tables = tables
        self.needs = _pairs(tables.needs)
        self.ends = _pairs(tables.ends)
        self.rank = _topological_ranks(network)
        self.microbatches = [m for _, m in network.tasks] + [m for _, m, _, _ in network.transfers]
        self.groups = [network.problem.workload.group(m) for m in self.microbatches]
        self._released: dict[tuple[object, ...], tuple[int, ...]] = {}

    def build(self) -> SequenceView:
        network, tables = self.network, self.tables
        count = len(network)
        units = self._units()
        buffers = self._buffers()
        take = [{r: x for r, x in row if r not in units} for row in self.needs]
        give = [{r: x for r, x in row if r not in units} for row in self.ends]
        last: list[list[int]] = [[] for _ in range(count)]
        shared: list[_Buffer] = []
        for buffer in buffers:
            if len(buffer.releasers) == 1:
                row = give[buffer.releasers[0]]
                for r, x in buffer.amounts:
                    row[r] = row.get(r, 0.0) + x
            elif buffer.releasers:
                for a in buffer.releasers:
                    last[a].append(len(shared))
                shared.append(buffer)
        touched = [
            {*take[a], *give[a], *(r for b in last[a] for r, _ in shared[b].amounts)}
            for a in range(count)
        ]
        runs: list[list[int]] = [[] for _ in range(count)]
        for q, runners in enumerate(dict.fromkeys(units.values())):
            for a in runners:
                runs[a].append(q)
        machines = len(set(units.values()))
        homes, machines = _homes(touched, runs, machines)
        visits: list[dict[int, bool]] = []
        for a in range(count):
            visited = dict.fromkeys(runs[a], True)
            for r in sorted(touched[a]):
                visited.setdefault(homes[r], False)
            if not visited and a < len(network.tasks):
                visited[machines] = True
                machines += 1
            visits.append(visited)
        nodes = [a for a in range(count) if visits[a]]
        number = {a: i for i, a in enumerate(nodes)}
        arcs, delays = self._arcs(number)
        resources = sorted(homes, key=lambda r: (homes[r], r))
        place = {r: i for i, r in enumerate(resources)}
        kinds, ranks, members = self._kinds(nodes)
        durations = np.array([network.durations[a] for a in nodes], dtype=np.int64)
        counted = np.array([a < len(network.tasks) for a in nodes], dtype=np.bool_)
        tails = _tails(durations, counted, arcs, [self.rank[a] for a in nodes])
        visit_first, visit_machine, visit_runs = _table(visits[a].items() for a in nodes)
        arc_first, arc_from, arc_delay = _table(arcs)
        moves = [
            [
                (place[r], take[a].get(r, 0.0), give[a].get(r, 0.0))
                for r in sorted({*take[a], *give[a]})
            ]
            for a in nodes
        ]
        move_first = _offsets([len(row) for row in moves])
        flat = list(chain.from_iterable(moves))
        last_first, last_buffer, _ = _table(((b, 0) for b in last[a]) for a in nodes)
        buffer_first, buffer_nodes, _ = _table(
            ((number[a], 0) for a in buffer.releasers) for buffer in shared
        )
        hold_first = _offsets([len(buffer.amounts) for buffer in shared])
        holds = [(place[r], x) for buffer in shared for r, x in buffer.amounts]
        first = _offsets(np.bincount(visit_machine, minlength=machines).tolist())
        spare = np.repeat(tails - durations, np.diff(visit_first))
        out = np.full(machines, np.iinfo(np.int64).max // 4, dtype=np.int64)
        np.minimum.at(out, visit_machine[visit_runs > 0], spare[visit_runs > 0])
        mixed = np.zeros(machines, dtype=np.bool_)
        mixed[visit_machine[visit_runs == 0]] = True
        kept = np.zeros(machines, dtype=np.int64)
        for r in resources:
            kept[homes[r]] += 1
        found = Machines(
            durations=durations,
            releases=np.array([network.releases[a] for a in nodes], dtype=np.int64),
            tails=tails,
            counted=counted,
            arc_first=arc_first,
            arc_from=arc_from,
            arc_delay=arc_delay,
            visit_first=visit_first,
            visit_machine=visit_machine,
            visit_runs=visit_runs.astype(np.bool_),
            first=first,
            out=out,
            mixed=mixed,
            kinds=kinds,
            ranks=ranks,
            member_first=_offsets([len(row) for row in members]),
            members=np.array(list(chain.from_iterable(members)), dtype=np.int64),
            move_first=move_first,
            move_resource=np.array([r for r, _, _ in flat], dtype=np.int64),
            move_take=np.array([x for _, x, _ in flat], dtype=float),
            move_give=np.array([x for _, _, x in flat], dtype=float),
            last_first=last_first,
            last_buffer=last_buffer,
            buffer_first=buffer_first,
            buffer_nodes=buffer_nodes,
            hold_first=hold_first,
            hold_resource=np.array([r for r, _ in holds], dtype=np.int64),
            hold_amount=np.array([x for _, x in holds], dtype=float),
            kept_first=_offsets(kept.tolist()),
            held_first=_offsets((kept * np.diff(first)).tolist()),
            levels=tables.levels[resources].astype(float),
            limits=tables.limits[resources].astype(float),
        )
        topological = np.argsort(np.argsort([self.rank[a] for a in nodes]))
        return SequenceView(network, found, np.array(nodes, dtype=np.int64), topological, delays)

    def _units(self) -> dict[int, tuple[int, ...]]:
        """Return who runs on each resource that one activity at a time can hold."""
        network = self.network
        users: dict[int, list[int]] = {}
        mixed: set[int] = set()
        for a, row in enumerate(self.needs):
            own = dict(self.ends[a])
            for r, amount in row:
                users.setdefault(r, []).append(a)
                if network.levels[r] or amount != own.get(r) or 2 * amount <= self.tables.limits[r]:
                    mixed.add(r)
        return {r: tuple(row) for r, row in users.items() if r not in mixed}

    def _buffers(self) -> list[_Buffer]:
        """Return the buffers that can bind, without releasers that another one always outlasts."""
        network, tables = self.network, self.tables
        rows = _pairs(tables.buffers)
        return [
            _Buffer(tuple(rows[b]), self._outlasting(buffer.releasers))
            for b, buffer in enumerate(network.buffers)
            if rows[b]
        ]

    def _outlasting(self, releasers: tuple[int, ...]) -> tuple[int, ...]:
        """Return the releasers that end last in some schedule."""
        if len(releasers) < 2:
            return releasers
        key = (*(self._key(a) for a in releasers),)
        if key not in self._released:
            kept = [
                a for a in releasers if not any(b != a and self._outlasts(b, a) for b in releasers)
            ]
            self._released[key] = tuple(releasers.index(a) for a in kept)
        return tuple(releasers[i] for i in self._released[key])

    def _key(self, activity: int) -> object:
        """Return what an activity has in common with those of other, equal microbatches."""
        network = self.network
        if len(set(network.problem.workload.scales)) > 1:
            return activity
        count = len(network.tasks)
        if activity < count:
            what: tuple[int, ...] = (network.tasks[activity][0],)
        else:
            tensor, _, source, target = network.transfers[activity - count]
            what = (tensor, source, target)
        once = self.microbatches[activity] == STEP
        return (*what, STEP if once else self.groups[activity])

    def _outlasts(self, late: int, early: int) -> bool:
        """Return whether arcs within a microbatch make ``late`` end no earlier than ``early``."""
        network = self.network
        wanted = network.durations[early] - network.durations[late]
        inside = {self.microbatches[early], self.microbatches[late], STEP}
        reached = {early: 0}
        heap = [(self.rank[early], early)]
        while heap:
            _, a = heapq.heappop(heap)
            if a == late:
                return reached[a] >= wanted
            for after, delay in network.successors[a]:
                if self.microbatches[after] in inside and self.rank[after] <= self.rank[late]:
                    if after not in reached:
                        heapq.heappush(heap, (self.rank[after], after))
                    reached[after] = max(reached.get(after, -(2**62)), reached[a] + delay)
        return False

    def _kinds(self, nodes: Sequence[int]) -> tuple[Whole, Whole, list[list[int]]]:
        """Return kind and number of each node, and the nodes of each kind."""
        members: dict[object, list[int]] = {}
        for i, a in enumerate(nodes):
            members.setdefault(self._key(a), []).append(i)
        kinds = np.zeros(len(nodes), dtype=np.int64)
        ranks = np.zeros(len(nodes), dtype=np.int64)
        for k, row in enumerate(members.values()):
            row.sort(key=lambda i: self.microbatches[nodes[i]])
            kinds[row] = k
            ranks[row] = np.arange(len(row))
        return kinds, ranks, list(members.values())

    def _arcs(
        self, number: Mapping[int, int]
    ) -> tuple[list[list[tuple[int, int]]], tuple[Whole, Whole, Whole]]:
        """Return arcs into each node; and (activity, its producer, delay) of what is no node."""
        network = self.network
        arcs: list[list[tuple[int, int]]] = [[] for _ in number]
        delays: list[tuple[int, int, int]] = []
        for a, i in number.items():
            for after, delay in network.successors[a]:
                if after in number:
                    arcs[number[after]].append((i, delay))
                else:
                    delays.append((after, a, delay))
                    for reader, more in network.successors[after]:
                        arcs[number[reader]].append((i, delay + more))
        table = np.array(delays, dtype=np.int64).reshape(-1, 3)
        return arcs, (table[:, 0], table[:, 1], table[:, 2])


def _homes(
    touched: Sequence[set[int]], runs: Sequence[list[int]], machines: int
) -> tuple[dict[int, int], int]:
    """Return the machine that keeps each resource, and how many machines there are then.

    It is the one on which most of what touches the resource runs.
    """
    votes: dict[int, dict[int, int]] = {}
    for a, row in enumerate(touched):
        for r in row:
            count = votes.setdefault(r, {})
            for q in runs[a]:
                count[q] = count.get(q, 0) + 1
    homes: dict[int, int] = {}
    for r, count in votes.items():
        if count:
            homes[r] = max(count, key=lambda q: (count[q], -q))
        else:
            homes[r] = machines
            machines += 1
    return homes, machines


def _topological_ranks(network: Network) -> list[int]:
    waiting = [0] * len(network)
    for row in network.successors:
        for after, _ in row:
            waiting[after] += 1
    heap = [a for a, n in enumerate(waiting) if n == 0]
    ranks = [len(network)] * len(network)
    done = 0
    while heap:
        a = heapq.heappop(heap)
        ranks[a] = done
        done += 1
        for after, _ in network.successors[a]:
            waiting[after] -= 1
            if waiting[after] == 0:
                heapq.heappush(heap, after)
    return ranks


def _tails(
    durations: Whole,
    counted: Flags,
    arcs: Sequence[Sequence[tuple[int, int]]],
    ranks: Sequence[int],
) -> Whole:
    tails = np.where(counted, durations, 0)
    for i in np.argsort(ranks)[::-1].tolist():
        for before, delay in arcs[i]:
            tails[before] = max(tails[before], delay + tails[i])
    return tails


def _pairs(rows: Rows) -> list[list[tuple[int, float]]]:
    first, index, amount = rows.first.tolist(), rows.index.tolist(), rows.amount.tolist()
    pairs = list(zip(index, amount, strict=True))
    return [pairs[a:b] for a, b in pairwise(first)]


def _offsets(lengths: Sequence[int]) -> Whole:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _table(rows: Iterable[Iterable[tuple[int, int]]]) -> tuple[Whole, Whole, Whole]:
    lists = [list(row) for row in rows]
    flat = np.array(list(chain.from_iterable(lists)), dtype=np.int64).reshape(-1, 2)
    first = _offsets([len(row) for row in lists])
    return first, np.ascontiguousarray(flat[:, 0]), np.ascontiguousarray(flat[:, 1])
