"""The check of a schedule against everything that its problem demands."""

from __future__ import annotations

import attrs

from parplan.checking.facts import Facts
from parplan.checking.resources import resources
from parplan.checking.tasks import broken_rows, placement
from parplan.checking.timing import lags, precedence, starts
from parplan.checking.transfers import transfers
from parplan.checking.usage import Usage
from parplan.contracts import Constraint, Violation
from parplan.errors import PluginError
from parplan.rules import Rules, overrides
from parplan.schedule import Schedule


def check_schedule(schedule: Schedule, rules: Rules) -> tuple[Violation, ...]:
    """Return every breach of every rule; an empty result means that the schedule is valid.

    It shares no code with the model and the search, and derives durations and transfer times anew.
    If tasks are missing, doubled or unknown, only that is reported.

    Raises
    ------
    PluginError
        If a constraint's own ``violations`` raises, or yields something else than violations.
    """
    broken = tuple(broken_rows(schedule))
    if broken:
        return broken
    facts = Facts(schedule)
    usage = Usage(facts)
    found = [
        *placement(facts, rules),
        *starts(facts),
        *transfers(facts),
        *precedence(facts),
        *lags(usage, rules),
        *resources(usage, rules),
    ]
    for constraint in rules.constraints:
        if overrides(constraint, "violations", Constraint):
            found.extend(_own_violations(constraint, schedule))
    return tuple(found)


def _own_violations(constraint: Constraint, schedule: Schedule) -> list[Violation]:
    """Return what a constraint itself finds; whatever goes wrong in it names it."""

    def failed(message: str) -> PluginError:
        return PluginError(message, plugin=constraint.name, hook="violations")

    try:
        found = list(constraint.violations(schedule))
    except (Exception, SystemExit) as error:
        raise failed(f"raised {type(error).__name__}: {error}") from error
    for item in found:
        if not isinstance(item, Violation):
            raise failed(f"gave {item!r} of type {type(item).__name__}; it must yield Violation")
        if not isinstance(item.message, str) or not isinstance(item.where, str):
            raise failed(f"gave {item!r}, whose message and where must be texts")
    # Reports and the search know a rule by its own name, whatever the plugin calls it here.
    return [attrs.evolve(item, rule=constraint.name) for item in found]
