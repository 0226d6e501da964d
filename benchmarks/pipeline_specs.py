"""Pipelines of the benchmarks as specs: stages, devices, delays and caps on saved activations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from attrs import frozen

Spec = dict[str, Any]


class Layout(StrEnum):
    """How stages lie on p devices.

    One way: device d hosts stage d of p. V: device d hosts chunks d and 2p - 1 - d of 2p.
    Mirrored: half of the microbatches go through p stages one way, half the other way round. Free:
    the same two directions, each stage of each on any device.
    """

    ONE_WAY = "one-way"
    V = "V"
    MIRRORED = "mirrored"
    FREE = "free"


@frozen
class Pipeline:
    """One pipeline; times in seconds, of one stage and microbatch.

    Attributes
    ----------
    delay_s
        From the end of a pass to the earliest start of the next stage's on another device.
    links
        Whether a transfer holds its link for that time, or any number travel at once.
    saved_bytes
        Saved activations of one stage and microbatch.
    released_at_backward
        Part of them that the backward pass for the inputs gives up.
    cap_bytes
        Saved activations that a device holds at once.
    """

    name: str
    devices: int
    microbatches: int
    layout: Layout
    forward_s: float
    backward_s: float
    weight_s: float
    delay_s: float
    saved_bytes: int
    released_at_backward: float
    cap_bytes: int
    tick_s: float
    links: bool = False
    objective: str = "makespan"

    @property
    def stages(self) -> int:
        """Number of stages of each direction."""
        return self.devices * (2 if self.layout is Layout.V else 1)

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return 3 * self.stages * self.microbatches

    def spec(self) -> Spec:
        """Return the spec of the pipeline."""
        free = self.layout is Layout.FREE
        # The weights of two stages fit beside the activations; a third's take the room of one.
        weights = 1 if free else 0
        scale = max(1, math.ceil(1e6 / self.saved_bytes)) if self.links else 1
        memory = (self.cap_bytes + 2 * weights) * scale
        both = self.layout in (Layout.MIRRORED, Layout.FREE)
        return {
            "name": self.name,
            "model": {
                "kind": "stages",
                "options": {
                    "stages": self.stages,
                    "forward_s": self.forward_s,
                    "backward_s": self.backward_s,
                    "weight_s": self.weight_s,
                    "activation_bytes": self.saved_bytes * scale,
                    "released_at_backward": self.released_at_backward,
                    "parameter_bytes": weights * scale,
                    # On links a boundary has one byte: less than a thousandth of an activation.
                    "boundary_bytes": 1 if self.links else 0,
                },
            },
            "cluster": self._cluster(memory + (scale - 1 if self.links else 0)),
            "workload": {"microbatches": self.microbatches, "groups": 2 if both else 1},
            "constraints": [] if free else [{"placement": self._pins()}],
            "objectives": [self.objective],
            "tick_s": self.tick_s,
        }

    def _cluster(self, memory: int) -> Spec:
        group = {"name": "d{}", "count": self.devices, "node": "a", "memory_bytes": memory}
        if not self.links:
            return {"devices": [group], "intra": {"bandwidth": 1e9, "latency_s": self.delay_s}}
        neighbours = range(self.devices - 1)
        rate = {"bandwidth": 1 / self.delay_s, "two_way": True}
        links = [{"source": f"d{d}", "target": f"d{d + 1}", **rate} for d in neighbours]
        return {"devices": [group], "links": links}

    def _pins(self) -> Mapping[str, Any]:
        p = self.devices
        there = {f"stages.{s}": [f"d{s if s < p else 2 * p - 1 - s}"] for s in range(self.stages)}
        if self.layout is not Layout.MIRRORED:
            return {"pin": there}
        back = {f"stages.{s}": [f"d{p - 1 - s}"] for s in range(p)}
        return {"groups": [{"pin": there}, {"pin": back}]}
