"""Family torch: schedules that PyTorch executes in gloo processes, with the right gradients.

The value is the largest relative difference of a parameter's gradient, over two training steps, to
the same steps in a single process.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen

from benchmarks.cases import Case, Context, Outcome
from parplan.api import compare, load_registry, plan, run_plan
from parplan.comparison import Entry
from parplan.contracts import RunRequest
from parplan.errors import InputError
from parplan.graph import Graph, Kind, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.plans import Plan
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.spec.sections import parse_spec
from parplan.workload import Workload

ROOT = Path(__file__).resolve().parent.parent

TOLERANCE = 1e-5
"""Relative difference in float32 that sums in another order explain."""

EDGES = (("source", "left"), ("source", "right"), ("left", "join"), ("right", "join"))


@frozen
class Chain:
    """A chain of blocks, and the schedule that runs it; empty: that which the search finds.

    Attributes
    ----------
    slowdown
        Of the second device.
    """

    schedule: str
    blocks: int
    devices: int
    split: bool = True
    slowdown: float = 1.0

    def spec(self) -> dict[str, Any]:
        """Return the spec; 4 microbatches for each device."""
        devices: list[dict[str, Any]] = [
            {"name": f"cpu{i}", "node": "a", "memory_bytes": "8 GB"} for i in range(self.devices)
        ]
        devices[1]["slowdown"] = {"compute": self.slowdown}
        return {
            "model": {
                "kind": "stages",
                "options": {
                    "stages": self.blocks,
                    "forward_s": 0.01,
                    "backward_s": 0.01,
                    "weight_s": 0.01,
                    "split_backward": self.split,
                    "boundary_bytes": 1024,
                },
            },
            "cluster": {
                "devices": devices,
                "intra": {"bandwidth": "10 GB/s", "latency_s": "100 us"},
            },
            "workload": {"kind": "training", "microbatches": 4 * self.devices},
            "constraints": [
                "devices",
                "links",
                "memory",
                {"placement": {"modules_together": True}},
            ],
        }


CHAINS = {
    "1f1b": Chain("1f1b", 2, 2, split=False),
    "interleaved": Chain("interleaved-1f1b", 4, 2, split=False),
    "v": Chain("zb-v", 4, 2),
    "zb-h1": Chain("zb-h1", 4, 4),
    "dualpipe-v": Chain("dualpipe-v", 4, 2),
    "planned": Chain("", 7, 3, slowdown=3.0),
}
"""By name of the case; ``v`` is the zero-bubble schedule on V-shaped stages."""


def cases(_: Path | None = None) -> tuple[Case, ...]:
    """Return a case for each schedule; the first is the short one."""
    chains = [
        Case(f"torch/{name}", partial(chain_case, chain), short=name == "1f1b", time_limit_s=5.0)
        for name, chain in CHAINS.items()
    ]
    return (*chains, Case("torch/graph", graph_case, time_limit_s=5.0))


def chain_case(chain: Chain, context: Context) -> Outcome:
    """Train a chain of blocks by a schedule."""
    registry = load_registry()
    spec = parse_spec(json.dumps(chain.spec()))
    if not chain.schedule:
        made = plan(spec, registry=registry, time_limit_s=context.time_limit_s)
    else:
        found = compare(
            spec,
            schedules=[chain.schedule],
            registry=registry,
            time_limit_s=context.time_limit_s,
        )
        made = _schedule(chain.schedule, found.entries)
    return _trained(made, f"chain{chain.blocks}", registry)


def _schedule(name: str, entries: Sequence[Entry]) -> Plan:
    for entry in entries:
        if entry.plan is not None and entry.plan.provenance.get("strategy") == name:
            return entry.plan
    raise InputError(f"schedule '{name}' was not made: {[entry.note for entry in entries]}")


def graph_case(context: Context) -> Outcome:
    """Train two branches between a block that feeds both and one that reads both."""
    registry = load_registry()
    made = plan(_diamond(), registry=registry, time_limit_s=context.time_limit_s)
    return _trained(made, "diamond", registry)


def _diamond() -> Problem:
    names = dict.fromkeys(name for edge in EDGES for name in edge)
    operators, tensors = [], []
    for device, name in enumerate(names):
        place = ((f"cpu{device}",),)
        backward = f"{name}:backward"
        operators += [
            Operator(name, modes=(Mode(groups=place, seconds={"*": 0.01}),)),
            Operator(backward, Kind.BACKWARD, modes=(Mode(groups=place, seconds={"*": 0.02}),)),
        ]
        readers = tuple(b for a, b in EDGES if a == name)
        tensors.append(Tensor(f"{name}.out", name, (*readers, backward), 1024))
    tensors += [Tensor(f"{a}<{b}", f"{b}:backward", (f"{a}:backward",), 1024) for a, b in EDGES]
    spots = [f"cpu{device}" for device in range(len(names))]
    links = tuple(
        Link(f"{a}>{b}", a, b, 1e10, latency_s=1e-4) for a in spots for b in spots if a != b
    )
    cluster = Cluster("host", tuple(Device(spot) for spot in spots), links)
    graph = Graph("diamond", tuple(operators), tuple(tensors))
    return Problem("diamond", graph, cluster, Workload(microbatches=8), tick_s=1e-5)


def _trained(made: Plan, model: str, registry: Registry) -> Outcome:
    request = RunRequest(
        f"benchmarks.blocks_to_train:{model}", str(ROOT), steps=2, check_gradients=True
    )
    recording = run_plan(made, request, registry=registry)
    worst = max(recording.gradient_differences.values())
    if worst > TOLERANCE:
        raise InputError(f"gradients differ by {worst:.2g} from those of a single process")
    return Outcome(
        value=worst,
        reference=TOLERANCE,
        reference_source="difference that float32 explains",
        details={
            "unit": "relative",
            "processes": len(recording.devices),
            "stages": len({span.operators for span in recording.spans if span.action == "F"}),
            "actions": sum(1 for span in recording.spans if span.action != "wait"),
            "parameters": len(recording.gradient_differences),
            "losses": list(recording.losses),
        },
    )
