"""Further tables of a family, from the details that its rows hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.markdown import number, percent, table
from benchmarks.report_imports import import_tables

Row = Mapping[str, Any]


def detail_tables(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what the details of a family's rows tell besides value and bound."""
    noisy = [row for row in rows if "robust" in (row["details"] or {})]
    if noisy:
        yield _under_noise(noisy)
    accompanied = [row for row in rows if "planners" in (row["details"] or {})]
    if accompanied:
        yield _beside_planners(accompanied)
    pages = [row for row in rows if "megabytes" in (row["details"] or {})]
    if pages:
        yield _pages(pages)
    yield from import_tables(rows)
    for row in rows:
        details = row["details"] or {}
        if "emulated" in details:
            yield f"`{row['case']}`, {_rank_sentence(details)}:\n"
            yield _emulated(details["emulated"])
        if "schedules" in details:
            yield f"`{row['case']}`, every schedule under the same costs:\n"
            yield _schedules(details["schedules"])
        elif "hand_made" in details:
            yield f"`{row['case']}`, against hand-made schedules: {_places(details['hand_made'])}\n"


def _pages(rows: Sequence[Row]) -> str:
    """Return what reports hold, how large they are, and what writing and drawing them takes."""
    lines = []
    for row in rows:
        told = row["details"]
        seconds = (f"{told['written_s']:.1f}", f"{row['value']:.2f}")
        size = f"{told['megabytes']:.2f}"
        lines.append((f"{told['tasks']:,}", f"{told['transfers']:,}", size, *seconds))
    return table(("tasks", "transfers", "MB", "written in s", "drawn in s"), lines)


def _under_noise(rows: Sequence[Row]) -> str:
    """Return means and 95th percentiles of the plans that a robust case compares.

    What is counted is the plan for random times against the best hand-made schedule: its mean is
    no worse, on scenarios that neither was planned with.
    """
    lines, no_worse, compared = [], 0, 0
    for row in rows:
        details = row["details"]
        best = details.get("best_hand_made_mean")
        if best:
            compared += 1
            no_worse += details["robust"]["mean"] <= best
        lines.append(
            (
                row["case"].partition("/")[2],
                *(_mean_and_tail(details.get(name)) for name in ("robust", "nominal", "1f1b")),
                number(best),
                details.get("best_hand_made") or "",
            )
        )
    header = ("case", "robust plan", "nominal plan", "1F1B", "best hand-made", "made by")
    said = "Mean (95th percentile) under noise; the robust plan's mean is no worse than the best"
    said += f" hand-made schedule's in {no_worse} of {compared}.\n"
    return f"{said}\n{table(header, lines)}"


def _beside_planners(rows: Sequence[Row]) -> str:
    """Return how far plans and bounds of all planners are from the references, on average.

    A planner counts where it has a value; the gap is the value above its own bound.
    """
    lines = []
    for title in ("parplan", *dict.fromkeys(t for row in rows for t in row["details"]["planners"])):
        off, gaps, proven = [], [], 0
        for row in rows:
            found = row if title == "parplan" else row["details"]["planners"].get(title, {})
            value, bound = found.get("value"), found.get("bound")
            if value is None or bound is None or not row["reference"]:
                continue
            off.append(value / row["reference"] - 1)
            gaps.append(1 - bound / value)
            proven += value <= bound
        above = [percent(sum(x) / len(x)) if x else "" for x in (off, gaps)]
        lines.append((title, str(len(off)), str(proven), *above))
    header = ("planner", "planned", "proven optimal", "mean above reference", "mean gap")
    return f"Planners in the same run, with the same limit and workers:\n\n{table(header, lines)}"


def _mean_and_tail(found: Mapping[str, float] | None) -> str:
    return "" if found is None else f"{number(found['mean'])} ({number(found['p95'])})"


def _schedules(entries: Sequence[Mapping[str, Any]]) -> str:
    header = ("schedule", "split", "makespan", "exposed communication", "bubble", "peak GB")
    lines = [
        (
            entry["schedule"],
            entry.get("split") or "",
            number(entry.get("makespan_s")) or entry.get("note") or "no schedule",
            percent(entry.get("exposed_share")),
            percent(entry.get("bubble")),
            f"{entry['peak_bytes'] / 1e9:.1f}" if "peak_bytes" in entry else "",
        )
        for entry in entries
    ]
    return table(header, lines)


def _rank_sentence(details: Mapping[str, Any]) -> str:
    found = details["spearman"]
    text = f"{details['runs']} runs of {len(details['emulated'])} schedules"
    if found is None:
        return text
    swapped = details["swapped_pairs"]
    return f"{text}, Spearman's rank correlation {found:.4f}, {swapped} pairs in another order"


def _emulated(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return planned and measured makespans; schedules that are the same to every process once."""
    runs: dict[tuple[float, ...], list[Mapping[str, Any]]] = {}
    for entry in entries:
        runs.setdefault(tuple(entry["steps_s"]), []).append(entry)
    header = ("schedules", "planned s", "measured s", "against it", "messages", "overhead",
              "slower", "load")  # fmt: skip
    lines = []
    for same in runs.values():
        entry = same[0]
        slower = entry["seconds_per_planned_second"]
        lines.append(
            (
                ", ".join(other["schedule"] for other in same),
                f"{entry['planned_s']:.4f}",
                f"{entry['measured_s']:.4f}",
                f"{100 * entry['deviation']:+.2f}%",
                str(entry["messages"]),
                f"{100 * entry['overhead']:.1f}%",
                f"{slower:.1f}x" if slower > 1 else "",
                f"{entry['load']:.1f}",
            )
        )
    return table(header, lines)


def _places(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return the hand-made schedules from the best to the worst, and what does not run."""
    made: dict[str, float] = {}
    for entry in entries:
        if entry["makespan_s"] is not None:
            name, seconds = _name(entry), float(entry["makespan_s"])
            made[name] = min(made.get(name, seconds), seconds)
    names = sorted(made, key=lambda name: made[name])
    missing = sorted(set(map(_name, entries)) - set(made))
    parts = [", ".join(f"{name} {number(made[name])}" for name in names)]
    if missing:
        parts.append(f"no schedule by {', '.join(missing)}")
    return "; ".join(part for part in parts if part) + "."


def _name(entry: Mapping[str, Any]) -> str:
    return f"{entry['name']} (a variant)" if entry["variant"] else str(entry["name"])
