"""The Pyomo model of a problem's timing, with or without placement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyomo.environ as pyo
from attrs import field, frozen

from parplan.declarations import Apart, Order, TimeLag, Together
from parplan.errors import InputError
from parplan.model.assignment_model import AssignmentModel as AssignmentModel
from parplan.model.blocks import Definition, RuleBlock
from parplan.model.choices import Assignment, Choices
from parplan.model.clock import Clock, Rounding
from parplan.model.demands import Demands
from parplan.model.lifetimes import Lifetimes
from parplan.model.precedence import Precedence
from parplan.model.resources import add_resource
from parplan.model.tasks import Task, make_tasks
from parplan.model.transfers import Transfer, Transport
from parplan.problem import STEP, Problem
from parplan.rules import Rules
from parplan.schedule import Schedule
from parplan.ticks import ticks_up


@frozen
class ModelOptions:
    """How a problem becomes a model.

    Attributes
    ----------
    tick
        Length of a model tick in ticks of the problem.
    rounding
        Of times that are no whole number of model ticks: up to find schedules, down for bounds.
    horizon
        Latest end in ticks of the problem, e.g. an incumbent's makespan; None for the sum of all
        that may ever follow one another.
    """

    tick: int = 1
    rounding: Rounding = field(default=Rounding.UP, converter=Rounding)
    horizon: int | None = None


class ScheduleModel:
    """When everything happens, and where the assignment leaves it open, in which alternative.

    Every part of the model has a Block of its own: ``placement``, ``modes`` (what couples them),
    ``schedule`` (times, transfers, lifetimes), ``precedence``, and one per constraint, by its name.

    Parameters
    ----------
    assignment
        Alternatives that are given, all or some; no variable is made for these.

    Attributes
    ----------
    pyomo
        The ConcreteModel for a solver; its objective minimises the first objective that has an
        expression, else the makespan.
    makespan
        Variable, in model ticks.
    horizon
        Latest end, in model ticks.
    tick_s
        Length of a model tick in seconds.

    Raises
    ------
    InfeasibleError
        If the rules leave no alternative, or given alternatives cannot go together.
    """

    def __init__(
        self,
        rules: Rules,
        options: ModelOptions | None = None,
        assignment: Assignment | None = None,
    ) -> None:
        self.rules = rules
        self.problem: Problem = rules.problem
        self.options = options or ModelOptions()
        self.clock = Clock(self.options.tick, self.options.rounding)
        self.tick_s = self.problem.tick_s * self.options.tick
        self.pyomo: Any = pyo.ConcreteModel(self.problem.name)
        self._blocks: dict[str, RuleBlock] = {}
        self.definitions: list[tuple[Any, Definition]] = []
        self.choices = Choices(rules, self.block("placement"), assignment)
        self.horizon = self._horizon()
        times = self.block("schedule")
        self.tasks = make_tasks(self.choices, self.clock, times, self.horizon)
        self.transport = Transport(self.choices, self.clock, times, self.tasks, self.horizon)
        self.pyomo.makespan = pyo.Var(domain=pyo.Integers, bounds=(0, self.horizon))
        self.makespan = self.pyomo.makespan
        self._add_modes()
        self._add_placement_rules()
        self._add_resources()
        self._add_precedence()
        for constraint in rules.escape_hatches:
            constraint.constrain(self)
        self._add_objective()

    # -- handles -------------------------------------------------------------------------------

    def block(self, rule: str) -> RuleBlock:
        """Return the Block of a rule, made on the first call."""
        if rule not in self._blocks:
            block = RuleBlock(rule, self.definitions)
            # Names may hold dots, which Pyomo keeps for nesting.
            self.pyomo.add_component(f"rule_{rule.replace('.', '_')}", block)
            self._blocks[rule] = block
        return self._blocks[rule]

    def task(self, operator: str, microbatch: int = STEP) -> Task:
        """Return a task; ``microbatch`` is -1 for an operator that runs once per step."""
        index = self.problem.graph.operator_index
        key = (index.get(operator, -1), microbatch)
        if key not in self.tasks:
            raise InputError(f"no task of operator '{operator}' in microbatch {microbatch}")
        return self.tasks[key]

    def transfer(self, tensor: str, microbatch: int, device: str) -> Transfer | None:
        """Return the transfer of a tensor to a device; None if no choice could need it."""
        key = (
            self.problem.graph.tensor_index[tensor],
            microbatch,
            self.problem.cluster.device_index[device],
        )
        return self.transport.make(key) if key in self.transport.possible else None

    def on(self, operator: str, device: str, microbatch: int = 0) -> Any:
        """Return 1 if an operator runs on a device, as an expression (or a number if settled)."""
        o = self.problem.graph.operator_index[operator]
        key = (o, self.problem.workload.group(microbatch) if len(self.choices.groups(o)) > 1 else 0)
        d = self.problem.cluster.device_index[device]
        return self.choices.sum_of(key, self.choices.on_device(key, d))

    # -- building ------------------------------------------------------------------------------

    def _horizon(self) -> int:
        """Return the latest end in model ticks.

        By default the sum of all durations, arrivals, lags and the last release: in a schedule
        that ends later, nothing happens for a while, so what comes after can start earlier.
        """
        if self.options.horizon is not None:
            return self.clock.ticks(self.options.horizon)
        problem, clock = self.problem, self.clock
        total = clock.ticks(max(map(problem.release, range(problem.workload.microbatches))))
        for o, m in problem.tasks():
            rows = self.choices.rows[o, problem.workload.group(m)]
            total += max(
                clock.ticks(problem.ticks(o, self.choices.alternative(o, a), m)) for a in rows
            )
        transport = Transport(self.choices, clock, self.block("schedule"), {}, 0)
        for possible in transport.possible.values():
            total += max(clock.ticks(option.timing.arrival) for option in possible.options)
        for _, lag in self.rules.of(TimeLag):
            ticks = abs(clock.ticks(ticks_up(lag.seconds, problem.tick_s)))
            total += ticks * problem.workload.microbatches
        return max(total, 1)

    def _add_modes(self) -> None:
        """Couple the alternatives of producers and readers; one row set per pair of keys."""
        block = self.block("modes")
        for tensor, producer in enumerate(self.problem.graph.producers):
            for group in self.choices.groups(producer):
                for reader in self.transport.readers(tensor, group):
                    self.choices.couple(block, (producer, group), reader, tensor)

    def _add_placement_rules(self) -> None:
        for rule, together in self.rules.of(Together):
            self.choices.tie(rule, self.block(rule), together)
        for rule, apart in self.rules.of(Apart):
            self.choices.part(rule, self.block(rule), apart)

    def _add_resources(self) -> None:
        if self.problem.cluster.fifo or self.rules.escape_hatches:
            for key in self.transport.possible:
                self.transport.make(key)
        times = self.block("schedule")
        lifetimes = Lifetimes(self.transport, times, self.makespan)
        demands = Demands(self.transport, lifetimes, times)
        for rule, resource in self.rules.resources:
            add_resource(self.block(rule), resource, demands)

    def _add_precedence(self) -> None:
        precedence = Precedence(self.transport, self.block("precedence"))
        precedence.add_tensors()
        for rule, lag in self.rules.of(TimeLag):
            precedence.add_lag(self.block(rule), lag)
        for rule, order in self.rules.of(Order):
            precedence.add_order(self.block(rule), order)
        if self.problem.cluster.fifo:
            precedence.add_fifo(self.block("fifo"))
        precedence.add_makespan(self.makespan)

    def _add_objective(self) -> None:
        expression, sense = self.makespan, pyo.minimize
        for objective in self.rules.objectives:
            found = objective.expression(self)
            if found is not None:
                expression, sense = found, pyo.maximize if objective.maximize else pyo.minimize
                break
        self.pyomo.objective = pyo.Objective(expr=expression, sense=sense)

    # -- results -------------------------------------------------------------------------------

    def warm_start(self, schedule: Schedule) -> dict[str, float]:
        """Return values of the variables, by name, that say a schedule; rounded up if need be."""
        from parplan.model.extraction import warm_start

        return warm_start(self, schedule)

    def extract(self, values: Mapping[str, float]) -> Schedule:
        """Return the schedule of a solver's answer (``Answer.values``), in ticks of the problem."""
        from parplan.model.extraction import extract

        return extract(self, values)
