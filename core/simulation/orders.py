"""The orders of a schedule as arcs: what a replay keeps of a plan when times come out otherwise.

A replay starts everything as early as its arcs allow. Beside the arcs of the problem there is one
rule for engines, links and memory alike: whatever takes some of a resource waits for as many of the
releases planned before it, in the planned order, as it takes to make room for it and for everything
planned to be taken before it.

Why this is enough: at any instant of a replay let j be the last, in planned order, of all that has
been taken. What has been taken is then at most A(j), the sum of all amounts up to j; of the planned
releases at least the first k(j) have happened, and k(j) was chosen such that A(j) less these fits.
So no resource is ever overfilled, whatever the times. Where an engine does one thing at a time this
is its planned order; where memory is ample it is no arc at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from parplan.declarations import Edge, Moving
from parplan.errors import InputError
from parplan.rules import Rules
from parplan.schedule import Schedule
from parplan.scheduling.network import Network, activity_name, build_network
from parplan.scheduling.tables import Real, Whole

ROUNDING = 1e-9
"""How far sums of amounts may be off, relative to the capacity."""


@frozen(eq=False)
class Arcs:
    """Arcs between starts, sorted by the later one: those of node i at ``first[i]`` and on.

    ``start[i] >= start[before] + scaled * factor[before] + fixed - shift * factor[i]``, in ticks,
    where factors are those of a scenario.
    """

    first: Whole
    before: Whole
    scaled: Real
    fixed: Real
    shift: Real


@frozen(eq=False)
class Orders:
    """A schedule's activities and all arcs that a replay obeys.

    Attributes
    ----------
    planned
        Start of each activity in the schedule, in ticks.
    nodes
        Activities, and after them joints: nodes without length where releases come together.
    sequence
        The nodes in an order in which each comes after those it waits for.
    """

    network: Network
    planned: Whole
    nodes: int
    arcs: Arcs
    sequence: Whole


def orders_of(schedule: Schedule, rules: Rules) -> Orders:
    """Return the orders of a schedule; time and memory are linear but for some sorting.

    Raises
    ------
    InputError
        If the schedule breaks the rules, or holds something that only fixed times can keep: a
        resource for no time at all where it is full, or two things at most so far apart.
    """
    network = _network(schedule, rules)
    planned = _planned(schedule, network)
    table = _Table()
    table.add(*precedences(network))
    if network.problem.cluster.fifo:
        posts = _posts(network, planned)
        table.add(posts, [(0.0, 0.0, 0.0)] * len(posts))
    events = _Events(planned, _rank(planned, table))
    nodes = len(network)
    for r, holds in enumerate(_holds(network, rules)):
        spare = network.capacities[r] - network.levels[r]
        try:
            nodes = _add_waits(table, holds, spare, events, nodes)
        except _OverfullError as error:
            rule, resource = rules.resources[r]
            name = activity_name(network, error.activity)
            raise InputError(
                f"{rule}: '{resource.name}' has no room for {name} "
                "in the planned order; `parplan check` lists what the plan breaks, if anything"
            ) from None
    arcs = table.arcs(nodes)
    return Orders(network, planned, nodes, arcs, _sequence(arcs, network))


def _network(schedule: Schedule, rules: Rules) -> Network:
    """Return the network of a schedule's own assignment and sources of transfers."""
    problem, tasks, moves = schedule.problem, schedule.tasks, schedule.transfers
    rows = zip(
        tasks.operator.tolist(), tasks.microbatch.tolist(), tasks.alternative.tolist(), strict=True
    )
    assignment = {(o, problem.workload.group(m)): a for o, m, a in rows}
    sources: dict[tuple[int, int], list[tuple[int, int]]] = {}
    columns = (moves.tensor, moves.microbatch, moves.target, moves.source)
    for tensor, microbatch, target, source in zip(*(c.tolist() for c in columns), strict=True):
        sources.setdefault((tensor, microbatch), []).append((target, source))
    chosen = {key: tuple(sorted(pairs)) for key, pairs in sources.items()}
    return build_network(problem, rules, assignment, chosen)


