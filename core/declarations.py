"""What a rule may declare: said once, true in the model, the search, the bounds and the checker.

Selectors speak of operators, devices and links by name and hold for every microbatch, so a rule
over a hundred thousand tasks is still a handful of records. ``operators=None`` selects all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum

from attrs import field, frozen

from parplan.errors import InputError


def _set(value: Iterable[str] | None) -> frozenset[str] | None:
    """Return names as a set; one name may stand for itself."""
    if value is None:
        return None
    return frozenset((value,)) if isinstance(value, str) else frozenset(value)


def _demands(value: Iterable[Demand]) -> tuple[Demand, ...]:
    return tuple(value)


def _names(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(value)


class Edge(StrEnum):
    """An edge of an activity in time."""

    START = "start"
    END = "end"


@frozen
class Running:
    """While a task runs on ``device``: ``amount`` each (or per byte of its workspace).

    Attributes
    ----------
    device
        The device that the task's alternative includes.
    amount
        How much of the resource; a mapping gives it per operator (absent means none).
    engine
        Only modes that hold this engine.
    operators
        Only these operators.
    modes
        Only modes of these names.
    per_workspace_byte
        ``amount`` counts per byte of the mode's workspace.
    """

    device: str
    amount: float | Mapping[str, float] = 1.0
    engine: str | None = None
    operators: frozenset[str] | None = field(default=None, converter=_set)
    modes: frozenset[str] | None = field(default=None, converter=_set)
    per_workspace_byte: bool = False


@frozen
class Moving:
    """While a transfer or a collective holds ``link``: ``amount`` each."""

    link: str
    amount: float = 1.0
    tensors: frozenset[str] | None = field(default=None, converter=_set)


@frozen
class Sending:
    """While a transfer leaves ``device``: from its start until it no longer holds a link."""

    device: str
    amount: float = 1.0


@frozen
class Receiving:
    """While a transfer enters ``device``: from its start until it no longer holds a link."""

    device: str
    amount: float = 1.0


@frozen
class Resident:
    """While tensors live on ``device``: ``amount`` per byte.

    A tensor lives on its producer's device from the producer's start, on a receiver from the start
    of its transfer, to the end of its last consumer there. An outgoing transfer is a consumer
    until it no longer holds a link. A tensor without a consumer there lives while its producer
    runs; an output of the graph lives to the end of the schedule on its producer's devices.
    """

    device: str
    amount: float = 1.0
    tensors: frozenset[str] | None = field(default=None, converter=_set)


@frozen
class ResidentParameters:
    """The whole horizon on ``device`` if any task there reads the group: ``amount`` per byte."""

    device: str
    amount: float = 1.0
    groups: frozenset[str] | None = field(default=None, converter=_set)


@frozen
class Held:
    """From an edge of one operator to an edge of another, of the same microbatch: ``amount``.

    An operator that runs once per step stands for its one run.
    """

    from_operator: str
    to_operator: str
    from_edge: Edge = Edge.START
    to_edge: Edge = Edge.END
    amount: float = 1.0
    device: str | None = None
    """Only if ``from_operator`` runs on this device; None: wherever it runs."""


Demand = Running | Moving | Sending | Receiving | Resident | ResidentParameters | Held


@frozen
class Resource:
    """The sum of all demands is at most ``capacity`` at every instant.

    Intervals are [start, end): what ends at t is free for what starts at t.
    """

    name: str
    capacity: float
    demands: tuple[Demand, ...] = field(converter=_demands)
    unit: str = ""

    def __attrs_post_init__(self) -> None:
        if not math.isfinite(self.capacity) or self.capacity < 0:
            raise InputError(f"resource '{self.name}': capacity is {self.capacity}")
        for demand in self.demands:
            amount = demand.amount
            values = amount.values() if isinstance(amount, Mapping) else (amount,)
            if any(not math.isfinite(v) or v < 0 for v in values):
                raise InputError(f"resource '{self.name}': amount {amount} in {demand}")


@frozen
class TimeLag:
    """``after``'s edge comes at least ``seconds`` after ``before``'s, microbatch by microbatch.

    ``offset`` ties microbatch k of ``before`` to microbatch k + offset of ``after``.
    """

    before: str
    after: str
    seconds: float = 0.0
    before_edge: Edge = Edge.END
    after_edge: Edge = Edge.START
    offset: int = 0


@frozen
class Forbidden:
    """An operator must not use a device, a mode, or a mode on a device (None: any).

    ``group`` bans it for the microbatches of one placement group alone (`Workload.groups`); an
    operator that runs once per step counts as group 0.
    """

    operator: str
    device: str | None = None
    mode: str | None = None
    group: int | None = None


@frozen
class Together:
    """These operators share their device group, or the name of their mode."""

    operators: tuple[str, ...] = field(converter=_names)
    what: str = "devices"


@frozen
class Apart:
    """No two of these operators share a device."""

    operators: tuple[str, ...] = field(converter=_names)


@frozen
class Contiguous:
    """Devices can stand in a row in which no tensor between two of these operators goes back.

    So what a device runs of them is all that lies between two cuts of the graph (a difference of
    two sets that are closed under predecessors), and nothing has to come back to it. Each placement
    group has a row of its own. An operator on several devices counts for each of them, except
    between operators on the same devices.
    """

    operators: tuple[str, ...] = field(converter=_names)


@frozen
class Order:
    """These operators run one after the other, for each microbatch."""

    operators: tuple[str, ...] = field(converter=_names)


Declaration = Resource | TimeLag | Forbidden | Together | Apart | Contiguous | Order
