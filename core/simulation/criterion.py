"""A statistic of the makespan over scenarios: what a search can compare plans by."""

from __future__ import annotations

import numpy as np
from attrs import frozen

from parplan.errors import InputError
from parplan.rules import Rules
from parplan.schedule import Schedule
from parplan.scheduling.tables import Real
from parplan.simulation.orders import orders_of
from parplan.simulation.scenarios import Scenarios
from parplan.simulation.simulating import AT_ONCE, sample_makespans


@frozen(eq=False)
class ScenarioCriterion:
    """The mean, or a quantile, of the replayed makespan.

    Attributes
    ----------
    quantile
        From 0 to 1; None for the mean.
    """

    scenarios: Scenarios
    quantile: float | None = None

    def __attrs_post_init__(self) -> None:
        if self.quantile is not None and not 0 <= self.quantile <= 1:
            raise InputError(f"{self.quantile} is no quantile; give 0 up to 1", key="quantile")

    @property
    def weights(self) -> Real:
        """What the makespans of all scenarios count, the shortest first; the sum is 1.

        A quantile between two of them is interpolated, as ``numpy.quantile`` does.
        """
        count = self.scenarios.count
        if self.quantile is None:
            return np.full(count, 1.0 / count)
        place = self.quantile * (count - 1)
        weights: Real = np.maximum(0.0, 1.0 - np.abs(np.arange(count) - place))
        return weights

    def statistic(self, makespans: Real) -> float:
        """Return the statistic of one makespan for each scenario."""
        return float(np.sort(makespans) @ self.weights)

    def value(self, schedule: Schedule, rules: Rules) -> float:
        """Return the statistic of a schedule's replays in ticks; see ``orders_of`` for errors."""
        orders = orders_of(schedule, rules)
        found = [
            sample_makespans(orders, factors)
            for factors in self.scenarios.factors(orders.network, AT_ONCE)
        ]
        return self.statistic(np.concatenate(found))
