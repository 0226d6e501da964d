"""Upper level: which alternative runs each operator, with a lower bound on timing inside.

It is a relaxation: every assignment of a feasible plan satisfies it, and its makespan is at most
that of any plan with this assignment. The rows are

- load: ``sum of amount x ticks x <= capacity x makespan`` of each declared resource, for tasks,
  collectives and transfers (one per tensor and device, however many read it there);
- stretches: what cannot start before ``r`` and is followed by ``q`` ticks lies between the two, so
  ``sum of its amount x ticks x <= capacity x (makespan - r - q)``, for the r and q with r + q no
  more than what is proven of every plan (else the row would bind where nothing of it is chosen);
- space: parameters that stay on a device fit with the outputs of the graph that are made there,
  and with what each task there reads, writes and uses while it runs;
- path: ``end[o] >= end[p] + ticks x + arrival (on[o, d] - on[p, d])`` along tensors and orders,
  for one microbatch of each placement group;
- symmetry: of devices that can be exchanged, those with a lower number are used first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pyomo.environ as pyo
from attrs import frozen

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
from parplan.model.space import Space
from parplan.model.surroundings import Surroundings
from parplan.model.symmetry import exchangeable_devices
from parplan.model.tasks import durations, make_shadows
from parplan.model.transfers import Untimed
from parplan.rules import Rules
from parplan.ticks import ticks_up

TIMED = (Running, Moving, Sending, Receiving)

THRESHOLDS = 8
"""Values of r, and of q, for which stretches are stated."""

MOST_SPACE_TERMS = 20_000
"""Most terms in rows of what fits beside a task, for each resource; the largest tasks have them."""

MOST_SYMMETRY_TERMS = 200_000
"""Most terms in rows against symmetry; later operators have none beyond it."""


class AssignmentModel(RuleModel):
    """Which alternative runs each operator: binaries, and a makespan that no plan undercuts.

    Parameters
    ----------
    horizon
        Latest end in ticks, e.g. an incumbent's makespan.
    surroundings
        What is certain of every plan; None leaves stretches out.
    clock
        The model's ticks; coarser ones must round down.
    break_symmetry
        Whether devices that can be exchanged are used in order. Then an assignment that is cut off
        stands for those with such devices exchanged, so only where the objective is the makespan.

    Attributes
    ----------
    makespan
        Variable, in model ticks.

    Raises
    ------
    InfeasibleError
        If the rules leave no alternative, or alternatives that cannot go together.
    """

    def __init__(
        self,
        rules: Rules,
        horizon: int | None = None,
        surroundings: Surroundings | None = None,
        clock: Clock | None = None,
        *,
        break_symmetry: bool = False,
    ) -> None:
        super().__init__(rules)
        self.clock = clock or Clock()
        self.surroundings = surroundings
        bounds = self.block("bounds")
        tasks = make_shadows(self.choices, self.clock)
        self.transport = Untimed(self.choices, self.clock, bounds, tasks, 0)
        self.horizon = (
            self._longest_horizon(self.clock, self.transport)
            if horizon is None
            else self.clock.ticks(horizon)
        )
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
        if break_symmetry:
            for devices in exchangeable_devices(rules):
                self._use_in_order(self.block("symmetry"), devices)
        for constraint in rules.constraints:
            self._run_hook(constraint, "constrain_assignment")
        self._set_objective("assignment_expression", self.makespan)

    # -- results -------------------------------------------------------------------------------

    def extract(self, values: Mapping[str, float]) -> dict[Key, int]:
        """Return the assignment of a solver's answer, for ``ScheduleModel``."""
        value = reader(values)
        return {key: self.choices.chosen(key, value) for key in self.choices.rows}

    def require(self, assignment: Assignment, least_makespan: int, anyway: int = 0) -> None:
        """Say that what assigns like ``assignment`` takes at least ``least_makespan`` ticks.

        ``makespan >= L - (L - A) x (number of its keys that are assigned otherwise)``: where one
        is, the row says no more than A.

        Parameters
        ----------
        assignment
            Of all keys, or only of those that the proof of ``least_makespan`` rests on.
        anyway
            A, in ticks: what no plan undercuts.
        """
        least, floor = (ticks // self.clock.factor for ticks in (least_makespan, anyway))
        if least > floor:
            others = self._others(assignment)
            self.block("cuts").row(self.makespan >= least - (least - floor) * others)

    def exclude(self, assignment: Assignment) -> None:
        """Say that something must be assigned otherwise than in ``assignment``, in all or parts."""
        self._state(self.block("cuts"), self._others(assignment) >= 1)

    def _others(self, assignment: Assignment) -> Any:
        """Return how many keys are assigned otherwise."""
        literals = [self.choices.literal(*key, row) for key, row in assignment.items()]
        return total(1 - literal for literal in literals if literal is not None)

    def limit(self, makespan: int) -> None:
        """Ask for makespans of at most so many ticks."""
        self.pyomo.makespan.setub(min(self.horizon, makespan // self.clock.factor))

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
        entries = []
        for use, height in zip(uses, heights, strict=True):
            interval = use.make()
            assert interval.size is not None  # of each alternative and option it is known
            entries.append(_Entry(interval.presence, height * interval.size, *self._around(use)))
        self._state(block, _work(entries) <= capacity * self.makespan)
        for before, after in self._stretches(entries):
            inside = [e for e in entries if e.before >= before and e.after >= after]
            self._state(block, _work(inside) <= capacity * (self.makespan - before - after))

    def _around(self, use: Use) -> tuple[int, int]:
        """Return model ticks that surely pass before and after a use."""
        if self.surroundings is None:
            return 0, 0
        around, graph = self.surroundings.around, self.problem.graph
        way: Any = use.way
        kind, *of = use.owner
        owner: list[Any] = of  # whole numbers, of a task or of a transfer
        if kind == "task":
            before, after = around(owner[0], owner[1], way)
        else:
            tensor, microbatch, target = owner
            producer = graph.producers[tensor]
            group = self.problem.workload.group(microbatch)
            home = self.choices.rows[producer, group]
            before = min(
                around(producer, microbatch, a)[0]
                + self.problem.ticks(producer, self.choices.alternative(producer, a), microbatch)
                for a in home
            )
            after = min(
                around(reader, run, a)[1]
                + self.problem.ticks(reader, self.choices.alternative(reader, a), run)
                for reader in graph.consumers[tensor]
                for run in self.problem.reading_tasks(reader, microbatch)
                for a in self.transport.reading_rows(
                    (reader, self.problem.workload.group(run)), tensor, target
                )
            )
        return before // self.clock.factor, after // self.clock.factor

    def _stretches(self, entries: Sequence[_Entry]) -> list[tuple[int, int]]:
        """Return the (r, q) that are stated, apart from (0, 0)."""
        if self.surroundings is None:
            return []
        befores, afters = (
            _few(sorted({pair[side] for pair in ((e.before, e.after) for e in entries)}))
            for side in (0, 1)
        )
        least = self.surroundings.least // self.clock.factor
        return [(r, q) for r in befores for q in afters if 0 < r + q <= least]

    def _add_space(self, block: RuleBlock, resource: Resource, demands: Demands) -> None:
        """State that parameters and outputs fit, and each task with its tensors beside them."""
        staying = [
            use
            for demand in resource.demands
            if isinstance(demand, ResidentParameters)
            for use in demands.uses(demand)
        ]
        space = Space(self.choices, demands)
        at_end, beside = space.at_end(resource), space.beside(resource)
        running = [(key, a, amount) for key, own in beside.items() for a, amount in own.items()]
        heights, capacity = whole_amounts(
            [*(use.height for use in staying), *at_end.values(), *(n for _, _, n in running)],
            resource.capacity,
            relaxed=True,
        )
        stay, last = len(staying), len(staying) + len(at_end)
        base = total(self._part(use, h) for use, h in zip(staying, heights[:stay], strict=True))
        outputs = total(
            self._chosen(key, a, h) for (key, a), h in zip(at_end, heights[stay:last], strict=True)
        )
        if sum(heights[:last]) > capacity:
            self._state(block, base + outputs <= capacity)
        rows: dict[Key, list[tuple[int, int]]] = {}
        for (key, a, _), h in zip(running, heights[last:], strict=True):
            rows.setdefault(key, []).append((a, h))
        room = capacity - sum(heights[:stay])
        tight = [(key, own) for key, own in rows.items() if max(h for _, h in own) > room]
        tight.sort(key=lambda row: -max(h for _, h in row[1]))
        for key, own in tight[: MOST_SPACE_TERMS // (stay + 1)]:
            task = total(self._chosen(key, a, h) for a, h in own)
            self._state(block, base + task <= capacity)

    def _chosen(self, key: Key, a: int, height: int) -> Any:
        literal = self.choices.literal(*key, a)
        return height if literal is None else height * literal

    def _part(self, use: Use, height: int) -> Any:
        literal = use.make().presence
        return height if literal is None else height * literal

    def _state(self, block: RuleBlock, row: Any) -> None:
        """Add a row; one that is settled and false makes the model infeasible."""
        if isinstance(row, bool):
            row = self.makespan >= 0 if row else self.makespan <= -1
        block.row(row)

    def _use_in_order(self, block: RuleBlock, devices: Sequence[int]) -> None:
        """Let the first key on a device come no earlier than the first on the device before it.

        ``x[k, d'] <= sum of x[k', d] over k' up to k``: devices that can be exchanged can be sorted
        by the first key that uses them, and those without any come last.
        """
        keys = [
            (o, h) for o in self.problem.graph.topological_order for h in self.choices.groups(o)
        ]
        most = int((2 * MOST_SYMMETRY_TERMS / max(len(devices) - 1, 1)) ** 0.5)
        for one, other in pairwise(devices):
            so_far: list[Any] = []
            for key in keys[:most]:
                so_far.append(self.choices.sum_of(key, self.choices.on_device(key, one)))
                here = self.choices.sum_of(key, self.choices.on_device(key, other))
                if not isinstance(here, int):
                    block.row(here <= total(so_far))

    # -- paths ---------------------------------------------------------------------------------

    def _add_paths(self, block: RuleBlock) -> None:
        ends: dict[Key, Any] = {}
        graph = self.problem.graph
        for o in graph.topological_order:
            for h in self.choices.groups(o):
                end = block.time(f"end {graph.operators[o].name},{h}", 0, self.horizon)
                ends[o, h] = end
                release = self.clock.ticks(self.problem.release(self._member(o, h)))
                block.row(end >= release + self._length((o, h)))
                block.row(self.makespan >= end)
        for tensor, producer in enumerate(graph.producers):
            for group in self.choices.groups(producer):
                for key in self.transport.readers(tensor, group):
                    if self.choices.always_reads(key, tensor):
                        self._add_path(block, ends, (producer, group), key, tensor)
        for before, after, seconds in self._declared_orders():
            for one, two in self._same_group(before, after):
                ticks = self.clock.ticks(ticks_up(seconds, self.problem.tick_s))
                block.row(ends[two] >= ends[one] + self._length(two) + ticks)

    def _add_path(
        self, block: RuleBlock, ends: Mapping[Key, Any], writer: Key, key: Key, tensor: int
    ) -> None:
        base = ends[writer] + self._length(key)
        block.row(ends[key] >= base)
        for target in self.transport.targets(tensor, self._member(*writer)):
            options = self.transport.possible[tensor, self._member(*writer), target].options
            least = min(self.clock.ticks(option.timing.arrival) for option in options)
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


@frozen
class _Entry:
    """What one use adds to a load if its literal is 1, with the ticks surely before and after."""

    literal: Any
    work: int
    before: int
    after: int


def _work(entries: Sequence[_Entry]) -> Any:
    """Return the sum of all work as an expression."""
    by_literal: dict[int, tuple[Any, int]] = {}
    for entry in entries:
        before = by_literal.get(id(entry.literal), (None, 0))[1]
        by_literal[id(entry.literal)] = (entry.literal, before + entry.work)
    return total(
        work if literal is None else work * literal for literal, work in by_literal.values() if work
    )


def _few(values: Sequence[int]) -> list[int]:
    """Return the first, the last and some values between."""
    step = max((len(values) - 1) / (THRESHOLDS - 1), 1e-9)
    return sorted(
        {values[round(i * step)] for i in range(THRESHOLDS) if i * step <= len(values) - 1}
    )
