"""A small decoder of PyTorch, and plans that run it on two devices together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from parplan.differentiation import Layer, Work, training_graph
from parplan.graph import Mode, ParameterGroup
from parplan.hardware import Cluster, Device
from parplan.plans import Plan
from parplan.problem import Problem
from parplan.recomputing import KEEP, RECOMPUTE
from parplan.schedule import Schedule, Tasks, Transfers
from parplan.workload import Workload

VOCABULARY, WIDTH, HEADS, LAYERS = 16, 8, 4, 2


def reads() -> dict[str, tuple[str, ...]]:
    """The modules of the decoder with what each reads; additions and attention have no weights."""
    found: dict[str, tuple[str, ...]] = {"embed": ()}
    stream = "embed"
    for i in range(LAYERS):
        layer = f"layers.{i}"
        found[f"{layer}.norm1"] = (stream,)
        for name in ("query", "key", "value"):
            found[f"{layer}.{name}"] = (f"{layer}.norm1",)
        found[f"{layer}.attention"] = tuple(f"{layer}.{n}" for n in ("query", "key", "value"))
        found[f"{layer}.out"] = (f"{layer}.attention",)
        found[f"{layer}.add1"] = (stream, f"{layer}.out")
        found[f"{layer}.norm2"] = (f"{layer}.add1",)
        found[f"{layer}.up"] = (f"{layer}.norm2",)
        found[f"{layer}.down"] = (f"{layer}.up",)
        found[f"{layer}.add2"] = (f"{layer}.add1", f"{layer}.down")
        stream = f"{layer}.add2"
    return {**found, "norm": (stream,), "head": ("norm",), "loss": ("head",)}


TENSOR: Mapping[str, str] = {
    **dict.fromkeys(("query", "key", "value", "up", "head"), "colwise"),
    **dict.fromkeys(("out", "down", "embed"), "rowwise"),
    **dict.fromkeys(("attention", "add1", "add2"), "local"),
    **dict.fromkeys(("norm1", "norm2", "norm", "loss"), "replicate"),
}
"""Styles by the last step of a module's path: weights divided, tokens whole."""

SEQUENCE: Mapping[str, str] = {**TENSOR, **dict.fromkeys(("norm1", "norm2", "norm"), "sequence")}
SHARD: Mapping[str, str] = dict.fromkeys(TENSOR, "shard")
NO_MODULE = ("attention", "add1", "add2", "loss")


def decoder_plan(
    styles: Mapping[str, str], *, recompute: tuple[str, ...] = (), devices: int = 2
) -> Plan:
    """A plan that runs each module in the mode of its style, on all devices together."""
    group = (tuple(f"g{i}" for i in range(devices)),)
    layers = [
        Layer(
            name, name, tuple(f"{r}.out" for r in before), {f"{name}.out": 4},
            Work(seconds={"*": 1.0}), Work(seconds={"*": 2.0}), None, (name,),
        )
        for name, before in reads().items()
    ]  # fmt: skip
    weights = [ParameterGroup(name, 8) for name in reads()]
    graph = training_graph("decoder", layers, weights, [], split=lambda _: False)

    def modes(module: str) -> tuple[Mode, ...]:
        style = styles[module.rpartition(".")[2]]
        base = "default" if devices == 1 else f"{style}-{devices}"
        kept = Mode(base, devices, group, {"*": 1.0})
        if module not in recompute:
            return (kept,)
        return tuple(attrs.evolve(kept, name=f"{base}/{what}") for what in (RECOMPUTE, KEEP))

    operators = tuple(attrs.evolve(o, modes=modes(o.module)) for o in graph.operators)
    operators = tuple(
        attrs.evolve(o, module="" if o.module.rpartition(".")[2] in NO_MODULE else o.module)
        for o in operators
    )
    cluster = Cluster("pair", tuple(Device(name) for name in group[0]))
    problem = Problem(
        "decoder", attrs.evolve(graph, operators=operators), cluster, Workload(microbatches=2)
    )
    return plan_with(problem, {})


def plan_with(problem: Problem, alternative_of: Mapping[str, int]) -> Plan:
    """A plan in which each operator takes an alternative, the first unless said."""
    names = [operator.name for operator in problem.graph.operators]
    tasks = [(o, k, alternative_of.get(names[o], 0), i) for i, (o, k) in enumerate(problem.tasks())]
    schedule = Schedule(problem, Tasks(*zip(*tasks, strict=True)), Transfers((), (), (), (), ()))
    return Plan(problem, schedule, {})


def decoder_model() -> Any:
    """The decoder itself, with the same weights each time."""
    import torch
    from torch import nn
    from torch.nn.functional import relu, scaled_dot_product_attention

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            # A bias of keys has no gradient but rounding errors, so there is none.
            self.query, self.key, self.value = (
                nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3)
            )
            self.out = nn.Linear(WIDTH, WIDTH)
            self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x: Any) -> Any:
            normed = self.norm1(x)
            heads = [
                part(normed).unflatten(-1, (-1, WIDTH // HEADS)).transpose(1, 2)
                for part in (self.query, self.key, self.value)
            ]
            mixed = scaled_dot_product_attention(*heads, is_causal=True)
            x = x + self.out(mixed.transpose(1, 2).flatten(2))
            return x + self.down(relu(self.up(self.norm2(x))))

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(VOCABULARY, WIDTH)
            self.layers = nn.ModuleList(Block() for _ in range(LAYERS))
            self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY)

        def forward(self, tokens: Any) -> Any:
            x = self.embed(tokens)
            for layer in self.layers:
                x = layer(x)
            return self.head(self.norm(x))

    torch.manual_seed(0)
    return Decoder()
