"""The makespan under random times: its mean, or a quantile, over seeded scenarios."""

from __future__ import annotations

from typing import Any, ClassVar

from attrs import frozen

from parplan.contracts import Objective
from parplan.rules import Rules
from parplan.schedule import Schedule
from parplan.simulation.criterion import ScenarioCriterion
from parplan.simulation.noise import read_noise
from parplan.simulation.scenarios import Scenarios

NAME, UNIT = "robust-makespan", "s"


@frozen
class RobustMakespan(Objective):
    """Mean or quantile of the makespan if the plan's orders are kept and times are random.

    The scenarios are part of the objective: a fixed number of them, from a seed. No bound is
    claimed: by Jensen's inequality the makespan bound holds for the true mean (factors have mean
    one, and a longest path is convex in its times), but a mean over a few scenarios may lie below.

    Attributes
    ----------
    noise
        Whatever ``parplan.simulation.noise.read_noise`` takes.
    samples
        How many scenarios.
    quantile
        From 0 to 1; None for the mean.
    """

    name: ClassVar[str] = NAME
    unit: ClassVar[str] = UNIT

    noise: Any = 0.05
    samples: int = 40
    quantile: float | None = None
    seed: int = 0

    def with_rules(self, rules: Rules) -> Objective:
        """Return the objective for one problem: a replay must know what may overlap."""
        noise = read_noise(self.noise)
        scenarios = Scenarios(rules.problem, noise, self.samples, self.seed)
        return _OfOneProblem(rules, ScenarioCriterion(scenarios, self.quantile))


@frozen(eq=False)
class _OfOneProblem(Objective):
    name: ClassVar[str] = NAME
    unit: ClassVar[str] = UNIT

    rules: Rules
    over_scenarios: ScenarioCriterion

    def value(self, schedule: Schedule) -> float:
        """Return the statistic in seconds."""
        return self.over_scenarios.value(schedule, self.rules) * schedule.problem.tick_s

    def criterion(self) -> ScenarioCriterion:
        """Return what a search on orders compares by."""
        return self.over_scenarios
