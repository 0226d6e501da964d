"""What an activity of no length hands on is held once, at every instant of every schedule."""

from __future__ import annotations

from hypothesis import event, given
from hypothesis import strategies as st

from parplan.checking import check_schedule
from parplan.graph import Graph, Kind, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device
from parplan.options import SearchOptions
from parplan.problem import Problem, Rule
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.scheduling.buffers import Buffer, handed_on
from parplan.search.orchestrator import search
from parplan.simulation.orders import orders_of
from parplan.workload import Workload


@st.composite
def held_by_chains(draw: st.DrawFn) -> tuple[list[Buffer], list[int], list[list[tuple[int, int]]]]:
    """Buffers between activities, many of no length, with an arc from each to all after it."""
    count = draw(st.integers(2, 6))
    durations = [draw(st.sampled_from([0, 0, 1])) for _ in range(count)]
    arcs = [[(k, durations[i]) for k in range(i + 1, count)] for i in range(count)]
    amounts = st.dictionaries(st.integers(0, 1), st.integers(1, 3).map(float), min_size=1)
    buffers = []
    for begins in draw(st.lists(st.integers(0, count - 1), max_size=8)):
        ends = draw(st.lists(st.integers(begins, count - 1), unique=True, max_size=2))
        buffers.append(Buffer(tuple(draw(amounts).items()), begins, tuple(ends)))
    return buffers, durations, arcs


def levels(buffers: list[Buffer], durations: list[int], starts: list[int]) -> list[list[float]]:
    """What is held of either resource at every instant; buffers are held in [start, end)."""
    last = starts[-1] + durations[-1] + 1
    found = [[0.0] * last for _ in range(2)]
    for buffer in buffers:
        ends = (starts[a] + durations[a] for a in buffer.releasers)
        for instant in range(starts[buffer.allocator], max(ends, default=last)):
            for r, amount in buffer.amounts:
                found[r][instant] += amount
    return found


@given(drawn=held_by_chains(), data=st.data())
def test_joined_buffers_hold_the_same_at_every_instant(
    drawn: tuple[list[Buffer], list[int], list[list[tuple[int, int]]]], data: st.DataObject
) -> None:
    buffers, durations, arcs = drawn
    joined = handed_on(buffers, durations, arcs)
    event(f"joined: {any(buffer.through for buffer in joined)}")
    starts = [0]
    for duration in durations[:-1]:
        starts.append(starts[-1] + duration + data.draw(st.integers(0, 1)))
    assert levels(joined, durations, starts) == levels(buffers, durations, starts)
    for one in joined:
        for other in joined:
            # Nothing is left that one of no length ends and begins of the same resource.
            for activity in set(one.releasers) & {other.allocator}:
                assert (
                    durations[activity]
                    or len(one.releasers) > 1
                    or dict(one.amounts).keys().isdisjoint(dict(other.amounts))
                )


def relabelled(memory: int, sizes: tuple[int, int]) -> Problem:
    """Two microbatches of a tensor that becomes another in no time, on one device."""
    seconds = {"make": 1.0, "relabel": 0.0, "use": 1.0}
    operators = tuple(
        Operator(name, Kind.FORWARD, modes=(Mode(seconds={"*": time}),))
        for name, time in seconds.items()
    )
    tensors = (
        Tensor("raw", "make", ("relabel",), sizes[0]),
        Tensor("labelled", "relabel", ("use",), sizes[1]),
    )
    return Problem(
        "relabelled",
        Graph("relabelled", operators, tensors, ()),
        Cluster("one", (Device("g0", memory_bytes=memory),), ()),
        Workload(microbatches=2),
        constraints=(Rule("devices"), Rule("memory")),
        tick_s=1.0,
    )


@given(sizes=st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_a_device_as_large_as_what_is_handed_on_is_large_enough(
    sizes: tuple[int, int], registry: Registry
) -> None:
    """Planned without a solver, passed by the check, and replayed by the simulation."""
    problem = relabelled(max(sizes), sizes)
    rules = make_rules(problem, registry)
    options = SearchOptions(solver="list", time_limit_s=0.2, workers=1)
    schedule = search(problem, rules, registry, options).schedule
    assert check_schedule(schedule, rules) == ()
    assert schedule.makespan == 4
    assert len(orders_of(schedule, rules).planned) == 6
