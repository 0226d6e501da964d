"""Search by a statistic over scenarios: good plans are compared by it, then their orders changed.

What was found for exact times comes in a choice of orders that are about as long. They differ in
how they bend, so all that are nearly as short as the best are compared by the criterion; annealing
on orders goes on from the best few, with the criterion in place of the makespan.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from attrs import frozen

from parplan import clock
from parplan.scheduling.network import build_network
from parplan.scheduling.tables import Real, Whole
from parplan.search.placing.evaluation import Candidate
from parplan.search.placing.placement import Placer
from parplan.search.sequences.annealing import Annealer
from parplan.search.sequences.kernel import make_scratch
from parplan.search.sequences.machines import Machines, SequenceView, make_view
from parplan.search.sequences.moves import make_edits
from parplan.search.sequences.ripples import followers
from parplan.simulation.criterion import ScenarioCriterion
from parplan.simulation.orders import precedences

NEAR = 1.04
"""How much longer than the shortest a plan for exact times may be to be compared."""

MOST_COMPARED = 40
STARTS = 3
"""Plans compared at most, and how many of them are improved."""

MOST_ACTIVITIES = 5_000
"""Largest network, in activities, whose orders are searched by scenarios."""

FINENESS = 1024
"""Parts of a tick that drawn times are rounded to."""

FIRST_MOVES = 200
SLICE_S = 0.5
"""Moves of the first slice of an annealing, which measures how fast they are; seconds of the
others."""

HOT, COLD = 0.05, 0.002
"""Temperature at the beginning and the end, in mean durations of activities."""


def nearly_shortest(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates to be compared, the shortest first, each schedule once."""
    least = min(c.figure for c in candidates)
    found: dict[object, Candidate] = {}
    for candidate in sorted(candidates, key=lambda c: c.figure):
        if candidate.makespan <= NEAR * least:
            key = (candidate.prepared.placement, candidate.starts.tobytes())
            found.setdefault(key, candidate)
    return list(found.values())[:MOST_COMPARED]


def improved_by_scenarios(
    placer: Placer,
    ranked: Sequence[Candidate],
    criterion: ScenarioCriterion,
    deadline: float,
    seed: int,
) -> Iterator[Candidate]:
    """Yield candidates with changed orders that are better by the criterion than their start.

    Parameters
    ----------
    ranked
        Where to start, the best first; the first few share the time until ``deadline``.
    """
    starts = [c for c in ranked if len(c.prepared.network) <= MOST_ACTIVITIES][:STARTS]
    for number, start in enumerate(starts):
        until = clock.now() + (deadline - clock.now()) / (len(starts) - number)
        searched = ScenarioOrders.of(placer, start, criterion)
        found = None if searched is None else searched.improved(start, until, seed + number)
        if found is not None:
            yield found


