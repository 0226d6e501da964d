"""Times: releases, precedence, arrivals, lags and orders."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from parplan.checking.facts import Facts
from parplan.checking.usage import Usage
from parplan.contracts import Violation
from parplan.declarations import Edge, Order, TimeLag
from parplan.rules import Rules
from parplan.ticks import ticks_up


def starts(facts: Facts) -> Iterator[Violation]:
    """Yield tasks and transfers that start before time 0, and tasks before their release."""
    x = facts.schedule.transfers
    for row in np.flatnonzero(facts.starts < 0).tolist():
        yield _early("start", facts, facts.task_name(row), int(facts.starts[row]), 0, "time 0")
    for row in np.flatnonzero(x.start < 0).tolist():
        yield _early("start", facts, facts.transfer_name(row), int(x.start[row]), 0, "time 0")
    releases = facts.problem.workload.releases_s
    if releases:
        ticks = np.array([ticks_up(r, facts.problem.tick_s) for r in releases])
        microbatch = facts.schedule.tasks.microbatch
        release = np.where(microbatch < 0, 0, ticks[np.maximum(microbatch, 0)])
        for row in np.flatnonzero((facts.starts < release) & (facts.starts >= 0)).tolist():
            name, start = facts.task_name(row), int(facts.starts[row])
            yield _early("release", facts, name, start, int(release[row]), "its release")


def _early(rule: str, facts: Facts, name: str, start: int, earliest: int, what: str) -> Violation:
    seconds = facts.seconds
    text = f"{name} starts at {seconds(start)}, {seconds(earliest - start)} before {what}"
    amount = (earliest - start) * facts.problem.tick_s
    return Violation(rule, name, text, amount, start)


def precedence(facts: Facts) -> Iterator[Violation]:
    """Yield tasks that start before a tensor they read is on each of their devices."""
    reads, needs, moves = facts.reads, facts.needs, facts.moves
    x, read = facts.schedule.transfers, needs.read
    brought = needs.transfer >= 0
    there = np.full(len(read), -1, dtype=np.int64)
    there[needs.local] = facts.ends[reads.producer[read[needs.local]]]
    there[brought] = (x.start + moves.arrival)[needs.transfer[brought]]
    begin = facts.starts[reads.reader[read]]
    for need in np.flatnonzero(begin < there).tolist():
        edge = int(read[need])
        tensor = facts.problem.graph.tensors[int(reads.tensor[edge])].name
        if needs.local[need]:
            maker = facts.task_name(int(reads.producer[edge]))
            what = f"the end of {maker}, which makes '{tensor}'"
        else:
            what = f"the arrival of the {facts.transfer_name(int(needs.transfer[need]))}"
        name = facts.task_name(int(reads.reader[edge]))
        yield _early("precedence", facts, name, int(begin[need]), int(there[need]), what)


def lags(usage: Usage, rules: Rules) -> Iterator[Violation]:
    """Yield broken time lags and orders that constraints declare."""
    for rule, lag in rules.of(TimeLag):
        yield from _lag(usage, rule, lag)
    for rule, order in rules.of(Order):
        for before, after in pairwise(order.operators):
            yield from _lag(usage, rule, TimeLag(before, after))


def _lag(usage: Usage, rule: str, lag: TimeLag) -> Iterator[Violation]:
    facts, index = usage.facts, usage.facts.problem.graph.operator_index
    first, last = usage.pairs(index[lag.before], index[lag.after], lag.offset)
    ticks = ticks_up(lag.seconds, facts.problem.tick_s)
    earliest = usage.edge(first, lag.before_edge) + ticks
    reached = usage.edge(last, lag.after_edge)
    for i in np.flatnonzero(reached < earliest).tolist():
        a, b = facts.task_name(int(first[i])), facts.task_name(int(last[i]))
        verb = "starts" if lag.after_edge is Edge.START else "ends"
        over = int(earliest[i] - reached[i])
        text = (
            f"{b} {verb} at {facts.seconds(int(reached[i]))}, {facts.seconds(over)} sooner than "
            f"{lag.seconds:.9g} s after the {lag.before_edge} of {a}"
        )
        yield Violation(rule, lag.after, text, over * facts.problem.tick_s, int(reached[i]))
