"""An explanation as people read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from parplan.explaining.causes import Cause, Reason
from parplan.explaining.critical_path import Step
from parplan.explaining.explanation import Explanation
from parplan.explaining.shares import Share, Use
from parplan.figures.plan import Table, bound_sentence
from parplan.terminal import render, shown
from parplan.text import percent_text, plain, seconds_text, value_text

if TYPE_CHECKING:
    from parplan.explaining.what_if import WhatIf

SHOWN = 40
"""Rows of the critical path that are listed at most; the JSON has them all."""

PARTS = 8
"""Parts of the critical path that are listed, the largest; the rest stand in one row."""

NAMED = 4
"""Parts that the sentence about them names."""

LITTLE = 0.0005
"""Part that would be read as 0.0%."""

CAUSES = {
    Reason.DEVICE: "{what}, busy",
    Reason.LINK: "link {what}, busy",
    Reason.DATA: "data '{what}'",
    Reason.MEMORY: "{what}, full",
    Reason.RESOURCE: "{what}, full",
    Reason.LAG: "rule {what}",
    Reason.FIFO: "{what}",
    Reason.RELEASE: "its release",
    Reason.START: "nothing: the start",
    Reason.RULE: "constraint {what}",
    Reason.CHOICE: "nothing: it could start earlier",
}

USES = {
    Use.WORK: "work on {what}",
    Use.TRANSFER: "transfers over {what}",
    Use.LINK: "waits for link {what}",
    Use.MEMORY: "waits for {what}",
    Use.RESOURCE: "waits for {what}",
    Use.ORDER: "waits for rule {what}",
    Use.PAUSE: "pauses",
}


VERDICTS = {
    "within the gap": "within the gap: a plan as good may exist without the change",
    "nothing": "proven to give nothing",
    "not found": "nothing found, and nothing excluded",
}


def explanation_text(explanation: Explanation, *, colour: bool = False) -> str:
    """Return the critical path, what it consists of, and the bound of a plan."""
    head = [
        f"{plain(explanation.plan.problem.name)}\n",
        f"{plain(summary_sentence(explanation.shares))}\n",
        f"{plain(bound_sentence(explanation.plan, explanation.unit))}\n",
    ]
    tables = [
        path_table(explanation),
        share_table(explanation),
        kind_table(explanation),
        what_if_table(explanation),
    ]
    return render([*head, *(shown(table) for table in tables if table.rows)], colour=colour)


def summary_sentence(parts: Sequence[Share]) -> str:
    """Return the largest parts of a critical path in one sentence."""
    return f"critical path: {parts_text(parts)}"


def parts_text(parts: Sequence[Share]) -> str:
    """Return the largest parts of a critical path."""
    large = [s for s in parts[:NAMED] if s.part >= LITTLE]
    named = [f"{percent_text(s.part)} {use_text(s)}" for s in large]
    rest = sum(s.part for s in parts[len(large) :])
    if rest >= LITTLE:
        named.append(f"{percent_text(rest)} other")
    return ", ".join(named) or "nothing takes time"


def use_text(share: Share) -> str:
    """Return what a part of a critical path is spent on."""
    return USES[Use(share.use)].format(what=share.what)


def cause_text(cause: Cause) -> str:
    """Return what is waited for."""
    return CAUSES[cause.reason].format(what=cause.what)


def path_table(explanation: Explanation) -> Table:
    """Return the critical path, tasks that follow one another on one device in one row."""
    tick_s = explanation.plan.problem.tick_s
    rows = [_row(run, tick_s) for run in _runs(explanation.steps)]
    if len(rows) > SHOWN:
        left = len(rows) - SHOWN
        skipped = ("", f"... {left} more; --json has them all", "", "", "", "")
        rows = [*rows[: SHOWN // 2], skipped, *rows[len(rows) - SHOWN // 2 :]]
    return Table(
        "Critical path",
        ("from", "what", "where", "takes", "waits for", "and as long for"),
        rows,
        3,
        2,
    )


def share_table(explanation: Explanation) -> Table:
    """Return what the critical path consists of."""
    first, rest = explanation.shares[:PARTS], explanation.shares[PARTS:]
    names = [use_text(share) for share in first]
    if rest:
        names.append(f"{len(rest)} others")
        first = (*first, _sum(rest))
    return _table(explanation, "What it consists of", names, first)


def _sum(parts: Sequence[Share]) -> Share:
    """Return several parts as one."""
    ticks, steps = sum(s.ticks for s in parts), sum(s.steps for s in parts)
    return Share("", "", ticks, sum(s.part for s in parts), steps)


def kind_table(explanation: Explanation) -> Table:
    """Return the critical path by kind of work."""
    names = [share.what for share in explanation.kinds]
    return _table(explanation, "Kinds of work on it", names, explanation.kinds)


def what_if_table(explanation: Explanation) -> Table:
    """Return what changes would give."""
    unit = explanation.unit

    def shown_value(value: float | None) -> str:
        return "-" if value is None else value_text(value, unit)

    rows = [
        (
            answer.change,
            shown_value(answer.value),
            shown_value(answer.bound),
            shown_value(answer.gain) if answer.possible is not None else "-",
            shown_value(answer.possible),
            verdict_text(answer, unit),
        )
        for answer in explanation.what_ifs
    ]
    columns = ("change", "value", "bound", "gain", "at most", "how sure")
    return Table("What if", columns, rows, 1, 1)


def verdict_text(answer: WhatIf, unit: str) -> str:
    """Return how sure the gain of a change is."""
    if answer.verdict == "proven":
        return f"proven: {value_text(answer.sure, unit)} of it no plan can gain without the change"
    if answer.verdict == "other work":
        assert answer.value is not None  # there is a plan
        each = value_text(answer.value / answer.microbatches, unit)
        return f"{each} for each microbatch"
    return answer.reason or VERDICTS[answer.verdict.value]


def _table(
    explanation: Explanation, title: str, names: Sequence[str], parts: Sequence[Share]
) -> Table:
    tick_s = explanation.plan.problem.tick_s
    rows = [
        (name, seconds_text(share.ticks * tick_s), percent_text(share.part), str(share.steps))
        for name, share in zip(names, parts, strict=True)
    ]
    return Table(title, ("", "time", "of the makespan", "steps"), rows)


def _runs(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Yield steps that follow one another on one device, where nothing but it is waited for."""
    number = 0

    def run(step: Step) -> int:
        nonlocal number
        number += step.cause.reason is not Reason.DEVICE
        return number

    for _, found in groupby(steps, run):
        yield list(found)


def _row(run: Sequence[Step], tick_s: float) -> tuple[str, ...]:
    first, last = run[0], run[-1]
    name = first.name.rsplit(" on ", 1)[0] if first.kind != "pause" else "pause"
    if len(run) > 1:
        name = f"{len(run)} tasks, {name} to {last.name.rsplit(' on ', 1)[0]}"
    return (
        seconds_text(first.start * tick_s),
        name,
        first.place,
        seconds_text((last.until - first.start) * tick_s),
        cause_text(first.cause),
        ", ".join(cause_text(cause) for cause in first.ties),
    )
