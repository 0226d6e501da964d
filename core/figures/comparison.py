"""The figures of a comparison, computed once for terminal, HTML page and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import frozen

from parplan.comparison import Comparison, Entry
from parplan.figures.gain import gain
from parplan.figures.pipeline import period_s
from parplan.figures.plan import (
    PlanFigures,
    Table,
    json_figures,
    require_whole,
    rows_without_schedule,
)
from parplan.figures.usage import Summary, computing_devices, longest_stage_span_ticks, summary
from parplan.plans import Plan
from parplan.problem import Problem
from parplan.text import bytes_text, percent_text, seconds_text, value_text

COLUMNS = ("schedule", "split", "value", "gain", "per microbatch", "bubble", "span bubble",
           "peak memory", "of usable", "parameters", "gap", "note")  # fmt: skip
OPTIONAL = ("parameters", "span bubble", "per microbatch", "gap", "peak memory", "of usable")


@frozen
class EntryFigures:
    """What a schedule of a comparison uses.

    Attributes
    ----------
    period_s
        Seconds per microbatch: the makespan over their number; of a schedule that never flushes,
        the distance of one microbatch from the next in the steady state.
    span_bubble
        Bubble where the longest stage span counts and not the makespan: of devices that go on with
        the next step without waiting for others (Zero Bubble's measure).
    fullest
        Index of the device that comes closest to what is usable; by bytes where nothing is limited.
    fullest_share
        Its peak as a part of what is usable; None without a limit.
    parameter_bytes
        Resident on all devices together.
    parameter_copies
        That over the bytes of all parameters of the model; 0 without any.
    """

    uses: Summary
    period_s: float
    span_bubble: float
    fullest: int
    fullest_share: float | None
    parameter_bytes: int
    parameter_copies: float


@frozen(eq=False)
class ComparisonFigures:
    """A comparison with the figures of each entry that has a schedule; ``unit`` of its values."""

    comparison: Comparison
    unit: str
    figures: tuple[EntryFigures | None, ...]

    def rows(self) -> Iterator[tuple[Entry, EntryFigures | None]]:
        """Yield each entry with its figures."""
        yield from zip(self.comparison.entries, self.figures, strict=True)


def comparison_figures(comparison: Comparison, unit: str) -> ComparisonFigures:
    """Return the figures of a comparison; ``unit`` is that of the first objective."""
    found = tuple(
        None if entry.plan is None else entry_figures(entry.plan, flushes=entry.flushes)
        for entry in comparison.entries
    )
    return ComparisonFigures(comparison, unit, found)


def entry_figures(plan: Plan, *, flushes: bool = True) -> EntryFigures:
    """Return the figures of one schedule.

    Parameters
    ----------
    flushes
        Whether it ends before the next step begins; else it is the start of an endless run.

    Raises
    ------
    InputError
        If tasks or transfers are missing, doubled or unknown.
    """
    require_whole(plan)
    problem, uses = plan.problem, summary(plan.schedule)
    span_s = longest_stage_span_ticks(plan.schedule) * problem.tick_s
    computing = computing_devices(problem, uses.devices)
    busy_s = sum(device.busy_s for device in computing) / len(computing)
    resident = sum(device.parameter_bytes for device in uses.devices)
    whole = sum(group.bytes for group in problem.graph.parameters)
    fullest = max(range(len(uses.devices)), key=lambda d: _fill(problem, uses, d))
    usable = problem.cluster.devices[fullest].usable_bytes
    peak = uses.devices[fullest].peak_bytes
    return EntryFigures(
        uses,
        uses.makespan_s / problem.workload.microbatches if flushes else period_s(plan.schedule),
        1.0 - busy_s / span_s if span_s > 0 else 0.0,
        fullest,
        peak / usable if usable else None,
        resident,
        resident / whole if whole else 0.0,
    )


def _fill(problem: Problem, uses: Summary, device: int) -> tuple[float, int]:
    usable, peak = problem.cluster.devices[device].usable_bytes, uses.devices[device].peak_bytes
    return (peak / usable if usable else 0.0, peak)


def comparison_table(figures: ComparisonFigures) -> Table:
    """Return a row per schedule, the plans first and marked, then the others, better ones first.

    Those without a schedule follow, in one row for each reason.
    """
    title = "Schedules under the same costs and rules"
    made = [(e, f) for e, f in figures.rows() if e.plan is not None and f is not None]
    failed = [(e.name, e.split, e.note) for e in figures.comparison.entries if e.plan is None]
    rows = [_cells(figures.comparison, entry, found, figures.unit) for entry, found in made]
    marked = frozenset(i for i, (entry, _) in enumerate(made) if not entry.split)
    without = rows_without_schedule(failed, len(COLUMNS) - 3)
    return Table(title, COLUMNS, (*rows, *without), 2, 1, marked, OPTIONAL)


def _cells(comparison: Comparison, entry: Entry, found: EntryFigures, unit: str) -> tuple[str, ...]:
    assert entry.plan is not None  # it has figures
    device = found.uses.devices[found.fullest]
    return (
        entry.name,
        entry.split or "searched",
        value_text(entry.plan.value, unit),
        percent_text(_gain_over(comparison, entry)),
        seconds_text(found.period_s),
        percent_text(found.uses.bubble),
        percent_text(found.span_bubble),
        f"{bytes_text(device.peak_bytes)} on {device.name}",
        "no limit" if found.fullest_share is None else percent_text(found.fullest_share),
        f"{found.parameter_copies:.2g}x" if found.parameter_bytes else "-",
        percent_text(entry.plan.gap),
        entry.note,
    )


def _gain_over(comparison: Comparison, entry: Entry) -> float | None:
    """Return the gain over a hand-made schedule of the plan of its problem; None without one."""
    if entry.plan is None or not entry.split:
        return None
    ours = comparison.searched(entry.plan.problem)
    return None if ours is None else _saved(ours.value, entry.plan.value)


def _saved(ours: float, theirs: float) -> float | None:
    """Return a gain in either sense: no plan is worse than the schedules that it began with."""
    saved = gain(ours, theirs)
    return None if saved is None else abs(saved)


def verdict(figures: ComparisonFigures) -> str:
    """Return a sentence per plan on its gain over the best hand-made schedule."""
    searched = [e for e in figures.comparison.entries if e.plan is not None and not e.split]
    return " ".join(_verdict(figures.comparison, e.name, e.plan) for e in searched if e.plan)


def _verdict(comparison: Comparison, name: str, plan: Plan) -> str:
    best = comparison.best_hand_made(plan.problem)
    if best is None or best.plan is None:
        return f"No hand-made schedule fits beside the {name}."
    named = f"the best hand-made schedule, {best.name} on the {best.split} split"
    if plan.value == best.plan.value:
        return f"The {name} is as good as {named}."
    part = percent_text(_saved(plan.value, best.plan.value))
    return f"The {name} is {part} better than {named}."


def json_comparison(figures: ComparisonFigures, plan: PlanFigures) -> dict[str, Any]:
    """Return the object that ``parplan compare --json`` prints.

    The keys of ``json_figures`` for the plan, and ``schedules``: a row per entry with null for each
    figure that it does not have.
    """
    rows = [_json_row(entry, found) for entry, found in figures.rows()]
    return {**json_figures(plan), "schedules": rows}


def _json_row(entry: Entry, found: EntryFigures | None) -> dict[str, Any]:
    row: dict[str, Any] = {"name": entry.name, "split": entry.split, "note": entry.note}
    if entry.plan is None or found is None:
        names = ("status", "objective", "gap", "period_s", "bubble", "span_bubble", "peak_memory")
        return row | dict.fromkeys((*names, "parameter_bytes"))
    return row | {
        "status": entry.plan.status,
        "objective": entry.plan.value,
        "gap": entry.plan.gap,
        "period_s": found.period_s,
        "bubble": found.uses.bubble,
        "span_bubble": found.span_bubble,
        "peak_memory": {device.name: device.peak_bytes for device in found.uses.devices},
        "parameter_bytes": found.parameter_bytes,
    }
