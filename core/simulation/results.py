"""What a simulation found: statistics of the makespan, and the places that decide it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import field, frozen

from parplan.scheduling.tables import Real
from parplan.simulation.noise import DISTRIBUTION, Noise

CONFIDENT = 1.959964
"""Standard errors on either side of a mean that cover 95% (normal distribution)."""


def _fixed(values: Any) -> Real:
    array = np.array(values, dtype=float)
    array.setflags(write=False)
    return array


@frozen
class Place:
    """A device or link, and how much of the makespan's randomness and length is its.

    Attributes
    ----------
    kind
        ``"device"`` or ``"link"``.
    critical
        Mean part of the makespan that a longest path spends there.
    leads
        Part of the scenarios in which no other place has more of the longest path.
    relief_s
        By how much the mean makespan falls if this place alone takes its planned times; None where
        that was not tried, see ``simulating.RELIEVED``.
    """

    name: str
    kind: str
    critical: float
    leads: float
    relief_s: float | None = None


@frozen(eq=False)
class Simulation:
    """A plan's makespan under random times.

    Attributes
    ----------
    planned_s
        Makespan of the plan.
    replayed_s
        Makespan of the replay if everything takes its planned time: at most the planned one.
    makespans_s
        Makespan of each scenario, in the order of the scenarios.
    places
        Devices and links on longest paths, those that lead most often first.
    """

    planned_s: float
    replayed_s: float
    noise: Noise
    seed: int
    makespans_s: Real = field(converter=_fixed)
    places: tuple[Place, ...] = ()

    @property
    def samples(self) -> int:
        """How many scenarios were replayed."""
        return len(self.makespans_s)

    @property
    def mean_s(self) -> float:
        """Mean makespan."""
        return float(self.makespans_s.mean())

    @property
    def deviation_s(self) -> float:
        """Standard deviation of the makespan (of a sample); 0 for a single scenario."""
        return float(self.makespans_s.std(ddof=1)) if self.samples > 1 else 0.0

    @property
    def interval_s(self) -> tuple[float, float]:
        """95% confidence interval of the mean, by the normal distribution."""
        half = CONFIDENT * self.deviation_s / math.sqrt(self.samples)
        return self.mean_s - half, self.mean_s + half

    def quantile_s(self, part: float) -> float:
        """Return the makespan that this part of the scenarios stays at or below."""
        return float(np.quantile(self.makespans_s, part))

    @property
    def delay_s(self) -> float:
        """How much longer than planned a step takes, on average."""
        return self.mean_s - self.planned_s

    def to_dict(self) -> Mapping[str, Any]:
        """Return the figures as plain data; times in seconds."""
        return {
            "planned": self.planned_s,
            "replayed": self.replayed_s,
            "mean": self.mean_s,
            "mean_interval": list(self.interval_s),
            "deviation": self.deviation_s,
            "median": self.quantile_s(0.5),
            "p95": self.quantile_s(0.95),
            "delay": self.delay_s,
            "samples": self.samples,
            "seed": self.seed,
            "distribution": DISTRIBUTION,
            "noise": {
                "spread": dict(self.noise.spread),
                "device_spread": self.noise.device_spread,
                "operators": dict(self.noise.operators),
                "stragglers": [
                    {"device": s.device, "factor": s.factor, "probability": s.probability}
                    for s in self.noise.stragglers
                ],
            },
            "places": [
                {
                    "name": place.name,
                    "kind": place.kind,
                    "critical": place.critical,
                    "leads": place.leads,
                    "relief": place.relief_s,
                }
                for place in self.places
            ],
        }
