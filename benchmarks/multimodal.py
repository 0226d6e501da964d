"""Family multimodal: models that branch, beside the best chain-shaped pipeline.

CLIP has two towers that meet in the loss, LLaVA a vision tower beside a table of tokens, T5 a
decoder whose every layer reads the encoder's result, and Switch Transformers experts that stand
side by side. T5 and Switch have copies of their embedding, as pipelines of them do. The reference
is the best hand-made schedule on the same graph under the same costs and rules: its blocks in
topological order, cut into contiguous stages, on the best split that was found for each recipe
(1F1B, zero bubble, interleaved and others). It has a time of its own, and the plan does not know
what came of it. Nothing keeps a chain's stages waiting for what they do not read: a stage of the
second tower starts as early as its order allows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from attrs import field, frozen

from benchmarks.cases import Case, Context, Outcome
from benchmarks.unequal import planned
from parplan.spec.sections import Spec, parse_spec

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "examples/models"

LIMIT_S = 60.0

NVLINK = {"intra": {"preset": "nvlink3"}}
PCIE = {"intra": {"preset": "pcie4-x16"}, "inter": {"preset": "infiniband-hdr"}}


def _devices(preset: str, count: int, name: str) -> Mapping[str, Any]:
    return {"preset": preset, "count": count, "name": f"{name}{{}}", "node": name}


@frozen
class Setup:
    """A model of the examples on a cluster.

    Attributes
    ----------
    options
        Of the importer.
    cluster
        As in a spec.
    """

    name: str
    model: str
    cluster: Mapping[str, Any]
    microbatches: int
    options: Mapping[str, Any] = field(factory=dict)
    short: bool = False

    def spec(self) -> Spec:
        """Return the spec of a training step."""
        file = str(MODELS / f"{self.model}.json")
        return parse_spec(
            json.dumps(
                {
                    "name": self.name,
                    "model": {"kind": "huggingface", "file": file, "options": dict(self.options)},
                    "cluster": {"reserve_bytes": "2 GiB", **self.cluster},
                    "workload": {"kind": "training", "microbatches": self.microbatches},
                }
            )
        )


SETUPS = (
    Setup(
        "clip-4",
        "clip-vit-base-patch32",
        {
            "devices": [_devices("a100-sxm-40gb", 2, "a"), _devices("l40s", 2, "l")],
            **PCIE,
        },
        8,
        {"microbatch": 256},
        short=True,
    ),
    Setup(
        "clip-6",
        "clip-vit-base-patch32",
        {
            "devices": [_devices("a100-sxm-40gb", 4, "a"), _devices("l40s", 2, "l")],
            **PCIE,
        },
        12,
        {"microbatch": 256},
    ),
    Setup(
        "llava-8",
        "llava-1.5-7b",
        {
            "devices": [_devices("h100-sxm-80gb", 4, "h"), _devices("a100-sxm-80gb", 4, "a")],
            **NVLINK,
            "inter": {"preset": "infiniband-hdr"},
        },
        16,
        {"sequence": 2048, "microbatch": 1},
    ),
    Setup(
        "t5-4",
        "t5-base",
        {
            "devices": [_devices("a100-sxm-40gb", 2, "a"), _devices("l40s", 2, "l")],
            **PCIE,
        },
        8,
        {"microbatch": 16, "tied": "replicas"},
    ),
    Setup(
        "switch-6",
        "switch-base-8",
        {
            "devices": [_devices("a100-sxm-40gb", 4, "a"), _devices("l40s", 2, "l")],
            **PCIE,
        },
        8,
        {"microbatch": 16, "tied": "replicas", "experts": "branches"},
    ),
)


def cases(_: Path | None = None) -> tuple[Case, ...]:
    """Return the cases, which need no public data."""
    return tuple(
        Case(
            f"multimodal/{setup.name}",
            partial(setup_case, setup),
            time_limit_s=LIMIT_S,
            short=setup.short,
        )
        for setup in SETUPS
    )


def setup_case(setup: Setup, context: Context) -> Outcome:
    """Plan a model, and find the best chain-shaped pipeline for it in a time of its own."""
    return planned(setup.spec(), context)
