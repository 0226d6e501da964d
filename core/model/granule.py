"""The model tick of a problem: what loses nothing, and what a MIP can still tell apart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Set as AbstractSet

from parplan.contracts import Capability
from parplan.declarations import TimeLag
from parplan.rules import Rules
from parplan.ticks import ticks_up

MOST_MIP_TICKS = 20_000
"""Longest horizon of a MIP in model ticks: its rows multiply times by it, at 1e-6 tolerance."""


def granule(rules: Rules) -> int:
    """Return the greatest common divisor of all times: a model tick that loses nothing."""
    return math.gcd(*all_times(rules)) or 1


def model_tick(granule_: int, capabilities: AbstractSet[Capability], horizon: int) -> int:
    """Return a model tick in ticks: the granule, or coarser where a MIP could not tell them apart.

    Parameters
    ----------
    horizon
        Latest end in ticks.
    """
    if Capability.CP in capabilities:
        return granule_
    return max(granule_, -(-horizon // MOST_MIP_TICKS))


def all_times(rules: Rules) -> list[int]:
    """Return all durations, holds, latencies, lags and releases that may occur, in ticks."""
    problem = rules.problem
    found: set[int] = {0}
    microbatches = range(problem.workload.microbatches)
    samples = microbatches if problem.workload.scales else range(1)
    for o, rows in enumerate(rules.allowed):
        for row in rows:
            for m in samples:
                found.add(problem.ticks(o, problem.alternatives[o][row], m))
    devices = range(len(problem.cluster.devices))
    for t, producer in enumerate(problem.graph.producers):
        modes = {problem.alternatives[producer][row].mode for row in rules.allowed[producer]}
        sizes = {problem.tensor_bytes(t, mode, m) for mode in modes for m in samples} - {None}
        for size in sizes:
            for a, b in itertools.permutations(devices, 2):
                timing = problem.transfer_timing(size or 0, a, b)
                if timing is not None:
                    found |= {timing.arrival, timing.occupied}
                    found |= {edge for h in timing.holds for edge in (h.offset, h.offset + h.ticks)}
    found |= {problem.release(m) for m in microbatches}
    found |= {abs(ticks_up(lag.seconds, problem.tick_s)) for _, lag in rules.of(TimeLag)}
    return sorted(found)
