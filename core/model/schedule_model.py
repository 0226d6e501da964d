"""The Pyomo model of a problem's timing, with or without placement."""

from __future__ import annotations

from collections.abc import Mapping

import pyomo.environ as pyo
from attrs import field, frozen

from parplan.declarations import Order, TimeLag
from parplan.errors import InputError
from parplan.model.assignment_model import AssignmentModel as AssignmentModel
from parplan.model.choices import Given
from parplan.model.clock import Clock, Rounding
from parplan.model.cp_bridge import bridge
from parplan.model.demands import Demands
from parplan.model.guards import check_guards
from parplan.model.lifetimes import Lifetimes
from parplan.model.precedence import Precedence
from parplan.model.resources import add_resource
from parplan.model.rule_model import RuleModel
from parplan.model.tasks import Task, make_tasks
from parplan.model.transfers import Transfer, Transport
from parplan.problem import STEP
from parplan.rules import Rules
from parplan.schedule import Schedule
from parplan.system.collector import collector_paused


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


class ScheduleModel(RuleModel):
    """When everything happens, and where the assignment leaves it open, in which alternative.

    Every part of the model has a Block of its own: ``placement``, ``modes`` (what couples them),
    ``schedule`` (times, transfers, lifetimes), ``precedence``, and one per constraint, by its name.

    Parameters
    ----------
    assignment
        Alternatives that are given, all or some; no variable is made for these. Several for one
        operator are those among which to choose.

    Attributes
    ----------
    pyomo
        The ConcreteModel for a solver; its objective is the first that has an expression, else
        the makespan.
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
    PluginError
        If a plugin's row binds the times of what may be absent (``parplan.model.guards``).
    """

    def __init__(
        self,
        rules: Rules,
        options: ModelOptions | None = None,
        assignment: Given | None = None,
    ) -> None:
        super().__init__(rules, assignment)
        self.options = options or ModelOptions()
        with collector_paused():
            self._build()

    def _build(self) -> None:
        self.clock = Clock(self.options.tick, self.options.rounding)
        self.tick_s = self.problem.tick_s * self.options.tick
        self.horizon = self._horizon()
        times = self.block("schedule")
        self.tasks = make_tasks(self.choices, self.clock, times, self.horizon)
        self.transport = Transport(self.choices, self.clock, times, self.tasks, self.horizon)
        self.pyomo.makespan = pyo.Var(domain=pyo.Integers, bounds=(0, self.horizon))
        self.makespan = self.pyomo.makespan
        self._couple_modes(self.transport)
        self._add_resources()
        self._add_precedence()
        self._add_escape_hatches()
        self._set_objective("expression", self.makespan)

    # -- handles -------------------------------------------------------------------------------

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

    # -- building ------------------------------------------------------------------------------

    def _horizon(self) -> int:
        if self.options.horizon is not None:
            return self.clock.ticks(self.options.horizon)
        transport = Transport(self.choices, self.clock, self.block("schedule"), {}, 0)
        return self._longest_horizon(self.clock, transport)

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

    def _add_escape_hatches(self) -> None:
        """Let constraints add code of their own; whatever that raises names them."""
        for constraint in self.rules.escape_hatches:
            self._run_hook(constraint, "constrain")
            bridge(self.block(constraint.name), self.horizon)
        hatches = {constraint.name for constraint in self.rules.escape_hatches}
        check_guards(self.pyomo, hatches, certain=[t.interval for t in self.tasks.values()])

    # -- results -------------------------------------------------------------------------------

    def warm_start(self, schedule: Schedule) -> dict[str, float]:
        """Return values of the variables, by name, that say a schedule; rounded up if need be."""
        from parplan.model.extraction import warm_start

        return warm_start(self, schedule)

    def extract(self, values: Mapping[str, float]) -> Schedule:
        """Return the schedule of a solver's answer (``Answer.values``), in ticks of the problem."""
        from parplan.model.extraction import extract

        return extract(self, values)
