"""Small pipelines drawn so that memory is scarce, with and without the modes that save it."""

from __future__ import annotations

import attrs
from hypothesis import strategies as st

from parplan.graph import Graph, Kind, Mode, Operator, ParameterGroup, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.problem import Problem, Rule
from parplan.workload import Workload
from tests.examples import offloading, recomputing, with_host

KINDS = {"f": Kind.FORWARD, "b": Kind.BACKWARD_INPUT, "w": Kind.BACKWARD_WEIGHT}


@st.composite
def tight_pipelines(draw: st.DrawFn, most_stages: int = 3) -> Problem:
    """Stages of a forward and one or two backward passes that share weights, on scarce devices."""
    stages, devices = draw(st.integers(2, most_stages)), draw(st.integers(1, 2))
    letters = draw(st.sampled_from(["fb", "fbw"]))
    ticks, size = st.sampled_from([1.0, 2.0]), st.integers(1, 3)
    operators = [
        Operator(
            f"{letter}{s}",
            KINDS[letter],
            1.0,
            parameters=(f"p{s}",),
            module=f"stages.{s}",
            modes=(Mode(seconds={"*": draw(ticks)}, workspace_bytes=draw(st.integers(0, 2))),),
        )
        for s in range(stages)
        for letter in letters
    ]
    tensors = []
    for s in range(stages):
        readers = tuple(f"{letter}{s}" for letter in letters[1:])
        tensors.append(Tensor(f"saved{s}", f"f{s}", readers, draw(size)))
        after = f"f{s + 1}" if s + 1 < stages else f"b{s}"
        tensors.append(Tensor(f"x{s}", f"f{s}", (after,), draw(size)))
        before = (f"b{s - 1}",) if s else ()
        waiting = (f"w{s}",) if "w" in letters else ()
        if before or waiting:
            tensors.append(Tensor(f"g{s}", f"b{s}", (*before, *waiting), draw(size)))
    groups = tuple(ParameterGroup(f"p{s}", draw(st.integers(0, 2))) for s in range(stages))
    names = [f"g{d}" for d in range(devices)]
    memory = st.integers(4, 14)
    problem = Problem(
        "tight",
        Graph("tight", tuple(operators), tuple(tensors), groups),
        Cluster(
            "scarce",
            tuple(Device(name, memory_bytes=draw(memory)) for name in names),
            tuple(Link(f"{a}>{b}", a, b, 2.0) for a in names for b in names if a != b),
        ),
        Workload(microbatches=draw(st.integers(1, 2))),
        constraints=(Rule("devices"), Rule("links"), Rule("memory"), Rule("weights")),
        tick_s=1.0,
    )
    return draw(st.sampled_from([problem, *_with_choices(problem, draw(st.integers(2, 6)))]))


def _with_choices(problem: Problem, host_bytes: int) -> list[Problem]:
    """The same with modes that recompute, that offload, and both."""
    hosted = with_host(problem, memory=host_bytes)
    again = recomputing(problem)
    both = offloading(attrs.evolve(recomputing(hosted), name="both"), ahead=1)
    return [again, offloading(hosted, ahead=1), both]
