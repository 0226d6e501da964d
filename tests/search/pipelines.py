"""Even pipelines with free transfers, on which published figures of schedules can be met."""

from __future__ import annotations

from random import Random

from parplan.graph import Graph, Kind, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.problem import Problem
from parplan.workload import Workload


def drawn_times(rng: Random, stages: int) -> list[tuple[float, float, float]]:
    """Return whole seconds of the forward, backward and weight pass of some stages."""
    return [
        (float(rng.randint(1, 4)), float(rng.randint(1, 4)), float(rng.randint(1, 4)))
        for _ in range(stages)
    ]


def even_pipeline(
    stages: int,
    devices: int,
    microbatches: int,
    times: tuple[float, float, float] = (1.0, 1.0, 1.0),
    *,
    memory: int | None = None,
    delay: float = 0.0,
    groups: tuple[int, ...] = (),
    tick_s: float = 1.0,
) -> Problem:
    """Return blocks of one forward, one backward and one weight pass, all alike.

    A stage keeps one byte of each microbatch from its forward to its weight pass; nothing else has
    a size, and links take no time but their delay.
    """
    operators, tensors = [], []
    for s in range(stages):
        for letter, kind, seconds in zip(
            "fbw", (Kind.FORWARD, Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT), times, strict=True
        ):
            mode = Mode(seconds={"*": seconds})
            operators.append(
                Operator(f"{letter}{s}", kind, 1.0, module=f"stages.{s}", modes=(mode,))
            )
        tensors.append(Tensor(f"saved{s}", f"f{s}", (f"b{s}", f"w{s}"), 1))
        if s + 1 < stages:
            tensors.append(Tensor(f"x{s}", f"f{s}", (f"f{s + 1}",), 0))
        tensors.append(Tensor(f"g{s}", f"b{s}", (*((f"b{s - 1}",) if s else ()), f"w{s}"), 0))
    spots = [f"g{d}" for d in range(devices)]
    return Problem(
        "even",
        Graph("even", tuple(operators), tuple(tensors)),
        Cluster(
            "equal",
            tuple(Device(spot, memory_bytes=memory, peak_flops={"bf16": 1.0}) for spot in spots),
            tuple(
                Link(f"{a}>{b}", a, b, float("inf"), latency_s=delay, capacity=None)
                for a in spots
                for b in spots
                if a != b
            ),
        ),
        Workload(microbatches=microbatches, groups=groups),
        tick_s=tick_s,
    )
