"""What a family of benchmark cases comes to: its line in the overview, and its section."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from attrs import frozen

from benchmarks.markdown import counted, number, percent, table
from benchmarks.report_details import detail_tables

Row = Mapping[str, Any]

SAME = 1e-9
"""A value within this part of its reference is equal to it."""

OVERVIEW = ("family", "cases", "planned", "optimal", "median gap", "worst gap", "better", "equal",
            "worse", "over time")  # fmt: skip
COLUMNS = ("case", "value", "bound", "gap", "reference", "against it", "seconds", "MiB",
           "found by", "optimum confirmed by")  # fmt: skip

ABOUT = {
    "dualpipe": "Two directions over the same devices, equal times, no delay, DualPipe's memory "
    "and below.",
    "tight": "Memory and delay bind together.",
    "scale": "Many devices and microbatches.",
    "free": "Each stage of each direction on any device.",
    "extra": "Delays of `tight` as links that a transfer holds.",
    "zero-bubble": "Measured models of Zero Bubble's papers; the reference is that project's own "
    "scheduler.",
    "moe": "Mixtures of experts at operator level; the reference is the best hand-made schedule.",
    "robust": "Means under random times, on fresh scenarios; the reference is the best hand-made "
    "schedule's mean.",
    "jobshop": "Published job shops; the reference is the optimum, or the best makespan known.",
    "mip-forms": "Forms of the MIP on small job shops and free placements, HiGHS alone.",
    "emulation": "Schedules run by 2 or 8 processes that sleep, with real messages; the reference "
    "is the planned makespan. *Overhead* is the part of the tasks' time that processes needed for "
    "themselves between tasks, and took from the planned time; *slower* is how many seconds a "
    "planned one took; *load* is the machine's in the minute before the end.",
    "torch": "Schedules that PyTorch executes from exported files in 2 to 4 processes, two "
    "training steps; the value is the largest relative difference of a gradient to a single "
    "process.",
    "import": "Real models made by transformers on PyTorch's device `meta`, or read from ONNX "
    "files without weights, each in a process of its own; the value is the seconds from "
    "configuration or file to graph, of `architectures` the number of models. With `-joint` "
    "backward passes are traced by PyTorch's autograd.",
    "report": "Reports of pipelines with their critical path; the value is the seconds from "
    "opening the file to its first picture in headless Chromium, the reference what a reader may "
    "be asked to wait.",
    "unequal": "Unequal stages, devices, links and microbatches; the reference is the best "
    "hand-made schedule on its best split.",
}
"""What a family shows, in a sentence."""


@frozen
class Family:
    """The rows of one family, and what second solvers said of its cases."""

    suite: str
    name: str
    rows: tuple[Row, ...]
    confirmations: Mapping[str, Sequence[Row]]

    @property
    def planned(self) -> list[Row]:
        """Rows with a checked plan."""
        return [row for row in self.rows if row["status"] in ("optimal", "feasible")]

    @property
    def measured(self) -> int:
        """How many rows are measurements, of which nothing was planned for the row alone."""
        return sum(row["status"] == "measured" for row in self.rows)

    @property
    def optimal(self) -> int:
        """How many plans are proven optimal."""
        return sum(row["status"] == "optimal" for row in self.rows)

    @property
    def gaps(self) -> list[float]:
        """The gaps that are known."""
        return [row["gap"] for row in self.planned if row["gap"] is not None]

    @property
    def offs(self) -> list[float]:
        """By which part each value lies above its reference."""
        return [off for row in self.planned if (off := _against(row)) is not None]

    @property
    def against(self) -> tuple[int, int, int]:
        """How many values are better than, equal to and worse than their references."""
        offs = self.offs
        better, equal = sum(off < -SAME for off in offs), sum(abs(off) <= SAME for off in offs)
        return better, equal, len(offs) - better - equal

    @property
    def late(self) -> int:
        """How many cases took longer than their limit."""
        return sum(map(_is_late, self.rows))

    def confirmed(self, row: Row) -> str:
        """Return what second solvers said of a row, in words."""
        return ", ".join(
            one["solver"] if one["status"] == "confirmed" else f"{one['status']}: {one['solver']}"
            for one in self.confirmations.get(row["case"], ())
            if one["value"] == row["value"]
        )


def overview(families: Sequence[Family]) -> str:
    """Return a line for each family."""
    lines = []
    for family in families:
        gaps = family.gaps
        lines.append(
            (
                f"[{family.name}](#{_anchor(family)})",
                *map(str, (len(family.rows), len(family.planned), family.optimal)),
                percent(median(gaps)) if gaps else "",
                percent(max(gaps)) if gaps else "",
                *map(str, family.against if family.offs else ("", "", "")),
                str(family.late),
            )
        )
    return table(OVERVIEW, lines)


def _anchor(family: Family) -> str:
    return f"{family.suite}-{family.name}".replace(".", "")


def section(family: Family) -> Iterator[str]:
    """Yield what stands below a family's heading."""
    yield "\n".join(filter(None, (ABOUT.get(family.name, ""), _summary(family)))) + "\n"
    yield _table(family)
    yield from detail_tables(family.rows)
    if reasons := [f"- `{r['case']}`: {_why(r)}" for r in family.rows if r["value"] is None]:
        yield "\n".join(reasons)


def _summary(family: Family) -> str:
    """Return what a family comes to, in a sentence each."""
    if family.measured:
        return f"{family.measured} of {counted(len(family.rows), 'case')} measured."
    if not family.planned:
        return f"{counted(len(family.rows), 'case')}, none planned."
    cases = counted(len(family.rows), "case")
    parts = [f"{len(family.planned)} of {cases} planned, {family.optimal} proven optimal."]
    if gaps := family.gaps:
        parts.append(f"Gap: median {percent(median(gaps))}, worst {percent(max(gaps))}.")
    if offs := family.offs:
        better, equal, worse = family.against
        said = f"Against {counted(len(offs), 'reference')}: {better} better, {equal} equal, "
        said += f"{worse} worse{f' (by up to {percent(max(offs))})' if worse else ''}."
        parts.append(said)
    if family.late:
        parts.append(f"{counted(family.late, 'case')} took longer than the time limit.")
    return "\n".join(parts)


def _table(family: Family) -> str:
    lines = []
    for row in family.rows:
        off = _against(row)
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.1f}"
        lines.append(
            (
                row["case"].partition("/")[2],
                number(row["value"]),
                number(row["bound"]),
                percent(row["gap"]),
                number(row["reference"]),
                "" if off is None else "=" if abs(off) <= SAME else f"{100 * off:+.2f}%",
                f"**{seconds}**" if _is_late(row) else seconds,
                "" if row["peak_mib"] is None else f"{row['peak_mib']:.0f}",
                row["solver"] or row["status"],
                family.confirmed(row),
            )
        )
    return table(COLUMNS, lines)


def _is_late(row: Row) -> bool:
    """Return whether a whole process took longer than its time limit; measurements have none."""
    limit, seconds = row["time_limit_s"], row["seconds"]
    if row["status"] == "measured":
        return False
    return limit is not None and seconds is not None and bool(seconds > limit)


def _why(row: Row) -> str:
    details = row["details"] or {}
    reason = details.get("reason") or "; ".join(details.get("violations", ())) or "no figure"
    lines = str(reason).strip().splitlines()
    return f"{row['status']}: {lines[-1] if lines else reason}"


def _against(row: Row) -> float | None:
    """Return the part by which a value lies above its reference; None without either."""
    if row["value"] is None or not row["reference"]:
        return None
    return float(row["value"] / row["reference"] - 1)
