"""Family unequal: stages, devices, links and microbatches that differ, beside hand-made schedules.

The model is Llama-3-8B, cut down to some layers, or a pipeline of measured layers where a first one
shall be slow. The reference is the best hand-made schedule on the best split that was found for it,
in a time of its own; the plan is searched as any other, and does not know what came of that.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen

from benchmarks.cases import Case, Context, Outcome, beside_hand_made
from parplan import clock
from parplan.registry import Registry
from parplan.spec.sections import Spec

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "examples/models/llama-3-8b.json"
README_SPEC = ROOT / "examples/specs/llama-3-8b-h100-a100.yaml"

LIMIT_S = 60.0

HAND_MADE_SHARE = 0.4
"""Part of the time limit for the hand-made schedules; they seldom need as much."""

LENGTHS = (1.6, 0.4, 0.9, 0.7, 1.3, 0.5, 1.0, 1.6, 0.3, 1.1, 0.8, 1.2, 0.6, 1.4, 0.9, 1.7)
"""Lengths of sequences in those of the mean one."""


@frozen
class Mix:
    """A model on devices; ``None`` for layers means a pipeline of measured ones.

    Attributes
    ----------
    cluster
        As in a spec.
    layers, vocabulary
        Of the Llama; the head grows with the vocabulary.
    scales
        Length of each microbatch; empty: all alike.
    """

    name: str
    cluster: Mapping[str, Any]
    layers: int | None = 16
    vocabulary: int = 128_256
    microbatches: int = 16
    scales: tuple[float, ...] = ()

    def spec(self, folder: Path) -> Spec:
        """Return the spec, with the model's configuration in a file of the folder."""
        from parplan.spec.sections import parse_spec

        model = SLOW_FIRST if self.layers is None else self._llama(folder, self.layers)
        workload: dict[str, Any] = {"kind": "training", "microbatches": self.microbatches}
        if self.scales:
            workload["scales"] = list(self.scales)
        return parse_spec(
            json.dumps(
                {
                    "name": self.name,
                    "model": model,
                    "cluster": {"reserve_bytes": "4 GiB", **self.cluster},
                    "workload": workload,
                }
            )
        )

    def _llama(self, folder: Path, layers: int) -> Mapping[str, Any]:
        config = json.loads(MODEL.read_text(encoding="utf-8"))
        config |= {"num_hidden_layers": layers, "vocab_size": self.vocabulary}
        file = folder / f"{self.name}.json"
        file.write_text(json.dumps(config), encoding="utf-8")
        options = {"sequence": 8192, "microbatch": 1, "granularity": "block", "backward": "split"}
        return {"kind": "huggingface", "file": str(file), "options": options}


LAYERS = 24

SLOW_FIRST: Mapping[str, Any] = {
    "kind": "stages",
    "options": {
        "stages": LAYERS,
        "forward_s": [0.021, *[0.007] * (LAYERS - 1)],
        "backward_s": [0.024, *[0.008] * (LAYERS - 1)],
        "weight_s": [0.015, *[0.005] * (LAYERS - 1)],
        "activation_bytes": [6_000_000_000, *[1_000_000_000] * (LAYERS - 1)],
        "boundary_bytes": 64_000_000,
        "parameter_bytes": 3_000_000_000,
    },
}
"""Equal layers behind an encoder of images that takes three times as long and keeps six times as
much."""


def _devices(preset: str, count: int, name: str, **more: Any) -> Mapping[str, Any]:
    return {"preset": preset, "count": count, "name": f"{name}{{}}", "node": name, **more}


NVLINK = {"intra": {"preset": "nvlink4"}}

MIXES = (
    Mix("slow-first", {"devices": [_devices("h100-sxm-80gb", 4, "h")], **NVLINK}, layers=None),
    # A head that costs more than three layers, and an embedding that costs memory alone.
    Mix(
        "heavy-head",
        {"devices": [_devices("h100-sxm-80gb", 4, "h")], **NVLINK},
        vocabulary=256_000,
    ),
    Mix(
        "three-kinds",
        {
            "devices": [
                _devices("h100-sxm-80gb", 2, "h"),
                _devices("a100-sxm-40gb", 2, "a"),
                _devices("l40s", 2, "l"),
            ],
            "intra": {"preset": "pcie4-x16"},
            "inter": {"preset": "infiniband-hdr"},
        },
    ),
    # A transfer between the nodes takes about as long as a stage.
    Mix(
        "slow-link",
        {
            "devices": [
                _devices("h100-sxm-80gb", 2, "left"),
                _devices("h100-sxm-80gb", 2, "right"),
            ],
            **NVLINK,
            "inter": {"preset": "ethernet-10g"},
        },
    ),
    Mix("lengths", {"devices": [_devices("h100-sxm-80gb", 4, "h")], **NVLINK}, scales=LENGTHS),
    Mix(
        "straggler",
        {
            "devices": [
                _devices("h100-sxm-80gb", 2, "h", node="one"),
                _devices("h100-sxm-80gb", 1, "slow", node="one", slowdown={"compute": 1.3}),
                _devices("h100-sxm-80gb", 3, "g", node="one"),
            ],
            **NVLINK,
        },
        layers=24,
    ),
)


def cases() -> tuple[Case, ...]:
    """Return the mixes and the README's cluster; they need no public data."""
    mixes = [
        Case(
            f"unequal/{mix.name}",
            partial(mix_case, mix),
            time_limit_s=LIMIT_S,
            short=mix.name == "heavy-head",
        )
        for mix in MIXES
    ]
    return (*mixes, Case("unequal/h100-a100", readme_case, time_limit_s=2 * LIMIT_S))


def mix_case(mix: Mix, context: Context) -> Outcome:
    """Plan a mix, and find the best hand-made schedule for it."""
    with tempfile.TemporaryDirectory() as folder:
        return planned(mix.spec(Path(folder)), context)


def readme_case(context: Context) -> Outcome:
    """Plan the README's training step on H100 and A100."""
    return planned(README_SPEC, context)


def planned(source: Spec | Path, context: Context) -> Outcome:
    """Plan, and try the hand-made schedules in a time of their own; the reference is the best."""
    from parplan.api import load_registry, plan

    registry = load_registry()
    share = HAND_MADE_SHARE * context.time_limit_s
    rows = hand_made(source, registry, share)
    found = plan(source, registry=registry, time_limit_s=context.time_limit_s - share)
    return beside_hand_made(found, registry, rows, "hand_made")


def hand_made(source: Spec | Path, registry: Registry, seconds: float) -> list[dict[str, Any]]:
    """Return a row for each hand-made schedule and split, as in a plan's provenance.

    Raises
    ------
    AssertionError
        If a schedule breaks a rule.
    """
    from parplan.api import prepare
    from parplan.checking import check_schedule
    from parplan.search.hand_made.baselines import baseline_row, baselines, recipes_of
    from parplan.search.placing.blocks import find_blocks
    from parplan.search.placing.placement import Placer

    ready = prepare(source, registry=registry)
    placer = Placer(ready.problem, ready.rules, find_blocks(ready.problem, ready.rules))
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    deadline = clock.now() + seconds
    for one in baselines(placer, recipes_of(registry), deadline, ready.options.seed):
        schedule = one.expand()
        if schedule is not None and one.placer is not None:
            assert not check_schedule(schedule, one.placer.rules)
        row = baseline_row(one, schedule, None)
        rows[row["name"], row["split"]] = row
    return list(rows.values())
