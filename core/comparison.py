"""The plan found beside every hand-made schedule, each checked, or with the reason why not."""

from __future__ import annotations

from attrs import frozen

from parplan.errors import InputError
from parplan.plans import Plan
from parplan.problem import Problem


@frozen(eq=False)
class Entry:
    """One schedule of a comparison.

    Attributes
    ----------
    name
        ``"plan"`` for what the search found, else that of a hand-made schedule.
    split
        How the model was cut into stages: ``"uniform"``, ``"best"``; empty where the search chose.
    plan
        The checked schedule with its problem, values and bound; None where there is none.
    note
        Why there is none, or how its problem differs from the one compared.
    flushes
        False for a schedule that goes on into the next step without a pause: it is drawn from its
        start, and what counts is the time per microbatch.
    """

    name: str
    split: str
    plan: Plan | None
    note: str = ""
    flushes: bool = True


@frozen(eq=False)
class Comparison:
    """Schedules under the same costs, memory rule and links.

    Attributes
    ----------
    entries
        First the plan found for ``problem``, then the others, better values first.

    Raises
    ------
    InputError
        If the first entry is no plan of the problem.
    """

    problem: Problem
    entries: tuple[Entry, ...]

    def __attrs_post_init__(self) -> None:
        if not self.entries or self.entries[0].plan is None:
            raise InputError("a comparison begins with a plan of its problem")
        if self.entries[0].plan.problem != self.problem:
            raise InputError("the first plan of a comparison is for another problem")

    @property
    def plan(self) -> Plan:
        """The plan found for the problem itself."""
        plan = self.entries[0].plan
        assert plan is not None  # the constructor saw to it
        return plan

    @property
    def is_interrupted(self) -> bool:
        """Whether Ctrl-C ended the search of some plan, so that all is as far as it came."""
        plans = (entry.plan for entry in self.entries)
        return any(plan is not None and plan.provenance.get("interrupted") for plan in plans)

    def searched(self, problem: Problem) -> Plan | None:
        """Return the plan that was searched for a problem of the comparison; None without any."""
        for entry in self.entries:
            if not entry.split and entry.plan is not None and entry.plan.problem == problem:
                return entry.plan
        return None

    def best_hand_made(self, problem: Problem) -> Entry | None:
        """Return the hand-made schedule that is best by the first objective; None without any."""
        for entry in self.entries:
            if entry.split and entry.plan is not None and entry.plan.problem == problem:
                return entry
        return None

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the table of all schedules."""
        from parplan.api import notebook_html  # plain data: only who looks needs it

        return notebook_html(self)
