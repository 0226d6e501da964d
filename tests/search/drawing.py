"""Problems drawn for the search: training pipelines that merge, on unequal devices with rules."""

from __future__ import annotations

import attrs
from hypothesis import strategies as st

from parplan.graph import Graph, Kind, Mode, Operator, ParameterGroup, Repeat, Tensor
from parplan.problem import Problem
from parplan.workload import Workload
from tests.strategies import clusters


@st.composite
def pipeline_graphs(draw: st.DrawFn, most_blocks: int = 5) -> Graph:
    """Blocks of forward and backward, perhaps with weight passes, optimizer, skips and outputs."""
    count = draw(st.integers(1, most_blocks))
    weights, optimizer = draw(st.booleans()), draw(st.booleans())
    times = st.sampled_from([0.0, 1.0, 1.0, 2.0, 3.0])
    engines = draw(st.sampled_from([("compute",), ("compute",), ("compute", "collective")]))
    operators: list[Operator] = []
    tensors: list[Tensor] = []

    def operator(name: str, block: int, kind: Kind, repeat: Repeat = Repeat.MICROBATCH) -> None:
        fast = draw(times)
        mode = Mode(
            seconds={"fast": fast, "slow": fast + draw(st.sampled_from([0.0, 1.0]))},
            workspace_bytes=draw(st.sampled_from([0, 0, 2])),
            engines=engines if kind is Kind.FORWARD else ("compute",),
        )
        groups = (f"p{block}",) if draw(st.booleans()) else ()
        module = f"blocks.{block}"
        operators.append(Operator(name, kind, 1.0, 0.0, groups, repeat, module, (mode,)))

    def tensor(name: str, producer: str, *consumers: str, output: bool = False) -> None:
        tensors.append(Tensor(name, producer, consumers, draw(st.integers(0, 5)), output))

    for i in range(count):
        operator(f"f{i}", i, Kind.FORWARD)
        operator(f"b{i}", i, Kind.BACKWARD_INPUT if weights else Kind.BACKWARD)
        last = i == count - 1
        later = [f"f{j}" for j in range(i + 2, count)] if draw(st.integers(0, 3)) == 0 else []
        tensor(f"x{i}", f"f{i}", f"b{i}" if last else f"f{i + 1}", *later[:1])
        tensor(f"saved{i}", f"f{i}", f"b{i}", output=draw(st.integers(0, 7)) == 0)
        readers = [f"b{i - 1}"] if i else []
        if weights:
            operator(f"w{i}", i, Kind.BACKWARD_WEIGHT)
            readers.append(f"w{i}")
        if optimizer:
            operator(f"o{i}", i, Kind.OPTIMIZER, Repeat.STEP)
            tensor(f"d{i}", f"{'w' if weights else 'b'}{i}", f"o{i}")
        if readers:
            tensor(f"g{i}", f"b{i}", *readers)
    groups = tuple(ParameterGroup(f"p{i}", 2, 1, 0) for i in range(count))
    return Graph("drawn", tuple(operators), tuple(tensors), groups)


@st.composite
def pipeline_problems(draw: st.DrawFn, most_blocks: int = 5) -> Problem:
    """Training steps: equal or unequal microbatches, one or two placement groups, late ones."""
    count = draw(st.integers(1, 5))
    cluster = draw(clusters(3))
    cap = st.sampled_from([None, None, 20, 30, 50])
    cluster = attrs.evolve(
        cluster, devices=tuple(attrs.evolve(d, memory_bytes=draw(cap)) for d in cluster.devices)
    )
    workload = Workload(
        microbatches=count,
        groups=draw(st.sampled_from([(), (), tuple(i % 2 for i in range(count))])),
        scales=draw(st.sampled_from([(), (), (1.5,) * count, (0.5,) * count, (1.0, 2.0)[:count]]))
        if count <= 2
        else draw(st.sampled_from([(), (1.5,) * count])),
        releases_s=draw(st.sampled_from([(), (), tuple(float(2 * i) for i in range(count))])),
    )
    tick = draw(st.sampled_from([1.0, 0.5]))
    return Problem("drawn", draw(pipeline_graphs(most_blocks)), cluster, workload, tick_s=tick)
