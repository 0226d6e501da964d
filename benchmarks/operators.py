"""Family operators: whole models operator by operator, and random layered graphs up to 100,000.

The models run forward and backward on two unequal nodes of eight devices each. Operators are those
of granularity ``operator`` (a product, norm or attention each), times microbatches.
"""

from __future__ import annotations

import json
import random
from functools import partial
from pathlib import Path
from typing import Any

from attrs import field, frozen

from benchmarks.cases import Case, Context, Outcome
from parplan.api import load_registry, plan
from parplan.graph import Graph, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.plans import Plan
from parplan.problem import Problem
from parplan.spec.sections import Spec, parse_spec
from parplan.workload import Workload, WorkloadKind

PER_NODE = 8
"""Devices of each of the two nodes."""

SIZES = {1_000: 15.0, 10_000: 30.0, 100_000: 55.0}
"""Operators of the layered graphs, and their time limits in seconds."""

DEGREE = 3
"""Most inputs of an operator of a layered graph."""


@frozen
class Model:
    """A model on two nodes.

    Attributes
    ----------
    config
        Its file in the public data.
    nodes
        Presets of device, links inside and links outside, of both nodes.
    options
        Of the importer. Without bytes for the optimizer its state is kept elsewhere: weights and
        gradients alone fit on 16 devices.
    """

    config: str
    microbatches: int
    nodes: tuple[tuple[str, str, str], tuple[str, str, str]]
    options: dict[str, Any] = field(factory=dict)


H100 = ("h100-sxm-80gb", "nvlink4", "infiniband-ndr")
A100 = ("a100-sxm-80gb", "nvlink3", "infiniband-hdr")
B200 = ("b200-sxm-180gb", "nvlink5", "infiniband-ndr")
H200 = ("h200-sxm-141gb", "nvlink4", "infiniband-ndr")

MODELS = {
    "llama3-8b": Model("llama-3-8b", 8, (H100, A100)),
    "llama3-70b": Model("llama-3-70b", 14, (H100, A100), {"optimizer_bytes": 0}),
    "llama3-405b": Model("llama-3.1-405b", 8, (B200, H200), {"optimizer_bytes": 0}),
}
"""5,259, 22,689 and 20,487 tasks."""


def cases(_: Path | None = None) -> tuple[Case, ...]:
    """Return a case for each model and each size of layered graphs."""
    models = [
        Case(
            f"operators/{name}",
            partial(model_case, model),
            needs=f"configs/{model.config}.json",
            time_limit_s=50.0,
        )
        for name, model in MODELS.items()
    ]
    layered = [
        Case(
            f"operators/layered-{size}",
            partial(layered_case, size),
            time_limit_s=limit,
            short=size == min(SIZES),
        )
        for size, limit in SIZES.items()
    ]
    return (*models, *layered)


def model_case(model: Model, context: Context) -> Outcome:
    """Plan a model, and tell when its first checked plan was there."""
    spec = model_spec(model, context.file(f"configs/{model.config}.json"))
    registry = load_registry()
    found = plan(spec, registry=registry, time_limit_s=context.time_limit_s)
    return Outcome(plan=found, registry=registry, details=_details(found))


def layered_case(size: int, context: Context) -> Outcome:
    """Plan a layered graph, and tell when its first checked plan was there."""
    registry = load_registry()
    found = plan(
        layered_graph(size, seed=size), registry=registry, time_limit_s=context.time_limit_s
    )
    return Outcome(plan=found, registry=registry, details=_details(found))


def _details(found: Plan) -> dict[str, Any]:
    """Return how many tasks there are, and the improvements with their seconds."""
    history = found.provenance["history"]
    first = float(history[0][0])
    tasks = found.problem.task_count
    return {
        "tasks": tasks,
        "seconds_to_first_plan": first,
        "microseconds_per_task": 1e6 * first / tasks,
        "history": [list(row) for row in history],
    }


def model_spec(model: Model, config: Path) -> Spec:
    """Return the spec of a model, with sequences of 4,096 tokens and split backward passes."""
    names = ("first", "second")
    options = {
        "sequence": 4096,
        "microbatch": 1,
        "granularity": "operator",
        "backward": "split",
        **model.options,
    }
    return parse_spec(
        json.dumps(
            {
                "name": model.config,
                "model": {
                    "kind": "huggingface",
                    "file": str(config.resolve()),
                    "options": options,
                },
                "cluster": {
                    "devices": [
                        {"preset": device, "count": PER_NODE, "node": name, "name": f"{name}{{}}"}
                        for name, (device, _, _) in zip(names, model.nodes, strict=True)
                    ],
                    "inter": {"preset": model.nodes[0][2]},
                    "nodes": {
                        name: {"intra": {"preset": intra}, "inter": {"preset": inter}}
                        for name, (_, intra, inter) in zip(names, model.nodes, strict=True)
                    },
                    "reserve_bytes": "2 GiB",
                },
                "workload": {"kind": "training", "microbatches": model.microbatches},
            }
        )
    )


def layered_graph(size: int, seed: int) -> Problem:
    """Return a random graph of about as many layers as operators in each, on two unequal nodes.

    An operator reads one to three tensors of the layer before; it takes 50 to 500 us on a fast
    device and 1.5 to 2.5 times as long on a slow one; tensors have 1 to 20 MB. The nodes share a
    link of 50 GB/s in each direction.
    """
    chance = random.Random(seed)
    width = int(size**0.5)
    operators, readers = [], [list[str]() for _ in range(size)]
    for i in range(size):
        fast = chance.uniform(50e-6, 500e-6)
        seconds = {"fast": fast, "slow": fast * chance.uniform(1.5, 2.5)}
        operators.append(Operator(f"o{i}", modes=(Mode(seconds=seconds),)))
        before = (i // width - 1) * width
        if before >= 0:
            for producer in chance.sample(range(before, before + width), chance.randint(1, DEGREE)):
                readers[producer].append(f"o{i}")
    tensors = tuple(
        Tensor(f"t{i}", f"o{i}", tuple(row), chance.randrange(1_000_000, 20_000_000))
        for i, row in enumerate(readers)
        if row
    )
    graph = Graph(f"layered-{size}", tuple(operators), tensors)
    workload = Workload(WorkloadKind.INFERENCE)
    return Problem(f"layered-{size}", graph, two_nodes(), workload, tick_s=1e-7)


def two_nodes() -> Cluster:
    """Return eight fast and eight slow devices, each node behind a switch."""
    devices, links = [], []
    for node, kind in enumerate(("fast", "slow")):
        for i in range(PER_NODE):
            name = f"{kind}{i}"
            devices.append(Device(name, kind, memory_bytes=80 * 10**9))
            links.append(Link(f"{name} out", name, f"switch{node}", 450e9, 3e-6))
            links.append(Link(f"{name} in", f"switch{node}", name, 450e9, 3e-6))
    links.append(Link("there", "switch0", "switch1", 50e9, 5e-6))
    links.append(Link("back", "switch1", "switch0", 50e9, 5e-6))
    return Cluster("two nodes", tuple(devices), tuple(links), switches=("switch0", "switch1"))
