"""Layers of a mixture of experts at operator level, in whole seconds and without bytes."""

from __future__ import annotations

from attrs import frozen

from parplan.graph import Graph, Kind, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.problem import Problem
from parplan.workload import Workload

COMPUTE, EXCHANGE = ("compute",), ("collective",)


@frozen
class LayerTimes:
    """Seconds of attention, experts and one exchange, in every pass that has them."""

    attention: float = 3.0
    experts: float = 3.0
    exchange: float = 2.0

    @property
    def compute(self) -> float:
        """Seconds that one microbatch computes in one layer."""
        return 3 * (self.attention + self.experts)


def mixture_pipeline(
    layers: int, devices: int, microbatches: int, times: LayerTimes | None = None
) -> Problem:
    """Return a pipeline of layers that exchange tokens twice forward and twice backward."""
    given = times or LayerTimes()
    seconds = {
        "attention": given.attention,
        "dispatch": given.exchange,
        "experts": given.experts,
        "combine": given.exchange,
    }
    operators, tensors = [], []
    names = [(i, part) for i in range(layers) for part in seconds]
    for i, part in names:
        engines = EXCHANGE if part in ("dispatch", "combine") else COMPUTE
        mode = Mode(seconds={"*": seconds[part]}, engines=engines)
        kinds = [Kind.FORWARD, Kind.BACKWARD_INPUT]
        if engines == COMPUTE:
            kinds.append(Kind.BACKWARD_WEIGHT)
        operators += [
            Operator(_name(i, part, kind), kind, module=f"layers.{i}.{part}", modes=(mode,))
            for kind in kinds
        ]
    for number, (i, part) in enumerate(names):
        forward, backward = (_name(i, part, k) for k in (Kind.FORWARD, Kind.BACKWARD_INPUT))
        after = [_name(*names[number + 1], Kind.FORWARD)] if number + 1 < len(names) else []
        last = [] if after else [backward]
        tensors.append(Tensor(f"{i}.{part}", forward, (*after, *last), 0))
        before = [_name(*names[number - 1], Kind.BACKWARD_INPUT)] if number else []
        weight = _name(i, part, Kind.BACKWARD_WEIGHT)
        readers = [weight] if part in ("attention", "experts") else []
        tensors.append(Tensor(f"{i}.{part}:gradient", backward, (*before, *readers), 0))
    spots = [f"g{d}" for d in range(devices)]
    return Problem(
        "mixture",
        Graph("mixture", tuple(operators), tuple(tensors)),
        Cluster(
            "equal",
            tuple(Device(spot) for spot in spots),
            tuple(Link(f"{a}>{b}", a, b, 1.0) for a in spots for b in spots if a != b),
        ),
        Workload(microbatches=microbatches),
        tick_s=1.0,
    )


def _name(layer: int, part: str, kind: Kind) -> str:
    return f"layers.{layer}.{part}:{kind.value}"
