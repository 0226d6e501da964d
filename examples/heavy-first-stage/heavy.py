"""A pipeline whose first stage is heavy: planned and uniform splits, both emulated by processes."""

from __future__ import annotations

from pathlib import Path

import parplan
from parplan import Plan

SPEC = Path(__file__).with_name("stages.yaml")
STEPS = 2


def split_of(plan: Plan) -> str:
    """Return how many stages of the table each device runs."""
    homes: dict[str, set[str]] = {}
    for task in plan.schedule.task_views():
        homes.setdefault(task.devices[0], set()).add(task.operator.split(":")[0])
    return "+".join(str(len(homes[device])) for device in sorted(homes))


def measured_s(plan: Plan) -> float:
    """Return the faster step of processes that sleep as long as the plan's stages compute."""
    recording = parplan.run_plan(plan, parplan.RunRequest(steps=STEPS))
    return min(recording.step_seconds(step) for step in recording.steps)


def main() -> None:
    compared = parplan.compare(SPEC, schedules=["1f1b", "zb-h1"])
    print(parplan.show(compared))
    plans = {"planned": compared.plan}
    for entry in compared.entries:  # the best comes first
        if entry.split == "uniform" and entry.plan is not None:
            plans.setdefault("uniform", entry.plan)
    times = {name: (plan.value, measured_s(plan)) for name, plan in plans.items()}

    print(f"{'':10}{'split':>10}{'planned':>12}{'measured':>12}")
    for name, (planned, measured) in times.items():
        print(f"{name:10}{split_of(plans[name]):>10}{planned:>10.3f} s{measured:>10.3f} s")
    gains = [slow / fast - 1 for slow, fast in zip(times["uniform"], times["planned"], strict=True)]
    print(f"gain: {gains[0]:.0%} planned, {gains[1]:.0%} measured")


if __name__ == "__main__":
    main()
