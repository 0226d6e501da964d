"""Runs one case in this process and leaves its figures in a file; started by the runner."""

from __future__ import annotations

import json
import platform
import resource
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.cases import Context, Outcome, load_suite
from parplan.clock import CLOCK


def main(request: dict[str, Any]) -> None:
    """Run the case that is asked for and write the figures that the runner puts into its row."""
    data = None if request["data"] is None else Path(request["data"])
    case = next(c for c in load_suite(request["suite"], data) if c.name == request["case"])
    outcome = case.run(Context(data, float(request["time_limit_s"])))
    row = {
        "status": "measured",
        "value": outcome.value,
        "bound": outcome.bound,
        "reference": outcome.reference,
        "reference_source": outcome.reference_source,
        "compile_seconds": CLOCK.stopped_s,
        "solver": outcome.solver,
        "versions": versions(),
        "details": dict(outcome.details),
    }
    if outcome.plan is not None:
        row.update(kept(outcome, Path(request["plan"]), row["details"]))
    row["peak_mib"] = peak_mib()
    Path(request["result"]).write_text(json.dumps(row, allow_nan=False), encoding="utf-8")


def kept(outcome: Outcome, path: Path, details: Any) -> dict[str, Any]:
    """Save the plan and return the figures that its file holds, after checking it."""
    from parplan.api import check, unit_of
    from parplan.figures.plan import figures_of, json_figures
    from parplan.plan_files.plan_file import load_plan, save_plan

    assert outcome.plan is not None
    save_plan(outcome.plan, path)
    plan = load_plan(path)
    violations = check(plan, registry=outcome.registry)
    if violations:
        found = [violation.message for violation in violations[:3]]
        return {"status": "refused", "plan": str(path), "details": {"violations": found}}
    figures = json_figures(figures_of(plan, unit_of(plan, outcome.registry)))
    proven = plan.bound if plan.bound is not None and plan.bound.scope == "problem" else None
    return {
        "status": plan.status,
        "value": plan.value,
        "bound": None if proven is None else proven.value,
        "gap": plan.gap,
        "solver": plan.solver,
        "plan": str(path),
        "details": {
            **details,
            "bound_source": None if proven is None else proven.source,
            "bubble": figures["bubble"],
            "peak_memory": figures["peak_memory"],
        },
    }


def peak_mib() -> float:
    """Return an upper bound of the most memory held: this process and its largest child."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return (own + children) / unit


def versions() -> dict[str, str]:
    """Return the versions behind a row."""
    names = ("parplan", "pyomo", "ortools", "highspy", "numpy", "networkx")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
