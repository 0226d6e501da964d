"""Measured costs: seconds of operators and speeds of links, with their spread; and their file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen

from parplan.errors import InputError
from parplan.files.json_file import FileKind, load, save
from parplan.spec.structuring import structure

COSTS = FileKind("parplan-costs", "costs", "parplan calibrate -o")

EVERY_KIND = "*"
"""Stands for all kinds of devices, where nobody said on which one something ran."""


@frozen
class MeasuredSeconds:
    """How long an operator took on a kind of device.

    Attributes
    ----------
    mode
        Name of the operator's mode; empty for any.
    kind
        Of the device, or ``EVERY_KIND``.
    seconds
        Median over the samples, of a microbatch of scale 1 on a device that is not slowed down.
    spread
        Coefficient of variation of the samples.
    samples
        Actions that it was measured in.
    companions
        Other operators that ran in the same actions; its seconds are then a share.
    """

    operator: str
    mode: str
    kind: str
    seconds: float
    spread: float
    samples: int
    companions: int = 0

    def __attrs_post_init__(self) -> None:
        for name in ("seconds", "spread"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise InputError(f"is {value}; it must be finite and not negative", key=name)


@frozen
class MeasuredLink:
    """How fast tensors went from one device to another.

    Attributes
    ----------
    bandwidth
        Bytes per second; None where the sizes do not tell.
    latency_s
        What a message of no bytes takes.
    samples
        Messages.
    """

    source: str
    target: str
    bandwidth: float | None
    latency_s: float
    samples: int

    def __attrs_post_init__(self) -> None:
        if not math.isfinite(self.latency_s) or self.latency_s < 0:
            raise InputError(
                f"is {self.latency_s}; it must be finite and not negative", key="latency_s"
            )
        if self.bandwidth is not None and not 0 < self.bandwidth < math.inf:
            raise InputError(f"is {self.bandwidth}; it must be above zero", key="bandwidth")


@frozen
class MeasuredCosts:
    """What recordings say of costs.

    Attributes
    ----------
    source
        What ran, when, and on which software.
    """

    source: str
    operators: tuple[MeasuredSeconds, ...]
    links: tuple[MeasuredLink, ...] = ()
    versions: Mapping[str, str] = field(factory=dict)

    @cached_property
    def _by_name(self) -> Mapping[tuple[str, str], Mapping[str, MeasuredSeconds]]:
        found: dict[tuple[str, str], dict[str, MeasuredSeconds]] = {}
        for one in self.operators:
            found.setdefault((one.operator, one.mode), {})[one.kind] = one
        return found

    def of(self, operator: str, mode: str) -> Mapping[str, MeasuredSeconds]:
        """Return what was measured of an operator in a mode, by kind of device."""
        found = self._by_name.get((operator, mode))
        return self._by_name.get((operator, ""), {}) if found is None else found


def save_costs(costs: MeasuredCosts, path: Path | str) -> None:
    """Write measured costs; whole, or not at all.

    Raises
    ------
    InputError
        If the file cannot be written; what was there before is unchanged.
    """
    content: dict[str, Any] = attrs.asdict(costs)
    save(COSTS, content, Path(path))


def load_costs(path: Path | str) -> MeasuredCosts:
    """Return the measured costs in a file.

    Raises
    ------
    InputError
        Naming the file and the key at fault: no costs, truncated, of another version, wrong types
        or amounts.
    """
    return load(COSTS, Path(path), lambda data: structure(data, MeasuredCosts))