def _planned(schedule: Schedule, network: Network) -> Whole:
    """Return the planned start of each activity of the network."""
    x = schedule.transfers
    moves = zip(x.tensor.tolist(), x.microbatch.tolist(), x.target.tolist(), strict=True)
    row_of = {key: row for row, key in enumerate(moves)}
    tasks = np.array([schedule.row_of[task] for task in network.tasks], dtype=np.int64)
    moved = [row_of.get((t, m, target), -1) for t, m, _, target in network.transfers]
    if -1 in moved:
        tensor, microbatch, _, target = network.transfers[moved.index(-1)]
        names = network.problem.graph.tensors[tensor].name, network.problem.cluster.devices[target]
        raise InputError(
            f"the schedule does not move '{names[0]}' of microbatch {microbatch} to "
            f"'{names[1].name}', where it is read; `parplan check` lists all"
        )
    moves_at = x.start[np.array(moved, dtype=np.int64)]
    starts: Whole = np.concatenate((schedule.tasks.start[tasks], moves_at))
    return starts


class _Table:
    """Arcs as they come; rows are (before, after, scaled, fixed, shift), see ``Arcs``."""

    def __init__(self) -> None:
        self.ends: list[NDArray[np.int64]] = []
        self.times: list[NDArray[np.float64]] = []

    def add(self, ends: Sequence[tuple[int, int]], times: Sequence[Sequence[float]]) -> None:
        """Add arcs by their (before, after) and their (scaled, fixed, shift)."""
        self.ends.append(np.array(ends, dtype=np.int64).reshape(-1, 2))
        self.times.append(np.array(times, dtype=float).reshape(-1, 3))

    def columns(self) -> tuple[Whole, Real]:
        """Return all arcs so far."""
        return np.concatenate(self.ends), np.concatenate(self.times)

    def arcs(self, nodes: int) -> Arcs:
        """Return all arcs, sorted by their later end."""
        ends, times = self.columns()
        order = np.argsort(ends[:, 1], kind="stable")
        counts = np.bincount(ends[:, 1], minlength=nodes)
        first = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        ordered = np.ascontiguousarray(times[order].T)
        return Arcs(first, np.ascontiguousarray(ends[order, 0]), *ordered)


def precedences(network: Network) -> tuple[list[tuple[int, int]], list[list[float]]]:
    """Return the arcs of the problem itself, tensors and time lags, in the network's order.

    They come as (before, after) and (scaled, fixed, shift), see ``Arcs``.

    What a tensor takes to be there, its producer's time or its transfer's with all latencies, is as
    random as the activity; of a time lag only the part between the two activities is fixed.
    """
    ends = [(i, after) for i, row in enumerate(network.successors) for after, _ in row]
    times = [[float(delay), 0.0, 0.0] for row in network.successors for _, delay in row]
    if network.lags:
        row_of: dict[tuple[int, int, float], list[int]] = {}
        for row, (before, after) in enumerate(ends):
            row_of.setdefault((before, after, times[row][0]), []).append(row)
        for lag in network.lags:
            row = row_of[lag.before, lag.after, float(lag.delay)].pop()
            run = network.durations[lag.before] if lag.before_edge is Edge.END else 0
            shift = network.durations[lag.after] if lag.after_edge is Edge.END else 0
            times[row] = [float(run), float(lag.ticks), float(shift)]
    return ends, times


def _posts(network: Network, planned: Whole) -> list[tuple[int, int]]:
    """Return arcs between transfers that follow one another on an ordered pair of devices."""
    rows: dict[tuple[int, int], list[int]] = {}
    for t, (_, _, source, target) in enumerate(network.transfers):
        rows.setdefault((source, target), []).append(len(network.tasks) + t)
    ends: list[tuple[int, int]] = []
    for row in rows.values():
        ends += pairwise(sorted(row, key=lambda i: (planned[i], i)))
    return ends


def _rank(planned: Whole, table: _Table) -> Whole:
    """Return the place of each activity by planned start; at one instant causes come first."""
    ends, _ = table.columns()
    ties = ends[planned[ends[:, 0]] == planned[ends[:, 1]]]
    depth = np.zeros(len(planned), dtype=np.int64)
    for _ in range(len(ties) + 1):
        deeper = depth.copy()
        np.maximum.at(deeper, ties[:, 1], depth[ties[:, 0]] + 1)
        if np.array_equal(deeper, depth):
            break
        depth = deeper
    rank = np.empty(len(planned), dtype=np.int64)
    rank[np.lexsort((depth, planned))] = np.arange(len(planned))
    return rank


