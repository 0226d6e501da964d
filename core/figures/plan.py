"""The figures of a plan, computed once for terminal, HTML report and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from parplan.checking.columns import Real, Whole
from parplan.checking.tasks import broken_rows
from parplan.errors import InputError
from parplan.figures.gain import gain
from parplan.figures.usage import Summary, bound_text, memory_profiles, summary
from parplan.plans import Plan
from parplan.text import bytes_text, percent_text, seconds_text, value_text


@frozen(eq=False)
class PlanFigures:
    """A plan with everything that is shown of it.

    Attributes
    ----------
    unit
        Of the first objective; empty if not known.
    uses
        Time, memory, links and work.
    memory
        Of each device: (ticks, bytes in use from then on).
    """

    plan: Plan
    unit: str
    uses: Summary
    memory: tuple[tuple[Whole, Real], ...]


def require_whole(plan: Plan) -> None:
    """Raise InputError if tasks or transfers are missing, doubled or unknown: nothing to draw."""
    broken = next(broken_rows(plan.schedule), None)
    if broken is not None:
        raise InputError(f"the schedule is broken: {broken.message}; `parplan check` lists all")


def _rows(rows: Iterable[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(row) for row in rows)


@frozen
class Table:
    """Text in rows and columns: the first ``left`` are names, the last ``notes`` remarks.

    All others are figures. Rows of ``marked`` stand out. Where there is little room, figures of
    ``optional`` are left out, the first of them first.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = field(converter=_rows)
    left: int = 1
    notes: int = 0
    marked: frozenset[int] = frozenset()
    optional: tuple[str, ...] = ()

    def kind(self, column: int) -> str:
        """Return what a column holds: ``"name"``, ``"figure"`` or ``"note"``."""
        if column < self.left:
            return "name"
        return "note" if column >= len(self.columns) - self.notes else "figure"


def figures_of(plan: Plan, unit: str) -> PlanFigures:
    """Return the figures of a plan; it may break rules, but must be whole."""
    require_whole(plan)
    return PlanFigures(plan, unit, summary(plan.schedule), memory_profiles(plan.schedule))


def json_figures(figures: PlanFigures) -> dict[str, Any]:
    """Return the object that ``parplan plan --json`` prints.

    ``device_utilisation`` is the busy share of each device, ``bubble`` the mean of the rest,
    ``exposed_communication`` the seconds in which a device communicates and computes nothing,
    ``peak_memory`` in bytes.
    """
    plan, uses = figures.plan, figures.uses
    interrupted = bool(plan.provenance.get("interrupted"))
    return {
        "status": "interrupted" if interrupted else plan.status,
        "objective": plan.value,
        "bound": None if plan.bound is None else plan.bound.value,
        "bound_scope": None if plan.bound is None else plan.bound.scope,
        "gap": plan.gap,
        "seconds": plan.provenance.get("seconds"),
        "solver": plan.solver,
        "device_utilisation": {device.name: 1.0 - device.bubble for device in uses.devices},
        "bubble": uses.bubble,
        "exposed_communication": {device.name: device.exposed_s for device in uses.devices},
        "peak_memory": {device.name: device.peak_bytes for device in uses.devices},
    }


def headline(figures: PlanFigures) -> list[tuple[str, str]]:
    """Return (name, text) of what matters most: figures, status, solver."""
    return [*headline_figures(figures), ("found by", figures.plan.solver or "-")]


def headline_figures(figures: PlanFigures) -> list[tuple[str, str]]:
    """Return (name, text) of values, bound, gap, bubble and status, all short."""
    plan, unit = figures.plan, figures.unit
    first = next(iter(plan.objectives))
    rows = [
        (name, value_text(value, unit if name == first else ""))
        for name, value in plan.objectives.items()
    ]
    if plan.bound is not None:
        rows.append(("bound", value_text(plan.bound.value, unit)))
    rows += [("gap", percent_text(plan.gap)), ("bubble", percent_text(figures.uses.bubble))]
    if figures.uses.exposed_s:  # none without tasks on engines beside compute
        rows.append(("exposed communication", seconds_text(figures.uses.exposed_s)))
    if figures.uses.utilization:  # none without FLOP and peaks
        rows.append(("utilization", percent_text(figures.uses.utilization)))
    return [*rows, ("status", plan.status)]


def proof_text(figures: PlanFigures) -> str:
    """Return one sentence on what is proven, and by what."""
    return bound_sentence(figures.plan, figures.unit)


