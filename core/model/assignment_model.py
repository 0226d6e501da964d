"""Upper level: which alternative runs each operator, with a lower bound on timing inside.

It is a relaxation: every assignment of a feasible plan satisfies it, and its makespan is at most
that of any plan with this assignment. The rows are

- load: ``sum of amount x ticks x <= capacity x makespan`` of each declared resource, for tasks,
  collectives and transfers;
- space: parameters that stay on a device, and each task's own demand beside them, fit;
- path: ``end[o] >= end[p] + ticks x + arrival (on[o, d] - on[p, d])`` along tensors and orders,
  for one microbatch of each placement group.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyomo.environ as pyo

from parplan.declarations import (
    Edge,
    Moving,
    Order,
    Receiving,
    ResidentParameters,
    Resource,
    Running,
    Sending,
    TimeLag,
)
from parplan.model.amounts import whole_amounts
from parplan.model.blocks import RuleBlock
from parplan.model.choices import Assignment, Key, total
from parplan.model.clock import Clock
from parplan.model.demands import Demands, Use
from parplan.model.extraction import reader
from parplan.model.lifetimes import Lifetimes
from parplan.model.rule_model import RuleModel
from parplan.model.tasks import durations, make_shadows
from parplan.model.transfers import Untimed
from parplan.rules import Rules
from parplan.ticks import ticks_up

TIMED = (Running, Moving, Sending, Receiving)


class AssignmentModel(RuleModel):
    """Which alternative runs each operator: binaries, and a makespan that no plan undercuts.

    Parameters
    ----------
    horizon
        Latest end in ticks, e.g. an incumbent's makespan.

    Attributes
    ----------
    makespan
        Variable, in ticks of the problem.

    Raises
    ------
    InfeasibleError
        If the rules leave no alternative, or alternatives that cannot go together.
    """

    def __init__(self, rules: Rules, horizon: int | None = None) -> None:
        super().__init__(rules)
        self.clock = Clock()
        bounds = self.block("bounds")
        tasks = make_shadows(self.choices, self.clock)
        self.transport = Untimed(self.choices, self.clock, bounds, tasks, 0)
        self.horizon = horizon or self._longest_horizon(self.clock, self.transport)
        self.transport.horizon = self.horizon
        self.pyomo.makespan = pyo.Var(domain=pyo.Integers, bounds=(0, self.horizon))
        self.makespan = self.pyomo.makespan
        self._couple_modes(self.transport)
        lifetimes = Lifetimes(self.transport, bounds, self.makespan)
        demands = Demands(self.transport, lifetimes, bounds)
        for rule, resource in rules.resources:
            self._add_load(self.block(rule), resource, demands)
            self._add_space(self.block(rule), resource, demands)
        self._add_paths(bounds)
        for constraint in rules.constraints:
            self._run_hook(constraint, "constrain_assignment")
        self._set_objective("assignment_expression", self.makespan)

    # -- results -------------------------------------------------------------------------------

    def extract(self, values: Mapping[str, float]) -> dict[Key, int]:
        """Return the assignment of a solver's answer, for ``ScheduleModel``."""
        value = reader(values)
        return {key: self.choices.chosen(key, value) for key in self.choices.rows}

    def cut(self, assignment: Assignment, least_makespan: int) -> None:
        """Say that this assignment takes at least ``least_makespan`` ticks; others are left free.

        ``makespan >= L - L x (number of keys that are assigned otherwise)``.
        """
        others: list[Any] = []
        for key, row in assignment.items():
            literal = self.choices.literal(*key, row)
            if literal is not None:
                others.append(1 - literal)
        free = least_makespan * total(others)
        self.block("cuts").row(self.makespan >= least_makespan - free)

    # -- rows ----------------------------------------------------------------------------------

    def _add_load(self, block: RuleBlock, resource: Resource, demands: Demands) -> None:
        uses = [
            use
            for demand in resource.demands
            if isinstance(demand, TIMED)
            for use in demands.uses(demand)
        ]
        if not uses:
            return
        heights, capacity = whole_amounts(
            [use.height for use in uses], resource.capacity, relaxed=True
        )
        loads: dict[int, tuple[Any, int]] = {}
        fixed = 0
        for use, height in zip(uses, heights, strict=True):
            interval = use.make()
            assert interval.size is not None  # of each alternative and option it is known
            literal, energy = interval.presence, height * interval.size
            if literal is None:
                fixed += energy
            else:
                before = loads.get(id(literal), (literal, 0))[1]
                loads[id(literal)] = (literal, before + energy)
        work = total(amount * literal for literal, amount in loads.values() if amount)
        if fixed or loads:
            self._state(block, work + fixed <= capacity * self.makespan)

    def _add_space(self, block: RuleBlock, resource: Resource, demands: Demands) -> None:
        """State that parameters fit, and each task beside them."""
        staying = [
            use
            for demand in resource.demands
            if isinstance(demand, ResidentParameters)
            for use in demands.uses(demand)
        ]
        if not staying:
            return
        running = {
            (use.owner[1], self._group(use.owner[2]), use.way): use
            for demand in resource.demands
            if isinstance(demand, Running)
            for use in demands.uses(demand)
        }
        uses = [*staying, *running.values()]
        heights, capacity = whole_amounts(
            [use.height for use in uses], resource.capacity, relaxed=True
        )
        parts = [self._part(use, h) for use, h in zip(uses, heights, strict=True)]
        base = total(parts[: len(staying)])
        self._state(block, base <= capacity)
        for part in parts[len(staying) :]:
            self._state(block, base + part <= capacity)

    def _group(self, microbatch: Any) -> int:
        return self.problem.workload.group(microbatch)

    def _part(self, use: Use, height: int) -> Any:
        literal = use.make().presence
        return height if literal is None else height * literal

    def _state(self, block: RuleBlock, row: Any) -> None:
        """Add a row; one that is settled and false makes the model infeasible."""
        if isinstance(row, bool):
            row = self.makespan >= 0 if row else self.makespan <= -1
        block.row(row)

    # -- paths ---------------------------------------------------------------------------------

    def _add_paths(self, block: RuleBlock) -> None:
        ends: dict[Key, Any] = {}
        graph = self.problem.graph
        for o in graph.topological_order:
            for h in self.choices.groups(o):
                end = block.time(f"end {graph.operators[o].name},{h}", 0, self.horizon)
                ends[o, h] = end
                release = self.problem.release(self._member(o, h))
                block.row(end >= release + self._length((o, h)))
                block.row(self.makespan >= end)
        for tensor, producer in enumerate(graph.producers):
            for group in self.choices.groups(producer):
                for key in self.transport.readers(tensor, group):
                    if self.choices.always_reads(key, tensor):
                        self._add_path(block, ends, (producer, group), key, tensor)
        for before, after, seconds in self._declared_orders():
            for one, two in self._same_group(before, after):
                ticks = ticks_up(seconds, self.problem.tick_s)
                block.row(ends[two] >= ends[one] + self._length(two) + ticks)

    def _add_path(
        self, block: RuleBlock, ends: Mapping[Key, Any], writer: Key, key: Key, tensor: int
    ) -> None:
        base = ends[writer] + self._length(key)
        block.row(ends[key] >= base)
        for target in self.transport.targets(tensor, self._member(*writer)):
            options = self.transport.possible[tensor, self._member(*writer), target].options
            least = min(option.timing.arrival for option in options)
            there = self.choices.sum_of(key, self.choices.on_device(key, target))
            here = self.choices.sum_of(writer, self.choices.on_device(writer, target))
            if least and not (isinstance(there, int) and there == 0):
                block.row(ends[key] >= base + least * (there - here))

    def _declared_orders(self) -> list[tuple[str, str, float]]:
        """Return (before, after, seconds) of all orders and lags from an end to a start."""
        found = [
            (one, two, 0.0)
            for _, order in self.rules.of(Order)
            for one, two in zip(order.operators, order.operators[1:], strict=False)
        ]
        for _, lag in self.rules.of(TimeLag):
            if (lag.before_edge, lag.after_edge, lag.offset) == (Edge.END, Edge.START, 0):
                found.append((lag.before, lag.after, lag.seconds))
        return found

    def _same_group(self, before: str, after: str) -> list[tuple[Key, Key]]:
        index = self.problem.graph.operator_index
        one, two = index[before], index[after]
        ones, twos = self.choices.groups(one), self.choices.groups(two)
        if len(ones) == len(twos):
            return [((one, h), (two, h)) for h in ones]
        return [((one, h), (two, k)) for h in ones for k in twos]

    def _member(self, o: int, h: int) -> int:
        """Return one microbatch of a placement group."""
        runs = self.problem.microbatches_of(o)
        return next(m for m in runs if self.problem.workload.group(m) == h)

    def _length(self, key: Key) -> Any:
        """Return the ticks of one task as an expression in the literals of its alternatives."""
        ticks = durations(self.choices, self.clock, (key[0], self._member(*key)))
        if len(set(ticks.values())) == 1:
            return next(iter(ticks.values()))
        return total(p * self.choices.literal(*key, a) for a, p in ticks.items() if p)
