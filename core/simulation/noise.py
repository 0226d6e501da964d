"""What is random about time: spreads by kind of work, slow devices; and how people write it down.

A task or transfer takes its planned time multiplied by a lognormal factor of mean one, so noise
alone favours neither early nor late. A device may add a factor of its own that stays the same for
the whole step, and may be a straggler: slower by a given factor, always or in some steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from parplan.errors import InputError
from parplan.files.json_file import says_kind
from parplan.graph import Kind
from parplan.measuring.measured_costs import COSTS, MeasuredCosts, load_costs
from parplan.spec.document import read_document
from parplan.spec.structuring import structure

TRANSFER = "transfer"
KIND_NAMES: Mapping[Kind, str] = {
    Kind.FORWARD: "forward",
    Kind.BACKWARD: "backward",
    Kind.BACKWARD_INPUT: "backward",
    Kind.BACKWARD_WEIGHT: "weight",
    Kind.OPTIMIZER: "optimizer",
    Kind.COLLECTIVE: "collective",
    Kind.OTHER: "other",
}
KINDS = (*dict.fromkeys(KIND_NAMES.values()), TRANSFER)
"""Kinds of work that may have a spread of their own."""

DISTRIBUTION = "lognormal of mean 1, independent for each task and transfer"


def _stragglers(value: Iterable[Straggler]) -> tuple[Straggler, ...]:
    return tuple(value)


@frozen
class Straggler:
    """A device whose tasks take ``factor`` times as long, with ``probability`` in each step."""

    device: str
    factor: float
    probability: float = 1.0

    def __attrs_post_init__(self) -> None:
        _require(self.factor > 0, f"straggler '{self.device}'", self.factor, "no factor above zero")
        inside = 0 <= self.probability <= 1
        _require(inside, f"straggler '{self.device}'", self.probability, "no probability")


@frozen
class Noise:
    """How times differ from the plan's.

    Attributes
    ----------
    spread
        Coefficient of variation (standard deviation / mean) by kind of work, see ``KINDS``; kinds
        that are not named take exactly their planned time.
    device_spread
        Coefficient of variation of a factor that a device keeps for a whole step.
    stragglers
        Devices that are slow by a known factor. A task on several devices takes as long as on the
        slowest of them.
    operators
        Coefficient of variation of operators by name, in place of that of their kind.
    """

    spread: Mapping[str, float] = field(factory=dict)
    device_spread: float = 0.0
    stragglers: tuple[Straggler, ...] = field(default=(), converter=_stragglers)
    operators: Mapping[str, float] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        for kind, value in self.spread.items():
            if kind not in KINDS:
                known = ", ".join(KINDS)
                raise InputError(
                    f"there is no kind of work '{kind}'; kinds are {known}", key="noise"
                )
            _require(value >= 0, f"noise of '{kind}'", value, "no coefficient of variation")
        for name, value in self.operators.items():
            _require(value >= 0, f"noise of '{name}'", value, "no coefficient of variation")
        _require(self.device_spread >= 0, "device_spread", self.device_spread, "no spread")

    def __str__(self) -> str:
        """Return the noise in one line."""
        by_value: dict[float, list[str]] = {}
        for kind in KINDS:
            by_value.setdefault(self.spread.get(kind, 0.0), []).append(kind)
        parts = [f"{', '.join(kinds)} {100 * v:g}%" for v, kinds in by_value.items() if v > 0]
        if len(parts) == 1 and len(by_value) == 1:
            parts = [f"all {100 * next(iter(by_value)):g}%"]
        if self.operators:
            low, high = min(self.operators.values()), max(self.operators.values())
            own = f"{100 * low:.3g}%" + ("" if low == high else f" to {100 * high:.3g}%")
            parts.append(f"{len(self.operators)} operators by name {own}")
        if self.device_spread > 0:
            parts.append(f"each device {100 * self.device_spread:g}% for the whole step")
        for s in self.stragglers:
            often = "" if s.probability == 1 else f" in {100 * s.probability:g}% of the steps"
            parts.append(f"{s.device} x{s.factor:g}{often}")
        return "; ".join(parts) or "none"


def _require(holds: bool, what: str, value: float, fault: str) -> None:
    if not holds or not math.isfinite(value):
        raise InputError(f"{what}: {value:g} is {fault}", key="noise")


NoiseLike = Noise | float | str | Path | Mapping[str, Any]


def read_noise(given: NoiseLike, stragglers: Iterable[str] = ()) -> Noise:
    """Return noise from a number, a text, a mapping or a YAML file.

    Parameters
    ----------
    given
        A coefficient of variation for everything, e.g. 0.05; ``"forward=0.05,transfer=0.2"``; a
        mapping by kind; the path of a YAML or JSON file with the fields of ``Noise``; or that of
        measured costs, whose operators then have the spread that was measured, the largest of all
        devices and modes.
    stragglers
        ``"DEVICE=1.1"`` (always) or ``"DEVICE=1.1@0.2"`` (in a fifth of the steps) each.

    Raises
    ------
    InputError
        If it is none of these, or a value makes no sense.
    """
    noise = _read(given)
    more = tuple(_straggler(text) for text in stragglers)
    return evolve(noise, stragglers=(*noise.stragglers, *more))


def _read(given: NoiseLike) -> Noise:
    if isinstance(given, Noise):
        return given
    if isinstance(given, bool):
        raise InputError(f"{given} is no noise", key="noise")
    if isinstance(given, int | float):
        return Noise(dict.fromkeys(KINDS, float(given)))
    if isinstance(given, Mapping):
        fields = {"spread", "device_spread", "stragglers", "operators"}
        data = given if fields & set(given) else {"spread": dict(given)}
        return structure(data, Noise, key="noise")
    if isinstance(given, str):
        number = _number(given)
        if number is not None:
            return _read(number)
        if "=" in given:
            return Noise(dict(_pair(part) for part in given.split(",")))
    path = Path(given)
    if not path.exists():
        raise InputError(
            f"'{given}' is no noise: give a number such as 0.05, KIND=NUMBER,..., a YAML file, or "
            "measured costs",
            key="noise",
        )
    if says_kind(path, COSTS):
        return _measured(load_costs(path))
    return structure(read_document(path).data, Noise, file=str(path))


def _measured(costs: MeasuredCosts) -> Noise:
    """Return the spread that was measured of each operator."""
    spread: dict[str, float] = {}
    for one in costs.operators:
        spread[one.operator] = max(one.spread, spread.get(one.operator, 0.0))
    return Noise(operators=spread)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _pair(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    number = _number(value)
    if not name.strip() or number is None:
        raise InputError(f"'{text}' is no spread; write KIND=NUMBER", key="noise")
    return name.strip(), number


def _straggler(text: str) -> Straggler:
    name, _, rest = text.rpartition("=")
    factor, at, probability = rest.partition("@")
    numbers = (_number(factor), _number(probability) if at else 1.0)
    if not name or numbers[0] is None or numbers[1] is None:
        raise InputError(
            f"'{text}' is no straggler; write DEVICE=FACTOR or DEVICE=FACTOR@PROBABILITY",
            key="straggler",
        )
    return Straggler(name, numbers[0], numbers[1])
