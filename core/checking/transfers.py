"""Transfers: each tensor brought where it is read, once, from where it is, on a route."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from parplan.checking.facts import Facts, run_name
from parplan.contracts import Violation


def transfers(facts: Facts) -> Iterator[Violation]:
    """Yield every breach of the rules of transfers."""
    yield from _missing(facts)
    yield from _superfluous(facts)
    yield from _impossible(facts)
    yield from _early(facts)
    if facts.problem.cluster.fifo:
        yield from _overtaking(facts)


def _missing(facts: Facts) -> Iterator[Violation]:
    reads, needs = facts.reads, facts.needs
    absent = np.flatnonzero(~needs.local & (needs.transfer < 0))
    edge = needs.read[absent]
    keys = facts.place_key(reads.tensor[edge], reads.microbatch[edge], needs.device[absent])
    for i in np.unique(keys, return_index=True)[1].tolist():
        row = int(edge[i])
        tensor = facts.problem.graph.tensors[int(reads.tensor[row])].name
        device = facts.problem.cluster.devices[int(needs.device[absent[i]])].name
        text = (
            f"'{tensor}' ({run_name(int(reads.microbatch[row]))}) is not brought to {device}, "
            f"where {facts.task_name(int(reads.reader[row]))} reads it"
        )
        yield Violation("transfers", tensor, text)


def _superfluous(facts: Facts) -> Iterator[Violation]:
    x = facts.schedule.transfers
    keys = facts.place_key(x.tensor, x.microbatch, x.target)
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    used = np.zeros(len(x), dtype=bool)
    used[facts.needs.transfer[facts.needs.transfer >= 0]] = True
    for row in np.flatnonzero(first[inverse] != np.arange(len(x))).tolist():
        yield _fault(facts, row, "transfers", "brings what another transfer brings too")
    for row in np.flatnonzero(~used & (first[inverse] == np.arange(len(x)))).tolist():
        yield _fault(facts, row, "transfers", "brings what nobody there needs")


def _impossible(facts: Facts) -> Iterator[Violation]:
    x, moves = facts.schedule.transfers, facts.moves
    has = facts.runs_on(moves.producer, x.source)
    for row in np.flatnonzero(~has).tolist():
        maker = facts.task_name(int(moves.producer[row]))
        yield _fault(facts, row, "transfers", f"leaves a device without it; it is made by {maker}")
    for row in np.flatnonzero(moves.bytes < 0).tolist():
        maker = facts.task_name(int(moves.producer[row]))
        yield _fault(facts, row, "modes", f"moves what {maker} does not write in its mode")
    for row in np.flatnonzero(~moves.possible & (moves.bytes >= 0)).tolist():
        yield _fault(facts, row, "route", "has no route")


def _early(facts: Facts) -> Iterator[Violation]:
    x, made = facts.schedule.transfers, facts.ends[facts.moves.producer]
    for row in np.flatnonzero(x.start < made).tolist():
        over = int(made[row] - x.start[row])
        maker = facts.task_name(int(facts.moves.producer[row]))
        text = f"starts at {facts.seconds(int(x.start[row]))}, {facts.seconds(over)} before the end"
        yield _fault(facts, row, "precedence", f"{text} of {maker}", over)


def _overtaking(facts: Facts) -> Iterator[Violation]:
    """Yield transfers that start before one of the same device pair whose producer ended first."""
    x, made = facts.schedule.transfers, facts.ends[facts.moves.producer]
    pair = x.source * len(facts.problem.cluster.devices) + x.target
    for rows in np.split(
        np.lexsort((made, pair)), np.flatnonzero(np.diff(np.sort(pair, kind="stable"))) + 1
    ):
        if len(rows) < 2:
            continue
        end, start = made[rows], x.start[rows]
        latest = np.maximum.accumulate(start)
        # The last row with a strictly earlier end; producers that end together have no order.
        before = np.searchsorted(end, end, side="left") - 1
        late = (before >= 0) & (start < latest[np.maximum(before, 0)])
        for i in np.flatnonzero(late).tolist():
            rival = int(rows[np.argmax(start[: before[i] + 1])])
            over = int(x.start[rival] - start[i])
            text = f"overtakes the {facts.transfer_name(rival)}, whose producer ended first"
            yield _fault(facts, int(rows[i]), "fifo", text, over)


def _fault(facts: Facts, row: int, rule: str, text: str, ticks: int | None = None) -> Violation:
    name = facts.transfer_name(row)
    amount = None if ticks is None else ticks * facts.problem.tick_s
    start = int(facts.schedule.transfers.start[row])
    return Violation(rule, name, f"{name} {text}", amount, start)
