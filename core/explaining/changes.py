"""Changes of a problem that a user may ask about: more memory, bandwidth, speed, devices, work.

A change is written ``KIND=NAME:AMOUNT``, e.g. ``memory=gpu0:1 GiB``, ``bandwidth=nic*:10%``,
``speed=H100:10%``, ``devices=H100:1`` or ``microbatches=:1``; the amount may be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

import attrs
from attrs import frozen

from parplan.errors import InputError, UnitError
from parplan.graph import Mode
from parplan.hardware import Cluster, Device, Link, Route
from parplan.patterns import matching_devices
from parplan.problem import Problem
from parplan.rounding import fitting_tick
from parplan.spec.structuring import did_you_mean
from parplan.spec.units import Dimension, parse_quantity
from parplan.text import bytes_text


@frozen
class Change:
    """One change of a problem.

    Attributes
    ----------
    kind
        A key of ``KINDS``.
    names
        Devices, links or kinds of device that it is about, by name or pattern.
    amount
        Bytes for ``memory``, a part (0.1 is ten percent) for ``bandwidth`` and ``speed``, a number
        for ``devices`` and ``microbatches``.
    """

    kind: str
    names: tuple[str, ...] = ()
    amount: float = 0.0

    def __str__(self) -> str:
        """Return what is changed, in words."""
        return _WORDS[self.kind](self)

    def apply(self, problem: Problem) -> Problem:
        """Return the changed problem.

        Raises
        ------
        InputError
            If a name means nothing, or the change makes no sense for it.
        """
        return KINDS[self.kind](problem, self.names, self.amount)


def read_change(text: str) -> Change:
    """Return the change that a text says; see the head of this module.

    Raises
    ------
    InputError
        If its kind is unknown or its amount is none.
    """
    kind, _, rest = text.partition("=")
    kind = kind.strip()
    if kind not in KINDS:
        raise InputError(
            f"'{text}' is no change; {did_you_mean(kind, list(KINDS))}, e.g. 'memory=gpu0:1 GiB'",
            key="--what-if",
        )
    names, colon, amount = rest.rpartition(":")
    try:
        found = _AMOUNTS[kind](amount) if colon else DEFAULTS[kind]
    except (ValueError, UnitError):
        # A name may hold a colon itself.
        names, found = rest, DEFAULTS[kind]
    listed = tuple(n.strip() for n in (names if colon else rest).split(",") if n.strip())
    if not listed and kind != "microbatches":
        raise InputError(f"'{text}' names nothing; write e.g. '{kind}=NAME'", key="--what-if")
    return Change(kind, listed, found)


# -- amounts and words -------------------------------------------------------------------------


def _part(text: str) -> float:
    return float(text.strip().removesuffix("%")) / 100 if "%" in text else float(text)


def _count(text: str) -> float:
    return int(text)


def _bytes(text: str) -> float:
    return parse_quantity(text, Dimension.SIZE)


def _share_words(what: str) -> Callable[[Change], str]:
    return lambda change: f"{100 * change.amount:+.3g}% {what} of {', '.join(change.names)}"


_AMOUNTS: dict[str, Callable[[str], float]] = {
    "memory": _bytes,
    "bandwidth": _part,
    "speed": _part,
    "devices": _count,
    "microbatches": _count,
}
DEFAULTS = {
    "memory": float(2**30),
    "bandwidth": 0.1,
    "speed": 0.1,
    "devices": 1.0,
    "microbatches": 1.0,
}
"""What an amount is where none is given."""

_WORDS: dict[str, Callable[[Change], str]] = {
    "memory": lambda c: f"{bytes_text(c.amount)} more memory on {', '.join(c.names)}",
    "bandwidth": _share_words("bandwidth"),
    "speed": _share_words("speed"),
    "devices": lambda c: f"{c.amount:+.0f} device like {', '.join(c.names)}",
    "microbatches": lambda c: f"{c.amount:+.0f} microbatches",
}


# -- what each does ------------------------------------------------------------------------------


def _more_memory(problem: Problem, names: Sequence[str], amount: float) -> Problem:
    cluster = problem.cluster
    named = {d for name in names for d in matching_devices(name, cluster, key="--what-if")}

    def larger(device: Device) -> Device:
        if device.name not in named:
            return device
        if device.memory_bytes is None:
            raise InputError(f"the memory of '{device.name}' is not limited", key="--what-if")
        return attrs.evolve(device, memory_bytes=device.memory_bytes + int(amount))

    devices = tuple(larger(device) for device in cluster.devices)
    return attrs.evolve(problem, cluster=attrs.evolve(cluster, devices=devices))


def _more_bandwidth(problem: Problem, names: Sequence[str], amount: float) -> Problem:
    cluster = problem.cluster
    known = [link.name for link in cluster.links]
    named = {k for name in names for k in known if k == name or fnmatchcase(k, name)}
    if not named:
        raise InputError(f"no such link; {did_you_mean(names[0], known)}", key="--what-if")
    links = tuple(
        attrs.evolve(link, bandwidth=link.bandwidth * (1 + amount)) if link.name in named else link
        for link in cluster.links
    )
    return _retimed(problem, attrs.evolve(problem, cluster=attrs.evolve(cluster, links=links)))


def _more_speed(problem: Problem, names: Sequence[str], amount: float) -> Problem:
    """Every mode takes ``1 / (1 + amount)`` of its time on the devices or kinds that are named."""
    devices = problem.cluster.devices
    kinds = {device.kind for device in devices}
    named = {
        d
        for name in names
        for d in (
            [device.name for device in devices if device.kind == name]
            if name in kinds
            else matching_devices(name, problem.cluster, key="--what-if")
        )
    }
    faster = {kind: _unused(f"{kind} {1 + amount:.3g}x", kinds) for kind in kinds}
    changed = tuple(
        attrs.evolve(device, kind=faster[device.kind]) if device.name in named else device
        for device in devices
    )
    used = {device.kind for device in devices if device.name in named}
    # Modes are shared between operators, and stay so.
    modes: dict[int, Mode] = {}

    def timed(mode: Mode) -> Mode:
        if id(mode) not in modes:
            own = {kind: mode.seconds_on(kind) for kind in used}
            more = {faster[k]: s / (1 + amount) for k, s in own.items() if s is not None}
            modes[id(mode)] = attrs.evolve(mode, seconds={**mode.seconds, **more})
        return modes[id(mode)]

    operators = tuple(
        attrs.evolve(operator, modes=tuple(timed(mode) for mode in operator.modes))
        for operator in problem.graph.operators
    )
    return _retimed(
        problem,
        attrs.evolve(
            problem,
            graph=attrs.evolve(problem.graph, operators=operators),
            cluster=attrs.evolve(problem.cluster, devices=changed),
        ),
    )


def _more_devices(problem: Problem, names: Sequence[str], amount: float) -> Problem:
    for name in names:
        for _ in range(int(amount)):
            problem = attrs.evolve(problem, cluster=_with_copy(problem.cluster, name))
    return problem


def _with_copy(cluster: Cluster, name: str) -> Cluster:
    """Return a cluster with one device more, joined to everything as the one it copies is.

    Parameters
    ----------
    name
        Of a device, or of a kind: then the first device of the kind is copied.
    """
    model = next((d for d in cluster.devices if name in (d.name, d.kind)), None)
    if model is None:
        known = [
            *dict.fromkeys(d.kind for d in cluster.devices),
            *(d.name for d in cluster.devices),
        ]
        raise InputError(f"no such device; {did_you_mean(name, known)}", key="--what-if")
    points = {*(d.name for d in cluster.devices), *cluster.switches}
    new = _unused(f"{model.name} copy", points)
    links = {link.name: link for link in cluster.links}
    copies: dict[str, Link] = {}
    for link in cluster.links:
        if model.name in (link.source, link.target):
            ends = [new if end == model.name else end for end in (link.source, link.target)]
            copy = _unused(f"{link.name} copy", {*links, *(k.name for k in copies.values())})
            copies[link.name] = attrs.evolve(link, name=copy, source=ends[0], target=ends[1])
    routes = tuple(
        Route(
            new if route.source == model.name else route.source,
            new if route.target == model.name else route.target,
            tuple(copies[k].name if k in copies else k for k in route.links),
            route.store_and_forward,
        )
        for route in cluster.routes
        if model.name in (route.source, route.target)
    )
    groups = tuple(
        tuple(new if member == model.name else member for member in group)
        for group in cluster.groups
        if model.name in group
    )
    return attrs.evolve(
        cluster,
        devices=(*cluster.devices, attrs.evolve(model, name=new)),
        links=(*cluster.links, *copies.values(), *_between(cluster, model, new, copies)),
        routes=(*cluster.routes, *routes),
        groups=(*cluster.groups, *groups),
    )


def _between(
    cluster: Cluster, model: Device, new: str, copies: dict[str, Link]
) -> tuple[Link, ...]:
    """Return links between a device and its copy, where devices are joined to each other.

    They are like those to the first other device of the kind, or else to the first device.
    """
    kind = {d.name: d.kind for d in cluster.devices}
    direct = [
        link
        for link in cluster.links
        if model.name in (link.source, link.target) and {link.source, link.target} <= set(kind)
    ]

    def peer(link: Link) -> str:
        return link.target if link.source == model.name else link.source

    peers = sorted({peer(link) for link in direct}, key=lambda p: kind[p] != model.kind)
    used = {link.name for link in cluster.links} | {link.name for link in copies.values()}
    found = []
    for link in direct:
        if peer(link) == peers[0]:
            ends = (model.name, new) if link.source == model.name else (new, model.name)
            name = _unused(f"{link.name} to copy", used)
            used.add(name)
            found.append(attrs.evolve(link, name=name, source=ends[0], target=ends[1]))
    return tuple(found)


def _more_microbatches(problem: Problem, names: Sequence[str], amount: float) -> Problem:
    workload = problem.workload
    if names:
        raise InputError(f"'microbatches' names nothing, not '{names[0]}'", key="--what-if")
    if workload.scales or workload.releases_s or workload.groups:
        raise InputError(
            "microbatches differ (in scale, release or placement group): what one more would be "
            "is not known; change the spec and plan it",
            key="--what-if",
        )
    count = workload.microbatches + int(amount)
    return attrs.evolve(problem, workload=attrs.evolve(workload, microbatches=count))


def _retimed(before: Problem, after: Problem) -> Problem:
    """Return a problem of other times with a tick that fits them too."""
    return attrs.evolve(after, tick_s=min(before.tick_s, fitting_tick(after)))


def _unused(name: str, used: set[str]) -> str:
    found, number = name, 2
    while found in used:
        found, number = f"{name} {number}", number + 1
    return found


KINDS: dict[str, Callable[[Problem, Sequence[str], float], Problem]] = {
    "memory": _more_memory,
    "bandwidth": _more_bandwidth,
    "speed": _more_speed,
    "devices": _more_devices,
    "microbatches": _more_microbatches,
}
"""What can be changed."""