# -- resources ---------------------------------------------------------------------------------


Point = tuple[int, int]
"""An activity, and planned ticks after its start."""


@frozen(eq=False)
class _Holds:
    """What is held of one resource, row by row: from a point to the last of some others."""

    amounts: list[float]
    begins: list[Point]
    ends: list[tuple[Point, ...]]


def _holds(network: Network, rules: Rules) -> list[_Holds]:
    """Return what is held of each resource."""
    found = [_Holds([], [], []) for _ in network.capacities]

    def hold(r: int, amount: float, begin: Point, ends: tuple[Point, ...]) -> None:
        found[r].amounts.append(amount)
        found[r].begins.append(begin)
        found[r].ends.append(ends)

    for i, amounts in enumerate(network.amounts):
        legs = _legs(network, rules, i)
        for r, amount in amounts:
            for begin, end, part in legs.get(r, ((0, network.durations[i], amount),)):
                hold(r, part, (i, begin), ((i, end),))
    for buffer in network.buffers:
        begins = buffer.allocator, _offset(network, buffer.allocator, buffer.from_edge)
        until = tuple((i, _offset(network, i, buffer.to_edge)) for i in buffer.releasers)
        for r, amount in buffer.amounts:
            hold(r, amount, begins, until)
    return found


def _offset(network: Network, activity: int, edge: Edge) -> int:
    return network.durations[activity] if edge is Edge.END else 0


def _legs(network: Network, rules: Rules, activity: int) -> dict[int, list[tuple[int, int, float]]]:
    """Return (begin, end, amount) of a transfer's holds by resource, if it goes link by link."""
    if activity < len(network.tasks) or not network.durations[activity]:
        return {}
    problem = network.problem
    tensor, microbatch, source, target = network.transfers[activity - len(network.tasks)]
    route = problem.cluster.route(source, target)
    if route is None or not route.store_and_forward:
        return {}
    maker = network.task_index[problem.graph.producers[tensor], microbatch]
    size = problem.tensor_bytes(tensor, network.alternative(maker).mode, microbatch)
    timing = problem.transfer_timing(size or 0, source, target)
    found: dict[int, list[tuple[int, int, float]]] = {}
    for hold in () if timing is None else timing.holds:
        link = problem.cluster.links[hold.link].name
        for r, (_, resource) in enumerate(rules.resources):
            for demand in resource.demands:
                if isinstance(demand, Moving) and demand.link == link and hold.ticks:
                    name = problem.graph.tensors[tensor].name
                    if demand.tensors is None or name in demand.tensors:
                        row = (hold.offset, hold.offset + hold.ticks, demand.amount)
                        found.setdefault(r, []).append(row)
    return found


class _OverfullError(Exception):
    """Something planned has no room; ``activity`` takes what is not there."""

    def __init__(self, activity: int) -> None:
        self.activity = activity
        super().__init__()


@frozen(eq=False)
class _Events:
    """Puts points in time into the planned order.

    At one instant comes first what ends there after a time, then activity by activity, causes
    first, what starts there, with its end where it has no length.
    """

    planned: Whole
    rank: Whole

    @cached_property
    def _by_start(self) -> Whole:
        return np.sort(self.planned)

    def places(self, points: Sequence[Point], *, ends: bool) -> tuple[Whole, Whole]:
        """Return (place, instant) of points; sorted by both they are in planned order."""
        table = np.array(points, dtype=np.int64).reshape(-1, 2)
        instant = self.planned[table[:, 0]] + table[:, 1]
        inside = 3 * np.searchsorted(self._by_start, instant, side="left")
        at_start = 3 * self.rank[table[:, 0]] + (2 if ends else 1)
        return np.where(table[:, 1] > 0, inside, at_start), instant


