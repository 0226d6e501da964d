"""What messages of recorded runs say of links."""

from __future__ import annotations

from parplan.cluster_detection.bandwidths import PairBandwidth
from parplan.errors import InputError
from parplan.measuring.measured_costs import MeasuredCosts


def pairs_measured(costs: MeasuredCosts) -> tuple[PairBandwidth, ...]:
    """Return how fast messages went between devices.

    Raises
    ------
    InputError
        If no message was measured.
    """
    if not costs.links:
        raise InputError(
            "has no messages: calibrate recordings of a plan on several devices, with --plan"
        )
    return tuple(
        PairBandwidth(link.source, link.target, link.bandwidth, link.latency_s)
        for link in costs.links
    )
