"""What both levels of the model have in common: Blocks, alternatives, rules on placement."""

from __future__ import annotations

from typing import Any

import pyomo.environ as pyo

from parplan.contracts import Constraint, Objective
from parplan.declarations import Apart, Contiguous, TimeLag, Together
from parplan.errors import ParplanError, PluginError
from parplan.model.blocks import Definition, RuleBlock
from parplan.model.choices import Choices, Given
from parplan.model.clock import Clock
from parplan.model.contiguity import line_up
from parplan.model.tasks import durations
from parplan.model.transfers import Transport
from parplan.problem import Problem
from parplan.rules import Rules
from parplan.ticks import ticks_up


class RuleModel:
    """A ConcreteModel with a Block per rule and a literal per open alternative.

    Attributes
    ----------
    pyomo
        The ConcreteModel, for a solver.
    choices
        The alternatives and their literals.
    """

    def __init__(self, rules: Rules, assignment: Given | None = None) -> None:
        self.rules = rules
        self.problem: Problem = rules.problem
        self.pyomo: Any = pyo.ConcreteModel(self.problem.name)
        self.definitions: list[tuple[Any, Definition]] = []
        self._blocks: dict[str, RuleBlock] = {}
        self.choices = Choices(rules, self.block("placement"), assignment)
        for rule, together in rules.of(Together):
            self.choices.tie(rule, self.block(rule), together)
        for rule, apart in rules.of(Apart):
            self.choices.part(rule, self.block(rule), apart)
        for rule, contiguous in rules.of(Contiguous):
            line_up(self.choices, self.block(rule), contiguous)

    def block(self, rule: str) -> RuleBlock:
        """Return the Block of a rule, made on the first call."""
        if rule not in self._blocks:
            block = RuleBlock(rule, self.definitions)
            # Names may hold dots, which Pyomo keeps for nesting.
            self.pyomo.add_component(f"rule_{rule.replace('.', '_')}", block)
            self._blocks[rule] = block
        return self._blocks[rule]

    def on(self, operator: str, device: str, microbatch: int = 0) -> Any:
        """Return 1 if an operator runs on a device, as an expression (or a number if settled)."""
        o = self.problem.graph.operator_index[operator]
        key = (o, self.problem.workload.group(microbatch) if len(self.choices.groups(o)) > 1 else 0)
        d = self.problem.cluster.device_index[device]
        return self.choices.sum_of(key, self.choices.on_device(key, d))

    def _couple_modes(self, transport: Transport) -> None:
        """Couple the alternatives of producers and readers; one row set per pair of keys."""
        block = self.block("modes")
        for tensor, producer in enumerate(self.problem.graph.producers):
            for group in self.choices.groups(producer):
                for reader in transport.readers(tensor, group):
                    self.choices.couple(block, (producer, group), reader, tensor)

    def _longest_horizon(self, clock: Clock, transport: Transport) -> int:
        """Return the sum of all durations, arrivals, lags and the last release, in model ticks.

        In a schedule that ends later nothing happens for a while, so what comes after can start
        earlier.
        """
        problem = self.problem
        longest = clock.ticks(max(map(problem.release, range(problem.workload.microbatches))))
        for task in problem.tasks():
            longest += max(durations(self.choices, clock, task).values())
        for possible in transport.possible.values():
            longest += max(clock.ticks(option.timing.arrival) for option in possible.options)
        for _, lag in self.rules.of(TimeLag):
            ticks = abs(clock.ticks(ticks_up(lag.seconds, problem.tick_s)))
            longest += ticks * problem.workload.microbatches
        return max(longest, 1)

    def _run_hook(self, plugin: Constraint | Objective, hook: str) -> Any:
        """Let a plugin add to the model, or give an expression; what it raises names it."""
        try:
            return getattr(plugin, hook)(self)
        except ParplanError:
            raise
        except Exception as error:
            raise PluginError(
                f"raised {type(error).__name__}: {error}", plugin=plugin.name, hook=hook
            ) from error

    def _set_objective(self, method: str, makespan: Any) -> None:
        """Take the first objective that has an expression by ``method``, else the makespan."""
        expression, sense = makespan, pyo.minimize
        self.objective: Objective | None = None
        for objective in self.rules.objectives:
            found = self._run_hook(objective, method)
            if found is not None:
                expression, sense, self.objective = found, _sense(objective), objective
                break
        self.pyomo.objective = pyo.Objective(expr=expression, sense=sense)


def _sense(objective: Objective) -> Any:
    return pyo.maximize if objective.maximize else pyo.minimize
