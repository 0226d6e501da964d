"""Llama-3-8B on unlike GPUs: what stages of unlike size gain over uniform ones, and what binds."""

from __future__ import annotations

from pathlib import Path

import parplan
from parplan import Plan

SPEC = Path(__file__).with_name("uneven.yaml")


def layers_of(plan: Plan) -> dict[str, int]:
    """Return how many decoder layers each device runs."""
    homes = {
        task.operator.split(":")[0]: task.devices[0]
        for task in plan.schedule.task_views()
        if task.operator.startswith("layers.")
    }
    names = [device.name for device in plan.problem.cluster.devices]
    return {name: list(homes.values()).count(name) for name in names}


def main() -> None:
    compared = parplan.compare(SPEC, schedules=["1f1b", "zb-h1"])
    print(parplan.show(compared))
    print(parplan.show(parplan.explain(compared.plan)))

    plans = {"planned": compared.plan}
    for entry in compared.entries:  # the best comes first
        if entry.split == "uniform" and entry.plan is not None:
            plans.setdefault("uniform", entry.plan)
    for name, plan in plans.items():
        layers = ", ".join(f"{device} {count}" for device, count in layers_of(plan).items())
        print(f"{name:8} {plan.value:6.3f} s   layers: {layers}")
    print(f"gain over uniform stages: {plans['uniform'].value / compared.plan.value - 1:.0%}")


if __name__ == "__main__":
    main()
