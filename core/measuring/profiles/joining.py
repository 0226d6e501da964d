"""Which operators of a graph the timings of a profile belong to.

A timing belongs to the operator of its module, or of the nearest module around it that has one. An
operator that is a single call is found by its name; several that a timing cannot be told apart for
share it. What stands between modules (sums, a loss) goes with what ran before it, as it does where
a model is imported.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property

from attrs import field, frozen

from parplan.errors import InputError
from parplan.graph import Graph, Kind, Operator
from parplan.measuring.profiles.profile import Pass, Profile, Timing

KINDS: Mapping[Pass, tuple[Kind, ...]] = {
    Pass.FORWARD: (Kind.FORWARD,),
    Pass.BACKWARD: (Kind.BACKWARD, Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT),
    Pass.OPTIMIZER: (Kind.OPTIMIZER,),
}
"""Operators of each pass."""


@frozen
class Joined:
    """What a profile says of a graph.

    Attributes
    ----------
    samples
        Seconds of operators that ran together, one for each run.
    seconds, left
        All that was timed, and what belongs to no operator, by its name, the longest first.
    """

    samples: Mapping[tuple[str, ...], tuple[float, ...]]
    seconds: float
    left: Mapping[str, float]

    @property
    def share(self) -> float:
        """Part of the time that belongs to an operator."""
        return 1.0 - sum(self.left.values()) / self.seconds if self.seconds else 0.0


def join(profile: Profile, graph: Graph, warm_up: int) -> Joined:
    """Return the seconds of a graph's operators in a profile.

    Parameters
    ----------
    warm_up
        Runs that are left out at the beginning of each pass; one remains in any case.

    Raises
    ------
    InputError
        If nothing in the profile belongs to an operator of the graph.
    """
    modules = {work: _Modules(graph, kinds) for work, kinds in KINDS.items()}
    found: dict[tuple[str, ...], dict[int, float]] = defaultdict(lambda: defaultdict(float))
    left: dict[str, float] = defaultdict(float)
    for name, seconds in profile.nameless.items():
        left[name] += seconds
    before: dict[tuple[Pass, int], tuple[str, ...]] = {}
    ran: dict[tuple[str, str, int, int], tuple[str, ...]] = {}
    for timing in profile.timings:
        group = modules[timing.work].operators(timing)
        call = (timing.module, timing.name, timing.position, timing.run)
        if not group and timing.work is Pass.FORWARD:
            group = before.get((timing.work, timing.run), ())
        elif not group and timing.work is Pass.BACKWARD:
            group = modules[Pass.BACKWARD].backward_of(ran.get(call, ()))
        if timing.work is Pass.FORWARD:
            ran[call] = before[timing.work, timing.run] = group
        if group:
            found[group][timing.run] += timing.seconds
        else:
            left[f"{timing.work} of '{timing.module or timing.name}'"] += timing.seconds
    if not found:
        raise InputError(
            "nothing in the profile belongs to an operator: it is of another model, or names its "
            "modules otherwise"
        )
    return Joined(
        {group: _counted(runs, warm_up) for group, runs in found.items()},
        profile.seconds,
        dict(sorted(left.items(), key=lambda item: -item[1])),
    )


def _counted(runs: Mapping[int, float], warm_up: int) -> tuple[float, ...]:
    seconds = [runs[run] for run in sorted(runs)]
    return tuple(seconds[min(warm_up, len(seconds) - 1) :])


@frozen
class _Modules:
    """The operators of one pass, by module."""

    graph: Graph
    kinds: Sequence[Kind]
    by_module: Mapping[str, tuple[Operator, ...]] = field(init=False)

    @by_module.default
    def _(self) -> Mapping[str, tuple[Operator, ...]]:
        found: dict[str, list[Operator]] = defaultdict(list)
        for operator in self.graph.operators:
            if operator.kind in self.kinds:
                found[operator.module].append(operator)
        return {module: tuple(inside) for module, inside in found.items()}

    @cached_property
    def everything(self) -> tuple[str, ...]:
        """Names of all of them."""
        return tuple(o.name for inside in self.by_module.values() for o in inside)

    @cached_property
    def by_layer(self) -> Mapping[str, Sequence[str]]:
        """Names of those of each layer: their names without the pass."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in self.everything:
            found[_layer(name)].append(name)
        return found

    def operators(self, timing: Timing) -> tuple[str, ...]:
        """Return the operators that a timing belongs to; none if its module has none."""
        if timing.work is Pass.OPTIMIZER:
            return self.everything
        parts = timing.module.split(".") if timing.module else []
        for length in range(len(parts), 0, -1):
            inside = self.by_module.get(".".join(parts[:length]))
            if inside:
                return _called(inside, timing) or tuple(o.name for o in inside)
        return ()

    def backward_of(self, forward: Sequence[str]) -> tuple[str, ...]:
        """Return the operators of this pass that go with forward ones."""
        layers = dict.fromkeys(map(_layer, forward))
        return tuple(name for layer in layers for name in self.by_layer.get(layer, ()))


def _layer(operator: str) -> str:
    """Return an operator's name without its pass."""
    return operator.rpartition(":")[0]


def _called(inside: Sequence[Operator], timing: Timing) -> tuple[str, ...]:
    """Return those of a module's operators that are the call which was timed.

    Calls are named ``module.name``, and ``module.name-2`` and so on where they recur.
    """
    number = "" if timing.position == 0 else f"-{timing.position + 1}"
    name = f"{timing.module}.{timing.name}{number}"
    return tuple(o.name for o in inside if _layer(o.name) == name)
