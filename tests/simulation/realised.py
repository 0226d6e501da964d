"""A schedule whose tasks and transfers took other times, as the checker sees it."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from parplan.checking.columns import Whole
from parplan.checking.facts import Facts, Holds, Moves
from parplan.checking.resources import resources
from parplan.checking.timing import lags, precedence
from parplan.checking.transfers import transfers
from parplan.checking.usage import Usage
from parplan.contracts import Violation
from parplan.rules import Rules
from parplan.schedule import Schedule
from parplan.scheduling.network import Network

Factors = NDArray[np.int64]
"""Whole factors on times, so that the times that come out are whole ticks as well."""


@frozen(eq=False)
class RealisedFacts(Facts):
    """The checker's facts with every task and transfer stretched by a factor of its own."""

    task_factors: Factors
    transfer_factors: Factors

    @cached_property
    def ends(self) -> Whole:
        return self.starts + self.durations * self.task_factors

    @cached_property
    def moves(self) -> Moves:
        planned, factor = Facts(self.schedule).moves, self.transfer_factors
        occupied, arrival = planned.occupied * factor, planned.arrival * factor
        return Moves(planned.producer, planned.bytes, planned.possible, occupied, arrival)

    @cached_property
    def holds(self) -> Holds:
        planned, x = Facts(self.schedule).holds, self.schedule.transfers
        start, factor = x.start[planned.transfer], self.transfer_factors[planned.transfer]
        begin, end = ((t - start) * factor + start for t in (planned.start, planned.end))
        return Holds(planned.transfer, planned.link, begin, end)


def violations(network: Network, starts: Whole, factors: Factors, rules: Rules) -> list[Violation]:
    """Return what the checker holds against these starts, if times are stretched like that.

    Who comes first on a pair of devices is the plan's choice, not the ends' of producers.
    """
    schedule: Schedule = network.schedule(starts.tolist())
    count = len(network.tasks)
    facts = RealisedFacts(schedule, factors[:count], factors[count:])
    usage = Usage(facts)
    return [
        *precedence(facts),
        *(found for found in transfers(facts) if found.rule != "fifo"),
        *lags(usage, rules),
        *resources(usage, rules),
    ]
