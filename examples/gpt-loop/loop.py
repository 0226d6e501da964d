"""Plan on wrong costs, run, calibrate, plan again, run again: the second plan is faster.

Exits with 1 if it is not.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import parplan
from parplan.measuring.differences import Differences, find_differences
from parplan.text import seconds_text

HERE = Path(__file__).resolve().parent
SPEC = HERE / "spec.yaml"


def run(plan: parplan.Plan, steps: int, *, check_gradients: bool = False) -> parplan.Recording:
    """Train the GPT of ``gpt.py`` by a plan, one process for each device."""
    request = parplan.RunRequest(
        "gpt:training", str(HERE), steps=steps, check_gradients=check_gradients
    )
    return parplan.run_plan(plan, request)


def tell(name: str, plan: parplan.Plan, recording: parplan.Recording) -> Differences:
    """Print planned and measured makespan of a run, and what came first too late."""
    found = find_differences(plan, recording)
    planned, took = map(seconds_text, (found.planned_makespan_s, found.makespan_s))
    print(f"{name} plan: {took} a step, planned {planned}")
    if found.late is not None:
        print(f"  first late: {found.late.run}: {found.late.reason}")
    return found


def main() -> int:
    """Go round the loop once and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3, help="training steps of each run")
    parser.add_argument("--folder", type=Path, default=Path(), help="where costs.json goes")
    options = parser.parse_args()

    first = parplan.plan(SPEC)
    first_run = run(first, options.steps)
    before = tell("first", first, first_run)

    costs = options.folder.resolve() / "costs.json"
    parplan.save_costs(parplan.calibrate([first_run], first), costs)
    measured = f"costs=[{{measured: {{file: {costs}}}}}, measured]"
    second = parplan.plan(SPEC, overrides=[measured])
    second_run = run(second, options.steps, check_gradients=True)
    after = tell("second", second, second_run)

    worst = max(second_run.gradient_differences.values())
    print(f"losses: {', '.join(f'{loss:.4f}' for loss in second_run.losses)}")
    print(f"gradients differ from those of a single process by {worst:.1g} at most, relatively")
    print(
        f"the second plan takes {after.makespan_s / before.makespan_s:.0%} of the first one's time"
    )
    return 0 if after.makespan_s < before.makespan_s and worst <= 1e-5 else 1


if __name__ == "__main__":
    sys.exit(main())
