"""Where operators may run, and which of them go together, apart or in turn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import ClassVar

from attrs import field, frozen

from parplan.contracts import Constraint
from parplan.declarations import Apart, Contiguous, Declaration, Forbidden, Order, Together
from parplan.errors import InputError
from parplan.graph import Kind, Repeat
from parplan.patterns import all_matching, matching_devices, matching_operators
from parplan.problem import Problem

FORWARD = (Kind.FORWARD, Kind.COLLECTIVE, Kind.OTHER)
BACKWARD = (Kind.BACKWARD, Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT)


@frozen
class Places:
    """Pins and bans of one placement group.

    Attributes
    ----------
    pin
        Operators to the devices that they may use; no others.
    forbid
        Operators to devices that they must not use.
    """

    pin: Mapping[str, tuple[str, ...]] = field(factory=dict)
    forbid: Mapping[str, tuple[str, ...]] = field(factory=dict)


@frozen
class Placement(Constraint):
    """Pins and bans by name or pattern, e.g. ``pin: {"layers.*.mlp": [gpu0, gpu1]}``.

    A name is an operator's or a module's, and may hold ``*``, ``?`` and ``[...]``; one that means
    nothing is an error.

    Attributes
    ----------
    pin
        Operators to the devices that they may use; no others.
    forbid
        Operators to devices that they must not use.
    forbid_modes
        Operators to names of modes that they must not run in.
    groups
        Further pins and bans, an entry for each placement group of the workload: DualPipe's two
        directions are two groups, pinned the other way round.
    together
        Lists of operators that share their device group.
    same_mode
        Lists of operators that run in modes of the same name.
    apart
        Lists of operators of which no two share a device.
    order
        Lists of operators that run one after the other, for each microbatch; where a pattern means
        several, all of them run before those of the next.
    modules_together
        Whether all passes of a module share their device group, as trainers have it that run a
        module's backward pass where its forward pass ran.
    contiguous
        Whether devices can stand in a row in which no tensor goes back, within the forward pass
        and (in a row of its own) within the backward pass: each runs what lies between two cuts.
    """

    name: ClassVar[str] = "placement"

    pin: Mapping[str, tuple[str, ...]] = field(factory=dict)
    forbid: Mapping[str, tuple[str, ...]] = field(factory=dict)
    forbid_modes: Mapping[str, tuple[str, ...]] = field(factory=dict)
    groups: tuple[Places, ...] = ()
    together: tuple[tuple[str, ...], ...] = ()
    same_mode: tuple[tuple[str, ...], ...] = ()
    apart: tuple[tuple[str, ...], ...] = ()
    order: tuple[tuple[str, ...], ...] = ()
    modules_together: bool = False
    contiguous: bool = False

    def declare(self, problem: Problem) -> Iterable[Declaration]:
        """Yield what the options say, operator by operator."""
        yield from _bans(problem, self, f"constraints.{self.name}", None)
        count = problem.workload.group_count
        if self.groups and len(self.groups) != count:
            found = f"has {len(self.groups)} entries for {count} placement groups"
            hint = "" if count > 1 else "; say which microbatch is in which with 'workload.groups'"
            raise InputError(found + hint, key=f"constraints.{self.name}.groups")
        for group, places in enumerate(self.groups):
            yield from _bans(problem, places, f"constraints.{self.name}.groups[{group}]", group)
        yield from self._mode_bans(problem)
        for what, lists in (("together", self.together), ("same_mode", self.same_mode)):
            for members in self._members(problem, what, lists):
                yield Together(members, "devices" if what == "together" else "mode")
        if self.modules_together:
            yield from map(Together, _modules(problem))
        for members in self._members(problem, "apart", self.apart):
            yield Apart(members)
        yield from self._orders(problem)
        if self.contiguous:
            yield from _passes(problem)

    def _mode_bans(self, problem: Problem) -> Iterator[Forbidden]:
        index = problem.graph.operator_index
        for pattern, modes in self.forbid_modes.items():
            key = f"constraints.{self.name}.forbid_modes.{pattern}"
            names = matching_operators(pattern, problem.graph.operators, key=key)
            for mode in modes:
                known = [m.name for n in names for m in problem.graph.operators[index[n]].modes]
                if mode not in known:
                    shown = ", ".join(dict.fromkeys(known))
                    raise InputError(f"none of them has a mode '{mode}'; modes: {shown}", key=key)
                for name in names:
                    yield Forbidden(name, mode=mode)

    def _members(
        self, problem: Problem, what: str, lists: tuple[tuple[str, ...], ...]
    ) -> Iterator[tuple[str, ...]]:
        for position, patterns in enumerate(lists):
            key = f"constraints.{self.name}.{what}[{position}]"
            members = all_matching(patterns, problem.graph.operators, key=key)
            if len(members) < 2:
                raise InputError(f"means only '{members[0]}'; it takes two operators", key=key)
            yield members

    def _orders(self, problem: Problem) -> Iterator[Order]:
        for position, patterns in enumerate(self.order):
            key = f"constraints.{self.name}.order[{position}]"
            steps = [matching_operators(p, problem.graph.operators, key=key) for p in patterns]
            if len(steps) < 2:
                raise InputError("an order takes two operators", key=key)
            for first, last in pairwise(steps):
                both = set(first) & set(last)
                if both:
                    raise InputError(f"'{min(both)}' cannot run after itself", key=key)
                for a in first:
                    for b in last:
                        yield Order((a, b))


def _modules(problem: Problem) -> Iterator[tuple[str, ...]]:
    """Yield the operators of each module that has several."""
    members: dict[str, list[str]] = {}
    for operator in problem.graph.operators:
        if operator.module:
            members.setdefault(operator.module, []).append(operator.name)
    yield from (tuple(names) for names in members.values() if len(names) > 1)


def _passes(problem: Problem) -> Iterator[Contiguous]:
    """Yield the operators of each pass; what works once per step stands between steps."""
    graph = problem.graph
    for kinds in (FORWARD, BACKWARD):
        names = [
            operator.name
            for operator in graph.operators
            if operator.kind in kinds and operator.repeat is Repeat.MICROBATCH
        ]
        if len(names) > 1:
            yield Contiguous(names)


def _bans(
    problem: Problem, places: Places | Placement, key: str, group: int | None
) -> Iterator[Forbidden]:
    """Yield what pins and bans forbid to one placement group, or to all (None)."""
    cluster = problem.cluster
    everywhere = [device.name for device in cluster.devices]
    for what, rules in (("pin", places.pin), ("forbid", places.forbid)):
        for pattern, names in rules.items():
            here = f"{key}.{what}.{pattern}"
            if not names:
                raise InputError("names no device", key=here)
            named = {d for name in names for d in matching_devices(name, cluster, key=here)}
            banned = [d for d in everywhere if (d in named) == (what == "forbid")]
            for operator in matching_operators(pattern, problem.graph.operators, key=here):
                for device in banned:
                    yield Forbidden(operator, device=device, group=group)
