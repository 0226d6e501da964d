"""What full enumeration says of a small problem: it shares no code with a search.

Times, links and memory are those of ``tests/exhaustive.py``. Rules on places are read here from
their options; rules on time are the checker's business, which is shown every complete schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import networkx as nx

from benchmarks.claims import Claim
from parplan.checking import check_schedule
from parplan.problem import Problem
from parplan.rules import Rules
from parplan.schedule import Schedule
from tests.exhaustive import Chosen, TooLargeError, least_by_placement, shortest_schedule

MOST_NODES = 10_000
"""Starts that are tried, about a fifth of a second."""

LONGEST_LAG = 4
"""Ticks in which rules on time may let nothing happen at all."""

Places = Mapping[str, frozenset[str]]
"""Devices of each operator, in one placement group."""

Keeps = Callable[[Any, Places, Problem], bool]
"""Whether places keep one option of the rule ``placement``."""


def by_enumeration(problem: Problem, rules: Rules) -> Claim:
    """Return the optimum, or that there is no plan; no claim where too much would be tried."""
    objective = rules.objectives[0]
    by_time = _has_rules_on_time(problem)

    def admits(chosen: Chosen) -> bool:
        return all(_keeps_places(problem, places) for places in _places(problem, chosen))

    def accept(schedule: Schedule) -> bool:
        return not by_time or check_schedule(schedule, rules) == ()

    try:
        if objective.name == "makespan":
            pause = LONGEST_LAG if by_time else 0
            best = shortest_schedule(problem, MOST_NODES, accept, pause, admits)
        elif objective.loading() is not None:
            best = least_by_placement(problem, objective.value, MOST_NODES, accept, admits)
        else:
            return Claim()
    except TooLargeError:
        return Claim()
    if best is None:
        return Claim(proven=True)
    value = objective.value(best)
    return Claim(value, value, proven=True)


def _has_rules_on_time(problem: Problem) -> bool:
    """Return whether a rule asks for more than places, and the enumeration does not know it."""
    known = {"devices", "links", "memory", "weights"}
    return any(
        rule.name not in known and (rule.name != "placement" or "order" in rule.options)
        for rule in problem.constraints
    )


def _places(problem: Problem, chosen: Chosen) -> Iterator[Places]:
    """Yield the devices of each operator, for one placement group after the other."""
    names = [device.name for device in problem.cluster.devices]
    for group in range(problem.workload.group_count):
        yield {
            problem.graph.operators[o].name: frozenset(
                names[d] for d in problem.alternatives[o][row].devices
            )
            for (o, own), row in chosen.items()
            if own == group
        }


def _keeps_places(problem: Problem, places: Places) -> bool:
    """Return whether the places of one group keep all rules on places."""
    for rule in problem.constraints:
        if rule.name == "weights":
            readers = [
                [o.name for o in problem.graph.operators if group.name in o.parameters]
                for group in problem.graph.parameters
            ]
            if not _together([names for names in readers if names], places, problem):
                return False
        if rule.name == "placement" and not all(
            PLACEMENT[what](option, places, problem) for what, option in rule.options.items()
        ):
            return False
    return True


def _pinned(option: Mapping[str, Sequence[str]], places: Places, _: Problem) -> bool:
    return all(places[name] <= set(devices) for name, devices in option.items())


def _not_forbidden(option: Mapping[str, Sequence[str]], places: Places, _: Problem) -> bool:
    return all(not places[name] & set(devices) for name, devices in option.items())


def _together(option: Sequence[Sequence[str]], places: Places, _: Problem) -> bool:
    return all(len({places[name] for name in names}) == 1 for names in option)


def _apart(option: Sequence[Sequence[str]], places: Places, _: Problem) -> bool:
    return all(
        len(frozenset.union(*(places[n] for n in names))) == sum(len(places[n]) for n in names)
        for names in option
    )


def _contiguous(option: bool, places: Places, problem: Problem) -> bool:
    """Return whether single devices can stand in a row in which no tensor goes back."""
    row = nx.DiGraph(
        (one, two)
        for tensor in problem.graph.tensors
        for reader in tensor.consumers
        for (one,), (two,) in [(places[tensor.producer], places[reader])]
        if one != two
    )
    return not option or bool(nx.is_directed_acyclic_graph(row))


PLACEMENT: Mapping[str, Keeps] = {
    "pin": _pinned,
    "forbid": _not_forbidden,
    "together": _together,
    "apart": _apart,
    "contiguous": _contiguous,
    "order": lambda *_: True,  # a rule on time
}