def _add_waits(table: _Table, holds: _Holds, spare: float, events: _Events, nodes: int) -> int:
    """Add what holds of one resource wait for; return the number of nodes with the new joints.

    Parameters
    ----------
    spare
        Capacity that is not taken from the outset.
    """
    if sum(holds.amounts) <= spare:
        return nodes
    place, instant = events.places(holds.begins, ends=False)
    taking = np.lexsort((instant, place))
    giving, given_place, given_instant = _releases(holds, events)
    amounts = np.array(holds.amounts)
    tolerance = ROUNDING * max(spare, 0.0)
    missing = np.cumsum(amounts[taking]) - spare - tolerance
    room = np.concatenate(([0.0], np.cumsum(amounts[giving])))
    waits = np.searchsorted(room, missing, side="left")
    _check_room(holds, taking, waits, (place, instant), (given_place, given_instant))
    if np.array_equal(waits, np.arange(len(taking))) and np.array_equal(
        giving, taking[: len(giving)]
    ):
        # One after another: each waits for the one before, which has waited for all others.
        rows = zip(taking[1:].tolist(), taking[:-1].tolist(), strict=True)
        pairs = [(one, end) for after, before in rows
                 for one in (holds.begins[after],) for end in holds.ends[before]]  # fmt: skip
        table.add([(end[0], one[0]) for one, end in pairs],
                  [(end[1], 0.0, one[1]) for one, end in pairs])  # fmt: skip
        return nodes
    ends: list[tuple[int, int]] = []
    times: list[tuple[float, float, float]] = []
    done = 0
    for hold, upto in zip(taking.tolist(), waits.tolist(), strict=True):
        if upto > done:
            if done:
                ends.append((nodes - 1, nodes))
                times.append((0.0, 0.0, 0.0))
            for release in giving[done:upto].tolist():
                ends += [(activity, nodes) for activity, _ in holds.ends[release]]
                times += [(float(ticks), 0.0, 0.0) for _, ticks in holds.ends[release]]
            done, nodes = upto, nodes + 1
        if done:
            ends.append((nodes - 1, holds.begins[hold][0]))
            times.append((0.0, 0.0, float(holds.begins[hold][1])))
    table.add(ends, times)
    return nodes


def _releases(holds: _Holds, events: _Events) -> tuple[Whole, Whole, Whole]:
    """Return the holds that end at all, in the planned order of their ends, and these ends."""
    ending = [i for i, ends in enumerate(holds.ends) if ends]
    flat = [end for i in ending for end in holds.ends[i]]
    first = np.cumsum([0, *(len(holds.ends[i]) for i in ending[:-1])])
    place, instant = events.places(flat, ends=True)
    if not ending:
        return np.zeros(0, dtype=np.int64), place, instant
    last_place = np.maximum.reduceat(place, first)
    last_instant = np.maximum.reduceat(instant, first)
    order = np.lexsort((last_instant, last_place))
    return np.array(ending, dtype=np.int64)[order], last_place[order], last_instant[order]


def _check_room(
    holds: _Holds,
    taking: Whole,
    waits: Whole,
    taken: tuple[Whole, Whole],
    given: tuple[Whole, Whole],
) -> None:
    """Raise if something waits for a release that is planned after it."""
    place = np.concatenate((given[0], taken[0][taking]))
    instant = np.concatenate((given[1], taken[1][taking]))
    takes = np.arange(len(place)) >= len(given[0])
    order = np.lexsort((takes, instant, place))
    before = np.cumsum(~takes[order])[takes[order]]
    late = np.flatnonzero(waits > before)
    if len(late):
        raise _OverfullError(holds.begins[int(taking[late[0]])][0])


def _sequence(arcs: Arcs, network: Network) -> Whole:
    """Return the nodes in an order that the arcs allow."""
    from parplan.simulation.kernel import topological_order

    found: Whole = topological_order(arcs.first, arcs.before)
    if len(found) < len(arcs.first) - 1:
        waiting = np.ones(len(arcs.first) - 1, dtype=bool)
        waiting[found] = False
        one = int(np.flatnonzero(waiting)[0])
        raise InputError(
            f"{activity_name(network, one)} can only be kept by fixed times, not by an order: "
            "something it waits for waits for it; replays know no largest distance"
        )
    return found
