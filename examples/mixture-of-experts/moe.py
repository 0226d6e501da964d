"""Two layers of Mixtral with experts side by side: the plan beside hand-made schedules."""

from __future__ import annotations

import json
import re
from pathlib import Path

import parplan
from parplan import Plan

HERE = Path(__file__).parent
MIXTRAL = HERE.parent / "models/mixtral-8x7b.json"
LAYERS = 2


def homes_of_experts(plan: Plan) -> dict[str, list[str]]:
    """Return the devices of each layer's experts, in the order of the experts."""
    homes: dict[str, dict[int, str]] = {}
    for task in plan.schedule.task_views():
        if expert := re.match(r"(layers\.\d+)\.experts\.(\d+):forward", task.operator):
            homes.setdefault(expert[1], {})[int(expert[2])] = task.devices[0]
    return {layer: [found[e] for e in sorted(found)] for layer, found in sorted(homes.items())}


def main() -> None:
    out = Path("out")
    out.mkdir(exist_ok=True)
    config = json.loads(MIXTRAL.read_text(encoding="utf-8")) | {"num_hidden_layers": LAYERS}
    (out / "mixtral.json").write_text(json.dumps(config), encoding="utf-8")

    compared = parplan.compare(
        HERE / "moe.yaml",
        schedules=["1f1b", "interleaved-1f1b", "zb-h1", "zb-v"],
        overrides=[f"model.file={out.resolve()}/mixtral.json"],
    )
    print(parplan.show(compared))
    for layer, homes in homes_of_experts(compared.plan).items():
        print(f"{layer}: experts on {', '.join(homes)}")
    print(parplan.write_report(compared.plan, out / "plan.html"))
    print(parplan.write_comparison(compared, out / "comparison.html"))


if __name__ == "__main__":
    main()
