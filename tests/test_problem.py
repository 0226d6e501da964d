"""Problems: alternatives, durations, transfers, and what later kinds of work need."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from parplan.checking import check_schedule
from parplan.errors import InputError
from parplan.figures.usage import link_use, peak_memory
from parplan.graph import Graph, Kind, Mode, Operator, ParameterGroup, Repeat, Tensor
from parplan.hardware import Cluster, Device, Link, Route
from parplan.problem import STEP, Alternative, LinkHold, Problem, TransferTiming
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.schedule import Schedule, Tasks, Transfers
from parplan.workload import Workload, WorkloadKind
from tests.examples import chain, placed
from tests.strategies import serial


def test_modes_that_differ_in_engine_or_ring_only_have_alternatives_of_their_own() -> None:
    """Alternatives are shared among equal operators; a ring needs routes that a gang does not."""
    gang = Mode("gang", devices=2, seconds={"*": 1.0})
    ring = Mode("gang", devices=2, seconds={"*": 1.0}, ring_steps=1, ring_bytes=4)
    single = Mode("single", seconds={"*": 1.0})
    copying = Mode("single", seconds={"*": 1.0}, engines=("host-copy",))
    devices = (Device("g0"), Device("g1", engines={"compute": 1}))
    problem = Problem(
        "p",
        Graph(
            "g",
            (
                Operator("a", modes=(gang, single)),
                Operator("b", modes=(ring, single)),
                Operator("c", modes=(gang, copying)),
            ),
        ),
        Cluster("no links", devices, groups=(("g0", "g1"),)),
        Workload(),
    )
    places = [[(a.mode, a.devices) for a in found] for found in problem.alternatives]
    assert places[0] == [(0, (0, 1)), (1, (0,)), (1, (1,))]
    assert places[1] == [(1, (0,)), (1, (1,))]
    assert places[2] == [(0, (0, 1)), (1, (0,))]


def pair(*modes: Mode, **cluster: Any) -> Problem:
    """One operator in the given modes on two devices that are joined both ways, 2 bytes/s."""
    links = (Link("a", "g0", "g1", 2.0, 1.0), Link("b", "g1", "g0", 4.0, 0.5))
    devices = (Device("g0"), Device("g1"))
    parts = {"devices": devices, "links": links, "groups": (("g0", "g1"),), **cluster}
    return Problem(
        "pair",
        Graph("one", (Operator("o", modes=modes),)),
        Cluster("pair", **parts),
        Workload(),
        tick_s=1.0,
    )


def test_a_collective_lasts_as_long_as_its_ring_and_holds_its_links(registry: Registry) -> None:
    """2 steps of the longest latency, and 8 bytes over the narrowest link."""
    problem = pair(Mode(devices=2, seconds={"*": 1.0}, ring_steps=2, ring_bytes=8))
    (ring,) = problem.alternatives[0]
    assert problem.ticks(0, ring, 0) == 2 * 1 + 8 / 2
    assert problem.collective_links(0, ring) == (0, 1)
    schedule = placed(problem, o=("default", "g0", "g1"))
    busy = {link.name: link.busy_s for link in link_use(schedule)}
    assert busy == {"a": 6.0, "b": 6.0}


def test_a_gang_waits_for_its_slowest_device() -> None:
    unequal = (Device("g0", "fast"), Device("g1", "slow"))
    problem = pair(Mode(devices=2, seconds={"fast": 1.0, "slow": 3.0}), devices=unequal)
    (gang,) = problem.alternatives[0]
    assert gang == Alternative(0, (0, 1))
    assert problem.ticks(0, gang, 0) == 3


def test_streams_are_engines_that_run_side_by_side(registry: Registry) -> None:
    """Computing and communicating overlap on one device; two computations do not."""
    problem = chain(2, seconds=2.0)
    talk = attrs.evolve(
        problem.graph.operators[1], modes=(Mode(seconds={"*": 2.0}, engines=("collective",)),)
    )
    for second, expected in ((talk, set()), (problem.graph.operators[1], {"devices"})):
        graph = Graph("two", (problem.graph.operators[0], second))
        spec = attrs.evolve(problem, graph=graph)
        both = Schedule(spec, Tasks([0, 1], [0, 0], [0, 0], [0, 0]), Transfers(*[[]] * 5))
        found = check_schedule(both, make_rules(spec, registry))
        assert {v.rule for v in found} == expected


def test_engines_that_share_a_device_may_slow_each_other_down() -> None:
    problem = pair(Mode(seconds={"*": 2.0}), transfer_engines=("send", "receive"))
    slow = Device("g0", slowdown={"compute": 1.5, "send": 3.0})
    cluster = attrs.evolve(problem.cluster, devices=(slow, Device("g1")))
    problem = attrs.evolve(problem, cluster=cluster)
    assert [problem.ticks(0, a, 0) for a in problem.alternatives[0]] == [3, 2]
    assert problem.transfer_timing(8, 0, 1) == TransferTiming((LinkHold(0, 0, 12),), 12, 13)
    assert problem.transfer_timing(8, 1, 0) == TransferTiming((LinkHold(1, 0, 2),), 2, 3)


def test_a_route_holds_all_links_together_or_one_after_the_other() -> None:
    links = (Link("up", "g0", "hub", 4.0, 1.0), Link("down", "hub", "g1", 2.0, 1.0))
    through = pair(Mode(seconds={"*": 1.0}), links=links, switches=("hub",))
    assert through.transfer_timing(8, 0, 1) == TransferTiming(
        (LinkHold(0, 0, 4), LinkHold(1, 0, 4)), 4, 6
    )
    routes = (Route("g0", "g1", ("up", "down"), store_and_forward=True),)
    stored = pair(Mode(seconds={"*": 1.0}), links=links, switches=("hub",), routes=routes)
    assert stored.transfer_timing(8, 0, 1) == TransferTiming(
        (LinkHold(0, 0, 2), LinkHold(1, 2, 4)), 6, 8
    )
    assert stored.transfer_timing(0, 0, 1) == TransferTiming(
        (LinkHold(0, 0, 0), LinkHold(1, 0, 0)), 0, 2
    )
    assert stored.transfer_timing(8, 1, 0) is None


def data_parallel() -> Problem:
    """Two replicas of one backward operator, and a once-per-step all-reduce of 6 bytes.

    Each microbatch is a placement group, so each has a replica of its own.
    """
    operators = (
        Operator("backward", Kind.BACKWARD, parameters=("w",), modes=(Mode(seconds={"*": 1.0}),)),
        Operator(
            "reduce",
            Kind.COLLECTIVE,
            parameters=("w",),
            repeat=Repeat.STEP,
            modes=(
                Mode(
                    devices=2,
                    seconds={"*": 0.0},
                    engines=("collective",),
                    ring_steps=2,
                    ring_bytes=6,
                ),
            ),
        ),
    )
    return Problem(
        "data parallel",
        Graph(
            "replicas",
            operators,
            (Tensor("done", "backward", ("reduce",)),),
            (ParameterGroup("w", 3, 3),),
        ),
        pair(Mode(seconds={"*": 1.0})).cluster,
        Workload(microbatches=2, groups=(0, 1)),
        tick_s=1.0,
    )


def test_data_parallel_replicas_reduce_their_gradients_once_per_step(registry: Registry) -> None:
    problem = data_parallel()
    schedule = serial(problem, {(0, 0): 0, (0, 1): 1, (1, 0): 0, (1, 1): 0})
    views = list(schedule.task_views())
    assert [(v.operator, v.microbatch, v.devices) for v in views] == [
        ("backward", 0, ("g0",)),
        ("backward", 1, ("g1",)),
        ("reduce", STEP, ("g0", "g1")),
    ]
    assert views[2].end - views[2].start == 2 * 1 + 6 / 2
    assert check_schedule(schedule, make_rules(problem, registry)) == ()
    assert peak_memory(schedule) == {"g0": 6, "g1": 6}
    assert problem.read_microbatches(0, STEP) == range(2)
    # Each replica's signal that it is done goes to the other member of the gang.
    assert [(x.microbatch, x.source, x.target) for x in schedule.transfer_views()] == [
        (0, "g0", "g1"),
        (1, "g1", "g0"),
    ]
    alone = [v for v in check_schedule(
        Schedule(problem, schedule.tasks, Transfers(*[[]] * 5)), make_rules(problem, registry)
    ) if v.rule == "transfers"]  # fmt: skip
    assert len(alone) == 2


def test_requests_wait_for_their_release(registry: Registry) -> None:
    problem = chain(2, devices=1, microbatches=2)
    requests = Workload(WorkloadKind.REQUESTS, 2, scales=(1.0, 2.0), releases_s=(0.0, 4.5))
    problem = attrs.evolve(problem, workload=requests)
    assert [problem.release(m) for m in (STEP, 0, 1)] == [0, 0, 5]
    schedule = serial(problem, {(0, 0): 0, (1, 0): 0})
    assert schedule.tasks.start.tolist() == [0, 5, 7, 8]
    assert schedule.makespan == 10
    rules = make_rules(problem, registry)
    assert check_schedule(schedule, rules) == ()
    early = Schedule(problem, attrs.evolve(schedule.tasks, start=[0, 4, 7, 8]), schedule.transfers)
    assert [v.rule for v in check_schedule(early, rules)] == ["release"]


def test_work_once_per_step_and_per_microbatch() -> None:
    problem = data_parallel()
    assert list(problem.tasks()) == [(0, 0), (0, 1), (1, STEP)]
    assert problem.task_count == 3
    assert problem.reading_tasks(1, 0) == range(STEP, 0)
    assert problem.reading_tasks(0, STEP) == range(2)


def test_sizes_scale_with_the_microbatch_and_round_up() -> None:
    problem = attrs.evolve(
        chain(2, microbatches=2, size=3), workload=Workload(microbatches=2, scales=(1.0, 1.5))
    )
    assert [problem.tensor_bytes(0, 0, m) for m in range(2)] == [3, 5]


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (Mode(), "'o' has no mode that any device of cluster 'pair' can run"),
        (Mode(seconds={"tpu": 1.0}), r"give it seconds for one of the kinds \['device'\]"),
        (Mode("m", groups=(("g7",),), seconds={"*": 1.0}), "mode 'm': unknown device 'g7'"),
        (Mode(devices=3, seconds={"*": 1.0}), "has no mode"),
        (Mode(seconds={"*": 1.0}, engines=("fax",)), "has no mode"),
    ],
)
def test_operators_that_can_run_nowhere_are_named(mode: Mode, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pair(mode)


def test_a_tick_and_an_objective_are_needed() -> None:
    with pytest.raises(InputError, match=r"tick_s is 0\.0"):
        attrs.evolve(chain(1), tick_s=0.0)
    with pytest.raises(InputError, match="at least one objective"):
        attrs.evolve(chain(1), objectives=())
