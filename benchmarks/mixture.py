"""Family moe: DeepSeek-V3's shape at operator level, planned and beside hand-made schedules.

Every pipeline device stands for one rank of a group that divides the experts; see
``parplan.plugins.importers.analytic.expert_parallel``. A layer stays on one device; everything
else, which layers go where and what runs when, is for the planner to find. The hand-made schedules
stand under the same costs: 1F1B and ZB-H1 run the operators of a pass one after another, DualPipe's
pairs run theirs side by side as soon as inputs and engines allow. DualPipe holds its parameters
twice, and so may the plan.

Memory is no device's own: with all layers, and without recomputation, none of the three would fit
80 GB at 4,096 tokens. So it is either not limited, and the peak of each is told; or, in cases whose
name ends with ``-dualpipe-memory``, every device has what the best DualPipe needs where it needs
most. That one is looked for again in the memory of the one before it, until none that is as good
needs less.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen

from benchmarks.cases import Case, Context, Outcome
from parplan import clock
from parplan.api import compare, load_registry, prepare
from parplan.checking import check_schedule
from parplan.comparison import Comparison
from parplan.errors import InfeasibleError
from parplan.figures.usage import summary
from parplan.registry import Registry
from parplan.schedule import Schedule
from parplan.search.hand_made.baselines import baselines, recipes_of, title
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.placement import Placer
from parplan.spec.sections import parse_spec

HAND_MADE = ("1f1b", "zb-h1", "dualpipe")

DEEPSEEK_V3: Mapping[str, Any] = {
    "model_type": "deepseek_v3",
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
    "vocab_size": 129280,
    "max_position_embeddings": 163840,
}
"""The published config.json of DeepSeek-V3, as far as it is read."""

NETWORK: Mapping[str, Any] = {
    "bandwidth": 50e9,
    "latency_s": 5e-6,
    "copies": 4,
    "dispatch": "fp8",
    "combine": "bf16",
}
"""400 Gbit/s InfiniBand per rank; each token goes to at most 4 nodes, fp8 there and bf16 back
(DeepSeek-V3, arXiv 2412.19437, sections 2.1.2, 3.2.2 and 3.3). The latency is assumed."""


@frozen
class Setup:
    """A model cut down to some layers, on some devices, in groups of some ranks.

    Attributes
    ----------
    equal_memory
        Whether a device has no more memory than DualPipe needs; else it has plenty.
    """

    layers: int
    dense: int
    devices: int
    degree: int
    microbatches: int
    equal_memory: bool = False

    def spec(self, model: Path, memory_bytes: int) -> str:
        """Return the spec, with the model's configuration in a file.

        Microbatches may take turns in two placements, as DualPipe's do; each is a copy of the
        parameters, unless they are the same.
        """
        layers = [[f"layers.{i}.*"] for i in range(self.layers)]
        device = {
            "preset": "h100-sxm-80gb",
            "count": self.devices,
            "name": "d{}",
            "node": "cluster",
            "memory_bytes": memory_bytes,
        }
        options = {
            "sequence": 4096,
            "granularity": "block",
            "expert_parallel": {**NETWORK, "degree": self.degree},
        }
        return json.dumps(
            {
                "name": model.stem,
                "model": {"kind": "huggingface", "file": str(model), "options": options},
                "cluster": {"devices": [device], "intra": {"preset": "infiniband-ndr"}},
                "workload": {
                    "kind": "training",
                    "microbatches": self.microbatches,
                    "groups": min(2, self.devices),
                },
                "constraints": [{"placement": {"together": layers}}],
            }
        )

    def config(self) -> dict[str, Any]:
        """Return DeepSeek-V3's configuration with these layers, and four experts per rank."""
        return {
            **DEEPSEEK_V3,
            "num_hidden_layers": self.layers,
            "first_k_dense_replace": self.dense,
            "n_routed_experts": 4 * self.degree,
        }


SETUPS = {
    "one-layer": Setup(1, 0, 1, 8, 4),
    "4-stages-8-ranks": Setup(8, 0, 4, 8, 16),
    "4-stages-8-ranks-dualpipe-memory": Setup(8, 0, 4, 8, 16, equal_memory=True),
    "deepseek-v3-m32": Setup(61, 3, 16, 64, 32),
    "deepseek-v3-m32-dualpipe-memory": Setup(61, 3, 16, 64, 32, equal_memory=True),
    "deepseek-v3-m64": Setup(61, 3, 16, 64, 64),
}
PLENTY = 4 * 10**12
"""Bytes of a device that no schedule fills."""

MEMORY_SHARE = 0.35
"""Part of the time limit in which DualPipe is made alone, to know what it needs."""

LEAST_SHARE = 0.5
"""Part of it that the comparison has in any case."""

MEMORY_ROUNDS = 3
"""Most times that DualPipe is made, each time in the memory of the best one before."""

LARGE_S = 300.0
"""Time limit of the cases with all layers."""