def bound_sentence(plan: Plan, unit: str) -> str:
    """Return one sentence on what is proven of a plan; ``unit`` is that of its first objective."""
    if plan.bound is None:
        return "Nothing is proven yet about how much better another plan could be."
    value = value_text(plan.bound.value, unit)
    source = bound_text(plan.bound)
    if plan.gap == 0:
        return f"Proven: no plan of this problem does better ({source})."
    return f"Proven: no plan of this problem does better than {value} ({source})."


def device_table(figures: PlanFigures) -> Table:
    """Return a row per device."""
    columns = ("device", "kind", "busy", "bubble", "peak memory", "of usable", "parameters")
    rows = []
    devices = figures.plan.problem.cluster.devices
    for spec, use in zip(devices, figures.uses.devices, strict=True):
        usable = spec.usable_bytes
        rows.append(
            (
                spec.name,
                spec.kind,
                percent_text(1.0 - use.bubble),
                percent_text(use.bubble),
                bytes_text(use.peak_bytes),
                "no limit" if usable is None else percent_text(use.peak_bytes / usable),
                bytes_text(use.parameter_bytes),
            )
        )
    return Table("Devices", columns, rows, 2)


def link_table(figures: PlanFigures) -> Table:
    """Return a row per link that carries anything, those that are held longest first."""
    columns = ("link", "from", "to", "held", "share of the time", "moved")
    whole = figures.uses.makespan_s
    links = zip(figures.plan.problem.cluster.links, figures.uses.links, strict=True)
    used = [(spec, use) for spec, use in links if use.busy_s > 0 or use.bytes > 0]
    rows = []
    for spec, use in sorted(used, key=lambda pair: -pair[1].busy_s):
        available = whole * (spec.capacity or 1)
        share = use.busy_s / available if available > 0 and spec.capacity else None
        held, moved = seconds_text(use.busy_s), bytes_text(use.bytes)
        rows.append((spec.name, spec.source, spec.target, held, percent_text(share), moved))
    return Table("Links", columns, rows, 3)


def baseline_table(figures: PlanFigures) -> Table:
    """Return a row per hand-made schedule, the plan first; no row if there are none.

    The gain is that of the plan over the schedule of the row.
    """
    columns = ("schedule", "split", "makespan", "gain", "bubble", "peak memory", "gap", "note")
    title = "Hand-made schedules under the same costs and rules"
    plan, uses = figures.plan, figures.uses
    known: Sequence[Mapping[str, Any]] = plan.provenance.get("baselines") or ()
    if not known:
        return Table(title, columns, ())
    peak = max(device.peak_bytes for device in uses.devices)
    ours = ("this plan", "", seconds_text(uses.makespan_s), "", percent_text(uses.bubble),
            bytes_text(peak), percent_text(plan.gap), "")  # fmt: skip
    made = sorted(
        (row for row in known if row.get("makespan_s") is not None),
        key=lambda row: float(row["makespan_s"]),
    )
    failed = (
        (str(row.get("name", "")), str(row.get("split", "")), str(row.get("note", "")))
        for row in known
        if row.get("makespan_s") is None
    )
    rows = (
        ours,
        *(_baseline(row, uses.makespan_s) for row in made),
        *rows_without_schedule(failed, len(columns) - 3),
    )
    return Table(title, columns, rows, 2, 1, frozenset({0}))


def rows_without_schedule(
    failed: Iterable[tuple[str, str, str]], figures: int
) -> Iterator[tuple[str, ...]]:
    """Yield rows of schedules that there are none of, those of one reason together.

    Parameters
    ----------
    failed
        Name, split and reason of each.
    figures
        Columns of figures, all empty, between the split and the reason.
    """
    alike: dict[str, dict[str, list[str]]] = {}
    for name, split, reason in failed:
        alike.setdefault(reason, {}).setdefault(name, []).append(split)
    for reason, names in alike.items():
        nothing = ("-",) * figures
        if len(names) == 1:
            ((name, splits),) = names.items()
            yield (name, ", ".join(dict.fromkeys(filter(None, splits))), *nothing, reason)
        else:
            yield (f"{len(names)} others", "", *nothing, f"{reason}: {', '.join(names)}")


def _baseline(row: Mapping[str, Any], makespan_s: float) -> tuple[str, ...]:
    def shown(key: str, text: Any) -> str:
        value = row.get(key)
        return "-" if value is None else text(value)

    peak = row.get("peak_memory_bytes")
    most = max(peak.values()) if isinstance(peak, Mapping) and peak else peak
    return (
        str(row.get("name", "")),
        str(row.get("split", "")),
        shown("makespan_s", seconds_text),
        percent_text(gain(makespan_s, float(row["makespan_s"]))),
        shown("bubble", percent_text),
        "-" if not isinstance(most, int | float) else bytes_text(most),
        shown("gap", percent_text),
        str(row.get("note", "")),
    )
