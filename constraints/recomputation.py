"""Which blocks compute their saved tensors again in the backward pass, and how much of that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen

from parplan.contracts import Constraint, Violation
from parplan.declarations import Declaration, Forbidden, Together
from parplan.errors import InfeasibleError, InputError
from parplan.graph import Kind
from parplan.patterns import all_matching, matching_devices
from parplan.problem import Alternative, Problem
from parplan.recomputing import (
    KEEP,
    RECOMPUTE,
    can_recompute,
    is_variant,
    kept_mode,
    recomputing_blocks,
)
from parplan.schedule import Schedule
from parplan.ticks import ticks_down

if TYPE_CHECKING:
    from parplan.model.schedule_model import ScheduleModel


@frozen
class Recomputation(Constraint):
    """The operators of a block (of one module) decide together, by the name of their mode.

    The modes come from the strategy ``recompute``.

    Attributes
    ----------
    must, never
        Names or patterns of blocks that have to compute their saved tensors again, or must not.
    uniform
        Lists of names or patterns of blocks that all decide alike.
    """

    name: ClassVar[str] = "recomputation"

    must: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    uniform: tuple[tuple[str, ...], ...] = ()

    def declare(self, problem: Problem) -> Iterable[Declaration]:
        """Yield what couples the modes of each block, and the modes that are ruled out."""
        blocks = recomputing_blocks(problem.graph)
        if not blocks:
            raise InputError(
                "no operator can recompute; add the strategy 'recompute' to strategies",
                key=f"constraints.{self.name}",
            )
        alike = [tuple(members) for members in blocks.values()]
        for position, patterns in enumerate(self.uniform):
            alike.append(self._members(problem, patterns, f"uniform[{position}]"))
        for members in alike:
            if len(members) > 1:
                yield Together(members, "mode")
        for what, patterns, banned in (
            ("must", self.must, KEEP),
            ("never", self.never, RECOMPUTE),
        ):
            for name in self._members(problem, patterns, what) if patterns else ():
                operator = problem.graph.operators[problem.graph.operator_index[name]]
                for mode in operator.modes:
                    if is_variant(mode, banned):
                        yield Forbidden(name, mode=mode.name)

    def _members(self, problem: Problem, patterns: tuple[str, ...], what: str) -> tuple[str, ...]:
        """Return the operators with a choice among those that patterns mean."""
        key = f"constraints.{self.name}.{what}"
        graph = problem.graph
        found = all_matching(patterns, graph.operators, key=key)
        members = tuple(
            name for name in found if can_recompute(graph.operators[graph.operator_index[name]])
        )
        if not members:
            raise InputError(f"nothing that {', '.join(patterns)} mean can recompute", key=key)
        return members


@frozen
class RecomputationBudget(Constraint):
    """A cap on what each device computes again.

    A sum over a whole schedule is no level at an instant, so this cannot be declared: it has
    Pyomo rows and a check of its own.

    Attributes
    ----------
    seconds
        Device (or pattern) to the most seconds that its tasks in recomputing modes may take beyond
        the same tasks in the keeping mode.
    operators
        Device (or pattern) to the most forward operators there whose saved tensors are computed
        again; once per placement group.
    """

    name: ClassVar[str] = "recomputation-budget"

    seconds: Mapping[str, float] = field(factory=dict)
    operators: Mapping[str, int] = field(factory=dict)

    def constrain(self, model: ScheduleModel) -> None:
        """Bound, per device, the sum of ``cost x literal`` over all tasks and alternatives."""
        problem, block = model.problem, model.block(self.name)
        for device, what, cap in self._caps(problem):
            always, total = 0, []
            for task in model.tasks.values():
                for row, literal in task.presence.items():
                    chosen = problem.alternatives[task.operator][row]
                    cost = _cost(problem, task.operator, chosen, task.microbatch, what, device)
                    if literal is None:
                        always += cost
                    elif cost:
                        total.append(cost * literal)
            if total:
                block.row(sum(total) <= cap - always)
            elif always > cap:
                name = problem.cluster.devices[device].name
                raise InfeasibleError(
                    f"device '{name}' recomputes more than its budget in every plan",
                    conflict=(self.name,),
                    repair=f"raise {what}.{name} of '{self.name}'",
                )

    def violations(self, schedule: Schedule) -> Iterator[Violation]:
        """Yield each device whose budget is exceeded."""
        problem, t = schedule.problem, schedule.tasks
        tasks = list(zip(t.operator.tolist(), t.microbatch.tolist(), strict=True))
        for device, what, cap in self._caps(problem):
            used = sum(
                _cost(problem, operator, schedule.alternative(row), microbatch, what, device)
                for row, (operator, microbatch) in enumerate(tasks)
            )
            if used > cap:
                name = problem.cluster.devices[device].name
                size = problem.tick_s if what == "seconds" else 1.0
                text = f"recomputes {used * size:.9g} {what}, {(used - cap) * size:.9g} too much"
                yield Violation(self.name, name, f"{name} {text}", (used - cap) * size)

    def _caps(self, problem: Problem) -> Iterator[tuple[int, str, int]]:
        """Yield (device index, what, cap in ticks or operators)."""
        options: tuple[tuple[str, Mapping[str, float]], ...] = (
            ("seconds", self.seconds),
            ("operators", self.operators),
        )
        for what, caps in options:
            for pattern, cap in caps.items():
                key = f"constraints.{self.name}.{what}"
                ticks = ticks_down(cap, problem.tick_s) if what == "seconds" else int(cap)
                for name in matching_devices(pattern, problem.cluster, key=key):
                    yield problem.cluster.device_index[name], what, ticks


def _cost(
    problem: Problem, operator: int, chosen: Alternative, microbatch: int, what: str, device: int
) -> int:
    """Return what an alternative takes of a device's budget: extra ticks, or 1."""
    spec = problem.graph.operators[operator]
    mode = spec.modes[chosen.mode]
    if device not in chosen.devices or not is_variant(mode, RECOMPUTE):
        return 0
    if what == "operators":
        groups = problem.workload.groups
        first = groups.index(groups[microbatch]) if groups and microbatch >= 0 else 0
        return int(spec.kind is Kind.FORWARD and microbatch <= first)
    kept = kept_mode(spec, mode)
    if kept is None:
        return 0
    here = problem.ticks(operator, chosen, microbatch)
    return max(0, here - problem.ticks(operator, Alternative(kept, chosen.devices), microbatch))
