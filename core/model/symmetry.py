"""Devices that can be exchanged: whatever a plan does on one of them, it could do on another.

Devices a and b can be exchanged if the problem stays the same when their names are, with the links
of their routes: the same devices, durations, routes and resources. Then a plan with both exchanged
is a plan of the same makespan. Exchanges with one representative give all within a class, since
``(b c) = (a b)(a c)(a b)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from parplan.contracts import Constraint
from parplan.declarations import Demand, Moving, Resource
from parplan.hardware import Route
from parplan.problem import Problem
from parplan.rules import Rules, overrides

OWN_CODE = ("constrain", "constrain_assignment", "violations")
"""Methods of constraints that may name a device in a way that nothing else can read."""


def exchangeable_devices(rules: Rules) -> tuple[tuple[int, ...], ...]:
    """Return the classes of at least two devices (indices, ascending) that can be exchanged.

    None where a constraint has code of its own. It compares names and figures only, so devices that
    turn out to be alike in another way are not found.
    """
    if any(overrides(c, method, Constraint) for c in rules.constraints for method in OWN_CODE):
        return ()
    classes: list[list[int]] = []
    for device in range(len(rules.problem.cluster.devices)):
        for members in classes:
            if _exchangeable(rules, members[0], device):
                members.append(device)
                break
        else:
            classes.append([device])
    return tuple(tuple(members) for members in classes if len(members) > 1)


def _exchangeable(rules: Rules, one: int, other: int) -> bool:
    devices = rules.problem.cluster.devices
    if attrs.evolve(devices[one], name=devices[other].name) != devices[other]:
        return False
    swap = {one: other, other: one}
    links = _link_map(rules.problem, swap)
    if links is None:
        return False
    return _alternatives_stay(rules, swap) and _resources_stay(rules, swap, links)


def _link_map(problem: Problem, swap: Mapping[int, int]) -> dict[str, str] | None:
    """Return the link that takes the place of each link on a route; None if one does not fit."""
    cluster = problem.cluster
    found: dict[str, str] = {}
    for a in range(len(cluster.devices)):
        for b in range(len(cluster.devices)):
            if a == b:
                continue
            old, new = cluster.route(a, b), cluster.route(swap.get(a, a), swap.get(b, b))
            if (old is None) != (new is None):
                return None
            if old is not None and new is not None and not _match(problem, old, new, found):
                return None
    return found if len(set(found.values())) == len(found) else None


def _match(problem: Problem, old: Route, new: Route, found: dict[str, str]) -> bool:
    """Let the links of a route stand for those of another; False if they differ in a figure."""
    cluster = problem.cluster
    if len(old.links) != len(new.links) or old.store_and_forward != new.store_and_forward:
        return False
    for one, other in zip(old.links, new.links, strict=True):
        first, second = (cluster.links[cluster.link_index[name]] for name in (one, other))
        figures = [(k.bandwidth, k.latency_s, k.capacity, k.shared) for k in (first, second)]
        if figures[0] != figures[1] or found.setdefault(one, other) != other:
            return False
    return True


def _alternatives_stay(rules: Rules, swap: Mapping[int, int]) -> bool:
    """Return whether operators have the same alternatives, for as long, on exchanged devices."""
    problem = rules.problem
    workload = problem.workload
    for o, by_group in enumerate(rules.allowed_by_group):
        runs = problem.microbatches_of(o)
        for h, rows in enumerate(by_group):
            alternatives = [problem.alternatives[o][row] for row in rows]
            known = {(a.mode, a.devices): a for a in alternatives}
            scales = {workload.scale(m): m for m in runs if workload.group(m) == h}
            for a in alternatives:
                devices = tuple(swap.get(d, d) for d in a.devices)
                image = known.get((a.mode, devices)) or known.get((a.mode, tuple(sorted(devices))))
                if image is None or any(
                    problem.ticks(o, a, m) != problem.ticks(o, image, m) for m in scales.values()
                ):
                    return False
                if len(a.devices) > 1 and problem.collective_links(o, a):
                    return False  # rings hold links in the order of their devices
    return True


def _resources_stay(rules: Rules, swap: Mapping[int, int], links: Mapping[str, str]) -> bool:
    """Return whether the declared resources are the same on exchanged devices."""
    names = [device.name for device in rules.problem.cluster.devices]
    devices = {names[one]: names[other] for one, other in swap.items()}
    resources = [resource for _, resource in rules.resources]
    before = sorted(_figures(r, r.demands) for r in resources)
    after = sorted(
        _figures(r, [_renamed(demand, devices, links) for demand in r.demands]) for r in resources
    )
    return before == after


def _renamed(demand: Demand, devices: Mapping[str, str], links: Mapping[str, str]) -> Demand:
    if isinstance(demand, Moving):
        return attrs.evolve(demand, link=links.get(demand.link, demand.link))
    if demand.device is None:
        return demand
    return attrs.evolve(demand, device=devices.get(demand.device, demand.device))


def _figures(resource: Resource, demands: Sequence[Demand]) -> tuple[float, str]:
    """Return what tells resources apart, whatever their names."""
    return resource.capacity, "\n".join(sorted(map(_text, demands)))


def _text(demand: Demand) -> str:
    """Return a demand in words; sets in order, so that equal ones read alike."""
    values = attrs.asdict(demand, recurse=False)
    ordered = {k: sorted(v) if isinstance(v, frozenset) else v for k, v in values.items()}
    return f"{type(demand).__name__} {sorted(ordered.items())}"
