"""What is told of a plan: its critical path, what the path consists of, and what bounds it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from parplan.explaining.critical_path import Step, critical_path
from parplan.explaining.shares import Share, kinds, shares
from parplan.plans import Plan
from parplan.rules import Rules

if TYPE_CHECKING:
    from parplan.explaining.what_if import WhatIf


@frozen(eq=False)
class Explanation:
    """A plan with a critical path.

    Attributes
    ----------
    unit
        Of the plan's first objective.
    steps
        The critical path, first to last; its length is the makespan.
    what_ifs
        What changes of the problem would give, as far as asked for.
    """

    plan: Plan
    unit: str
    steps: tuple[Step, ...]
    what_ifs: tuple[WhatIf, ...] = ()

    @cached_property
    def shares(self) -> tuple[Share, ...]:
        """What the path consists of, by device, link and memory."""
        return shares(self.steps)

    @cached_property
    def kinds(self) -> tuple[Share, ...]:
        """What the path consists of, by kind of work."""
        return kinds(self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, times in seconds."""
        plan, tick_s = self.plan, self.plan.problem.tick_s
        return {
            "objective": plan.value,
            "unit": self.unit,
            "bound": None if plan.bound is None else plan.bound.value,
            "bound_source": None if plan.bound is None else plan.bound.source,
            "gap": plan.gap,
            "makespan": plan.schedule.makespan * tick_s,
            "critical_path": [self._step(step) for step in self.steps],
            "shares": [self._share(share) for share in self.shares],
            "kinds": {share.what: share.part for share in self.kinds},
            "what_if": [attrs.asdict(answer) for answer in self.what_ifs],
        }

    def _step(self, step: Step) -> dict[str, Any]:
        tick_s = self.plan.problem.tick_s
        return {
            "name": step.name,
            "place": step.place,
            "kind": step.kind,
            "start": step.start * tick_s,
            "seconds": step.ticks * tick_s,
            "waits_for": {"reason": step.cause.reason.value, "what": step.cause.what},
            "ties": [{"reason": c.reason.value, "what": c.what} for c in step.ties],
        }

    def _share(self, share: Share) -> dict[str, Any]:
        seconds = share.ticks * self.plan.problem.tick_s
        named = {"use": str(share.use), "what": share.what}
        return {**named, "seconds": seconds, "part": share.part, "steps": share.steps}


def explain_plan(plan: Plan, rules: Rules) -> Explanation:
    """Return what a plan's makespan consists of.

    Raises
    ------
    InputError
        If the plan breaks its rules.
    """
    unit = rules.objectives[0].unit
    return Explanation(plan, unit, critical_path(plan.schedule, rules))
