"""Replays a schedule in many scenarios and says what comes of it, and where."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from attrs import frozen

from parplan.rules import Rules
from parplan.schedule import Schedule
from parplan.scheduling.network import Network
from parplan.scheduling.tables import Real, Whole
from parplan.simulation.orders import Orders, orders_of
from parplan.simulation.replay import makespans, node_starts, task_ends, with_joints
from parplan.simulation.results import Place, Simulation
from parplan.simulation.scenarios import Scenarios

RELIEVED = 5
"""Places whose relief is computed: each takes another replay of all scenarios."""

AT_ONCE = 16
"""Scenarios that are replayed side by side."""


def simulate_schedule(schedule: Schedule, rules: Rules, scenarios: Scenarios) -> Simulation:
    """Return what becomes of a schedule's orders in each scenario.

    Time is linear in activities x scenarios, memory in activities.

    Raises
    ------
    InputError
        If the schedule cannot be replayed, see ``orders_of``.
    """
    orders = orders_of(schedule, rules)
    places = _places(orders.network)
    found, spent = [], []
    for factors in scenarios.factors(orders.network, AT_ONCE):
        starts = node_starts(orders, factors)
        found.append(makespans(orders, starts, factors))
        spent.append(_critical(orders, places, starts, factors))
    tick_s = schedule.problem.tick_s
    lengths = np.concatenate(found)
    planned = sample_makespans(orders, np.ones((len(orders.network), 1)))
    return Simulation(
        planned_s=schedule.makespan * tick_s,
        replayed_s=float(planned[0]) * tick_s,
        noise=scenarios.noise,
        seed=scenarios.seed,
        makespans_s=lengths * tick_s,
        places=_figures(orders, places, scenarios, lengths, np.concatenate(spent, axis=1)),
    )


def sample_makespans(orders: Orders, factors: Real) -> Real:
    """Return the makespan in ticks under each column of factors."""
    return makespans(orders, node_starts(orders, factors), factors)


@frozen(eq=False)
class _Places:
    """Where activities are: each on a group of devices or a route of links.

    Attributes
    ----------
    group
        Of each activity.
    members
        ``(places, groups)``: whether a place is in a group; devices come first, then links.
    """

    names: tuple[str, ...]
    devices: int
    group: Whole
    members: Real


def _places(network: Network) -> _Places:
    cluster = network.problem.cluster
    devices, links = len(cluster.devices), len(cluster.links)
    groups: dict[tuple[int, ...], int] = {}
    routes: dict[tuple[int, int], tuple[int, ...]] = {}
    of = [
        groups.setdefault(network.alternative(task).devices, len(groups))
        for task in range(len(network.tasks))
    ]
    for _, _, source, target in network.transfers:
        if (source, target) not in routes:
            route = cluster.route(source, target)
            names = () if route is None else route.links
            routes[source, target] = tuple(devices + cluster.link_index[name] for name in names)
        of.append(groups.setdefault(routes[source, target], len(groups)))
    members = np.zeros((devices + links, len(groups)))
    for group, number in groups.items():
        members[list(group), number] = 1.0
    names = (*(d.name for d in cluster.devices), *(k.name for k in cluster.links))
    return _Places(names, devices, np.array(of, dtype=np.int64), members)


def _critical(orders: Orders, places: _Places, starts: Real, factors: Real) -> Real:
    """Return the time that a longest path spends at each place, in each scenario."""
    from parplan.simulation.kernel import critical_time

    arcs, count = orders.arcs, len(orders.network)
    place = np.full(orders.nodes, -1, dtype=np.int64)
    place[:count] = places.group
    spent = critical_time(
        *(arcs.first, arcs.before, arcs.scaled, arcs.fixed, arcs.shift),
        with_joints(orders, factors),
        starts,
        task_ends(orders, starts, factors).argmax(axis=0),
        np.array(orders.network.durations, dtype=float),
        place,
        places.members.shape[1],
    )
    on_places: Real = places.members @ spent
    return on_places


def _figures(
    orders: Orders, places: _Places, scenarios: Scenarios, lengths: Real, spent: Real
) -> tuple[Place, ...]:
    """Return the places on longest paths; relief for the first few."""
    leads = np.bincount(spent.argmax(axis=0), minlength=len(spent)) / spent.shape[1]
    critical = (spent / np.maximum(lengths, 1e-300)).mean(axis=1)
    found = [
        Place(
            places.names[i],
            "device" if i < places.devices else "link",
            float(critical[i]),
            float(leads[i]),
        )
        for i in np.lexsort((-critical, -leads)).tolist()
        if critical[i] > 0
    ]
    reliefs = _reliefs(orders, places, scenarios, [p.name for p in found[:RELIEVED]], lengths)
    some = [attrs.evolve(p, relief_s=r) for p, r in zip(found, reliefs, strict=False)]
    return (*some, *found[len(some) :])


def _reliefs(
    orders: Orders, places: _Places, scenarios: Scenarios, names: Sequence[str], lengths: Real
) -> list[float]:
    """Return by how many seconds the mean falls if one place alone takes its planned times."""
    own = [places.members[places.names.index(name)][places.group] > 0 for name in names]
    sums = np.zeros(len(names))
    for factors in scenarios.factors(orders.network, AT_ONCE):
        for i, mine in enumerate(own):
            relieved = np.where(mine[:, None], 1.0, factors)
            sums[i] += sample_makespans(orders, relieved).sum()
    falls = lengths.mean() - sums / scenarios.count
    return [float(fall) * orders.network.problem.tick_s for fall in falls]
