"""Where operators may run, and which of them go together, apart or in turn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import ClassVar

from attrs import field, frozen

from parplan.contracts import Constraint
from parplan.declarations import Apart, Declaration, Forbidden, Order, Together
from parplan.errors import InputError
from parplan.patterns import all_matching, matching_devices, matching_operators
from parplan.problem import Problem


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
    together
        Lists of operators that share their device group.
    same_mode
        Lists of operators that run in modes of the same name.
    apart
        Lists of operators of which no two share a device.
    order
        Lists of operators that run one after the other, for each microbatch; where a pattern means
        several, all of them run before those of the next.
    """

    name: ClassVar[str] = "placement"

    pin: Mapping[str, tuple[str, ...]] = field(factory=dict)
    forbid: Mapping[str, tuple[str, ...]] = field(factory=dict)
    forbid_modes: Mapping[str, tuple[str, ...]] = field(factory=dict)
    together: tuple[tuple[str, ...], ...] = ()
    same_mode: tuple[tuple[str, ...], ...] = ()
    apart: tuple[tuple[str, ...], ...] = ()
    order: tuple[tuple[str, ...], ...] = ()

    def declare(self, problem: Problem) -> Iterable[Declaration]:
        """Yield what the options say, operator by operator."""
        yield from self._bans(problem)
        yield from self._mode_bans(problem)
        for what, lists in (("together", self.together), ("same_mode", self.same_mode)):
            for members in self._members(problem, what, lists):
                yield Together(members, "devices" if what == "together" else "mode")
        for members in self._members(problem, "apart", self.apart):
            yield Apart(members)
        yield from self._orders(problem)

    def _bans(self, problem: Problem) -> Iterator[Forbidden]:
        cluster = problem.cluster
        everywhere = [device.name for device in cluster.devices]
        for what, rules in (("pin", self.pin), ("forbid", self.forbid)):
            for pattern, places in rules.items():
                key = f"constraints.{self.name}.{what}.{pattern}"
                if not places:
                    raise InputError("names no device", key=key)
                named = {d for p in places for d in matching_devices(p, cluster, key=key)}
                banned = [d for d in everywhere if (d in named) == (what == "forbid")]
                for name in matching_operators(pattern, problem.graph.operators, key=key):
                    for device in banned:
                        yield Forbidden(name, device=device)

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
