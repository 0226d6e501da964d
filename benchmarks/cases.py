"""What a benchmark case is, and what it leaves."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from parplan.errors import InputError
from parplan.plans import Plan
from parplan.registry import Registry


@frozen
class Context:
    """What a case may use: the folder of public data (None if not given) and its time limit."""

    data: Path | None
    time_limit_s: float

    def file(self, path: str) -> Path:
        """Return a file of the public data; InputError without the folder."""
        if self.data is None:
            raise InputError(f"'{path}' is public data; name its folder with --data")
        return self.data / path


@frozen
class Outcome:
    """What a case leaves: a plan, or (where nothing is planned) a figure of its own.

    Attributes
    ----------
    value, bound
        Used only where there is no plan; with one they are read from its file.
    reference, reference_source
        What the value is to be compared with.
    registry
        What the plan was made with, and is checked with.
    details
        Further figures, as they are.
    """

    plan: Plan | None = None
    registry: Registry | None = None
    value: float | None = None
    bound: float | None = None
    reference: float | None = None
    reference_source: str | None = None
    solver: str | None = None
    details: Mapping[str, Any] = field(factory=dict)


def beside_hand_made(
    plan: Plan, registry: Registry, rows: Sequence[Mapping[str, Any]], key: str
) -> Outcome:
    """Return a plan with the best hand-made schedule as its reference.

    Parameters
    ----------
    rows
        Of hand-made schedules, as in a plan's provenance; variants of the problem do not count.
    key
        Where the rows stand in the details.
    """
    made = [row for row in rows if row["makespan_s"] is not None and not row["variant"]]
    best = min(made, key=lambda row: float(row["makespan_s"]), default=None)
    outcome = Outcome(plan=plan, registry=registry, details={key: list(rows)})
    if best is None:
        return outcome
    return evolve(
        outcome,
        reference=float(best["makespan_s"]),
        reference_source=f"best hand-made schedule: {best['name']} on the {best['split']} split",
    )


@frozen
class Case:
    """One case of a suite, run in a process of its own.

    Attributes
    ----------
    name
        ``"family/name"``.
    needs
        A file or folder under the data folder without which its family is not run; or empty.
    short
        Whether it is part of the short run.
    """

    name: str
    run: Callable[[Context], Outcome]
    needs: str = ""
    time_limit_s: float = 30.0
    short: bool = False

    @property
    def family(self) -> str:
        """The part of the name before the slash."""
        return self.name.partition("/")[0]


SUITES = {
    "pipelines": "benchmarks.pipelines",
    "placement": "benchmarks.placement",
    "real": "benchmarks.real",
    "spine": "benchmarks.spine",
}
"""Module of each suite; it has ``cases(data)``."""

SHORT_LIMIT_S = 5.0
"""Time limit of every case in the short run."""


def load_suite(name: str, data: Path | None = None) -> tuple[Case, ...]:
    """Return the cases of a suite, by its name or as a module with ``cases(data)``.

    Parameters
    ----------
    data
        The folder of public data, which some suites are made from; None if not given.

    Raises
    ------
    InputError
        If there is no such suite.
    """
    if name not in SUITES and "." not in name:
        known = ", ".join(sorted(SUITES))
        raise InputError(f"no suite is named '{name}'; there are: {known}; or name a module")
    found: tuple[Case, ...] = importlib.import_module(SUITES.get(name, name)).cases(data)
    return found
