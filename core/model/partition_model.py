"""Which alternative runs each operator, for loads alone: no times, no order.

It is a relaxation: every plan satisfies it, and its loads are those of the plan. Of the rules it
knows where operators may be, what goes together, apart or between cuts, and what parameters take.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import pyomo.environ as pyo

from parplan.declarations import ResidentParameters, Resource
from parplan.model.amounts import whole_amounts
from parplan.model.blocks import RuleBlock
from parplan.model.choices import Key, total
from parplan.model.clock import Clock
from parplan.model.extraction import reader
from parplan.model.loads import busiest_load
from parplan.model.rule_model import RuleModel
from parplan.model.tasks import make_shadows
from parplan.model.transfers import Untimed
from parplan.rules import Rules
from parplan.schedule import Schedule
from parplan.steady_state import Loading


class PartitionModel(RuleModel):
    """Binaries for alternatives and moved tensors, and the load of the busiest engine or link.

    Parameters
    ----------
    clock
        The model's ticks; coarser ones must round down, so that the model stays a relaxation.

    Attributes
    ----------
    busiest
        Variable: what the busiest place does in a step, in parts of a model tick (``load_unit``).

    Raises
    ------
    InfeasibleError
        If the rules leave no alternative, or alternatives that cannot go together.
    """

    def __init__(self, rules: Rules, loading: Loading, clock: Clock | None = None) -> None:
        super().__init__(rules)
        self.clock = clock or Clock()
        bounds = self.block("bounds")
        tasks = make_shadows(self.choices, self.clock)
        self.transport = Untimed(self.choices, self.clock, bounds, tasks, 0)
        self._couple_modes(self.transport)
        for rule, resource in rules.resources:
            self._add_parameters(self.block(rule), resource)
        self.busiest = busiest_load(bounds, self, loading)
        self.pyomo.objective = pyo.Objective(expr=self.busiest)

    def limit(self, load: int) -> None:
        """Ask for loads of at most so much."""
        self.busiest.setub(min(load, self.busiest.ub))

    def extract(self, values: Mapping[str, float]) -> dict[Key, int]:
        """Return the assignment of a solver's answer."""
        value = reader(values)
        return {key: self.choices.chosen(key, value) for key in self.choices.rows}

    def warm_start(self, schedule: Schedule) -> dict[str, float]:
        """Return values by name that say a schedule's alternatives and what follows from them."""
        tasks = schedule.tasks
        chosen: dict[Key, int] = {}
        for o, m, a in zip(
            tasks.operator.tolist(),
            tasks.microbatch.tolist(),
            tasks.alternative.tolist(),
            strict=True,
        ):
            group = self.problem.workload.group(m) if len(self.choices.groups(o)) > 1 else 0
            chosen.setdefault((o, group), a)
        values = {
            literal.name: float(row == chosen[key])
            for key, rows in self.choices.rows.items()
            for row in rows
            if (literal := self.choices.literal(*key, row)) is not None
        }
        value = reader(values)
        for variable, define in self.definitions:
            # What a choice between several sources decides is left to the solver.
            with contextlib.suppress(KeyError):
                values[variable.name] = define(value)
        return values

    def _add_parameters(self, block: RuleBlock, resource: Resource) -> None:
        """State that parameters fit where their first reader is: others' copies are left out."""
        index = self.problem.cluster.device_index
        held: list[tuple[float, Any]] = []
        for demand in resource.demands:
            if isinstance(demand, ResidentParameters):
                held += self._parameters(demand, index[demand.device])
        amounts = [amount for amount, _ in held]
        if sum(amounts) > resource.capacity:
            heights, capacity = whole_amounts(amounts, resource.capacity, relaxed=True)
            parts = zip(heights, (here for _, here in held), strict=True)
            row = total(height * here for height, here in parts) <= capacity
            if not isinstance(row, bool):  # what is settled, `refute` has counted
                block.row(row)

    def _parameters(self, demand: ResidentParameters, device: int) -> list[tuple[float, Any]]:
        """Return the bytes of parameters that come with each operator, and whether it is here."""
        graph = self.problem.graph
        placed: set[str] = set()
        found: list[tuple[float, Any]] = []
        for o, operator in enumerate(graph.operators):
            for row in self.choices.on_device((o, 0), device):
                kept = graph.parameter_bytes(o, self.choices.alternative(o, row).mode)
                size = sum(
                    bytes_
                    for g, bytes_ in kept.items()
                    if graph.parameters[g].name not in placed
                    and (demand.groups is None or graph.parameters[g].name in demand.groups)
                )
                if size:
                    found.append((demand.amount * size, self.choices.sum_of((o, 0), [row])))
            placed.update(operator.parameters)
        return found