def cases(_: Path | None = None) -> tuple[Case, ...]:
    """Return the cases of the family; it needs no public data."""
    return tuple(
        Case(
            f"moe/{name}",
            partial(mixture_case, name, setup),
            time_limit_s=LARGE_S if setup.layers > SETUPS["4-stages-8-ranks"].layers else 60.0,
            short=setup.layers == 1,
        )
        for name, setup in SETUPS.items()
    )


def mixture_case(name: str, setup: Setup, context: Context) -> Outcome:
    """Compare the plan found with the hand-made schedules; the reference is the best of them."""
    registry = load_registry()
    until = clock.now() + context.time_limit_s
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / f"{name}.json"
        model.write_text(json.dumps(setup.config()), encoding="utf-8")
        planned = partial(compared, setup, model, registry)
        memory = PLENTY
        rows: list[dict[str, Any]] = []
        if setup.equal_memory:
            dualpipe = best_dualpipe(setup, model, registry, MEMORY_SHARE * context.time_limit_s)
            memory = dualpipe["peak_bytes"]
            rows.append(dualpipe | {"note": "its peak is the memory of every device"})
        left = max(until - clock.now(), LEAST_SHARE * context.time_limit_s)
        found = planned(memory, HAND_MADE, left)
    rows = [*table(found), *rows]
    made = [row for row in rows if row["split"] and "makespan_s" in row]
    best = min(made, key=lambda row: float(row["makespan_s"]), default=None)
    return Outcome(
        plan=found.plan,
        registry=registry,
        reference=None if best is None else float(best["makespan_s"]),
        reference_source=None
        if best is None
        else f"best of {', '.join(HAND_MADE)}: {best['schedule']} on the {best['split']} split",
        details={
            "schedules": rows,
            "device": "one rank of an expert-parallel group",
            "memory_bytes": memory,
        },
    )


def best_dualpipe(
    setup: Setup, model: Path, registry: Registry, time_limit_s: float
) -> dict[str, Any]:
    """Return the row of the best DualPipe found; of equally long ones, that with the least peak.

    Each round has the memory of the best one before it, and as much of the time as the others.

    Raises
    ------
    InfeasibleError
        If no DualPipe fits the setup at all.
    """
    best: dict[str, Any] | None = None
    for _ in range(MEMORY_ROUNDS):
        memory = PLENTY if best is None else best["peak_bytes"]
        rows = dualpipes(setup.spec(model, memory), registry, time_limit_s / MEMORY_ROUNDS)
        found = min(rows, key=_length_and_peak, default=None)
        if found is None or (best and _length_and_peak(found) >= _length_and_peak(best)):
            break
        best = found
        if best["peak_bytes"] == memory:
            break
    if best is None:
        raise InfeasibleError("no DualPipe was made; give it more microbatches or more time")
    return best


def _length_and_peak(row: Mapping[str, Any]) -> tuple[float, int]:
    return row["makespan_s"], row["peak_bytes"]


def dualpipes(source: str, registry: Registry, time_limit_s: float) -> list[dict[str, Any]]:
    """Return a row for each DualPipe that is made of a spec and keeps its rules."""
    ready = prepare(parse_spec(source), registry=registry)
    placer = Placer(ready.problem, ready.rules, find_blocks(ready.problem, ready.rules))
    recipes, deadline = recipes_of(registry, ("dualpipe",)), clock.now() + time_limit_s
    rows = []
    for one in baselines(placer, recipes, deadline, ready.options.seed):
        schedule = one.expand()
        if schedule is not None and not check_schedule(schedule, ready.rules):
            row = {"schedule": title(one), "split": one.split, "note": one.remark}
            rows.append(row | figures(schedule))
    return rows


def compared(
    setup: Setup,
    model: Path,
    registry: Registry,
    memory_bytes: int,
    schedules: Sequence[str],
    time_limit_s: float,
) -> Comparison:
    """Return the plan of a setup beside hand-made schedules, on devices of so much memory."""
    spec = parse_spec(setup.spec(model, memory_bytes))
    return compare(spec, schedules=schedules, registry=registry, time_limit_s=time_limit_s)


def table(comparison: Comparison) -> list[dict[str, Any]]:
    """Return a row for each schedule of a comparison, the plan's first, then better ones first."""
    return [
        {"schedule": entry.name, "split": entry.split, "note": entry.note}
        | ({} if entry.plan is None else figures(entry.plan.schedule))
        for entry in comparison.entries
    ]


def figures(schedule: Schedule) -> dict[str, Any]:
    """Return makespan, exposed communication and bubble (means over devices), and the peak."""
    uses = summary(schedule)
    return {
        "makespan_s": uses.makespan_s,
        "exposed_communication_s": uses.exposed_s,
        "exposed_share": uses.exposed_s / uses.makespan_s,
        "bubble": uses.bubble,
        "peak_bytes": max(device.peak_bytes for device in uses.devices),
    }