@frozen(eq=False)
class ScenarioOrders:
    """A placement's orders with the times of every scenario.

    Attributes
    ----------
    durations, delays
        ``(scenarios, nodes)`` and ``(scenarios, arcs)``, in parts of a tick.
    """

    view: SequenceView
    durations: Whole
    delays: Whole
    weights: Real

    @classmethod
    def of(
        cls, placer: Placer, candidate: Candidate, criterion: ScenarioCriterion
    ) -> ScenarioOrders | None:
        """Return what to search for a candidate; None where orders cannot say all of it."""
        prepared = candidate.prepared
        view = make_view(prepared.network, prepared.scheduler.tables)
        if view is None:
            return None
        factors = _factors(placer, candidate, criterion)
        durations = np.array(prepared.network.durations, dtype=float)[:, None] * factors
        nodes = _whole(durations[view.activities])
        return cls(view, nodes, _whole(_arc_delays(view, factors)), criterion.weights)

    def judge(self, order: Whole) -> float:
        """Return the statistic of an order in ticks; negative in a deadlock."""
        from parplan.search.sequences.scenario_kernel import judge

        v = self._machines()
        starts = np.full(len(v.durations), -1, dtype=np.int64)
        times = (self.durations, self.delays)
        return float(judge(v, make_scratch(v), order, times, self.weights, starts)) / FINENESS

    def _machines(self) -> Machines:
        """Return machines that may take the times of one scenario after another."""
        machines = self.view.machines
        return machines._replace(
            durations=machines.durations.copy(),
            arc_delay=machines.arc_delay.copy(),
            releases=machines.releases * FINENESS,
        )

    def improved(self, start: Candidate, until: float, seed: int) -> Candidate | None:
        """Return a candidate with a better statistic; None if there was none to be found."""
        from parplan.search.sequences.scenario_kernel import anneal_by_scenarios

        v = self._machines()
        tools = (make_scratch(v), make_edits(v), *followers(v)[:2])
        order, times = self.view.order(start.starts), (self.durations, self.delays)
        begun = self.judge(order) * FINENESS
        best, least = order.copy(), begun
        dice = np.random.SeedSequence(seed).generate_state(1, np.uint64) | np.uint64(1)
        scale = float(self.durations[self.durations > 0].mean())
        first, moves = clock.now(), FIRST_MOVES
        while begun >= 0 and (now := clock.now()) < until:
            reached = order.copy()
            part = [min((t - first) / (until - first), 1.0) for t in (now, now + SLICE_S)]
            hot, cold = (scale * HOT * (COLD / HOT) ** p for p in part)
            value, _ = anneal_by_scenarios(
                *(v, *tools),
                *(order, reached, dice, np.int64(moves), hot, cold, times, self.weights),
            )
            if value < least:
                least, best = value, reached
            rate = moves / max(clock.now() - now, 1e-6)
            moves = max(int(rate * min(SLICE_S, until - clock.now())), 20)
        if not 0 <= least < begun:
            return None
        figure, nodes = Annealer(self.view).times(best)
        return Candidate(start.prepared, self.view.starts(nodes), figure)


def _factors(placer: Placer, candidate: Candidate, criterion: ScenarioCriterion) -> Real:
    """Return the factors of a coarse network: a merged task takes as long as its members."""
    prepared = candidate.prepared
    coarse, network = prepared.coarse, prepared.network
    fine = build_network(coarse.fine, placer.rules, coarse.fine_assignment)
    scenarios = criterion.scenarios
    of_fine = np.concatenate(list(scenarios.factors(fine, scenarios.count)), axis=1)
    lengths = np.array(fine.durations, dtype=float)
    found = np.ones((len(network), scenarios.count))
    for task, (part, microbatch) in enumerate(network.tasks):
        members = [fine.task_index[o, microbatch] for o in coarse.members[part]]
        total = lengths[members].sum()
        if total > 0:
            found[task] = lengths[members] @ of_fine[members] / total
    row_of = {(t, m, to): len(fine.tasks) + i for i, (t, m, _, to) in enumerate(fine.transfers)}
    for i, (tensor, microbatch, _, target) in enumerate(network.transfers):
        row = row_of[coarse.tensor_of[tensor], microbatch, target]
        found[len(network.tasks) + i] = of_fine[row]
    return found


def _arc_delays(view: SequenceView, factors: Real) -> Real:
    """Return the delays of a view's arcs, ``(arcs, scenarios)``, in ticks.

    The arcs are those of the network in its order, sorted by their later end; an arc through a
    transfer that is no node takes the times of both.
    """
    network = view.network
    node = {activity: i for i, activity in enumerate(view.activities.tolist())}
    ends, times = precedences(network)
    rows: list[list[int]] = [[] for _ in range(len(network))]
    for row, (before, _) in enumerate(ends):
        rows[before].append(row)
    table = np.array(times, dtype=float).reshape(-1, 3)
    pairs = np.array(ends, dtype=np.int64).reshape(-1, 2)
    each = table[:, :1] * factors[pairs[:, 0]] + table[:, 1:2]
    each -= table[:, 2:] * factors[pairs[:, 1]]
    after, first, second = [], [], []
    for activity in node:
        for row in rows[activity]:
            through = ends[row][1]
            for more in [-1] if through in node else rows[through]:
                after.append(node[through if more < 0 else ends[more][1]])
                first.append(row)
                second.append(more)
    order = np.argsort(after, kind="stable")
    one, two = np.array(first)[order], np.array(second)[order]
    delays: Real = each[one] + np.where(two[:, None] < 0, 0.0, each[two])
    return delays


def _whole(ticks: Real) -> Whole:
    """Return times by scenario, ``(scenarios, ...)``, in whole parts of a tick."""
    return np.ascontiguousarray(np.rint(ticks.T * FINENESS).astype(np.int64))
