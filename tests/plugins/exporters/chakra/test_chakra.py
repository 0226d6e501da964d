"""Chakra traces: what a plan does on each device, and that a replay keeps its time."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from parplan.errors import InputError
from parplan.plans import Plan
from parplan.plugins.exporters.chakra.exporter import Chakra
from parplan.plugins.exporters.chakra.nodes import NodeType, Trace, plan_nodes
from parplan.plugins.exporters.chakra.wire import check_traces, read_trace, trace_bytes
from parplan.registry import Registry
from tests.plan_samples import HOSTILE, pipeline_plan
from tests.stages.samples import DIAMOND, dispatched, layered, layered_problem
from tests.stages.test_stage_program import recipe_plan


def diamond() -> Plan:
    problem = layered_problem(layered(DIAMOND), devices=4, microbatches=3)
    return dispatched(problem, {name: i for i, name in enumerate(DIAMOND)})


def replayed(traces: tuple[Trace, ...], message_us: int) -> int:
    """Return when a replay ends in which every message takes as long, and queues nowhere."""
    nodes = {node.id: node for trace in traces for node in trace}
    sends = {n.message: n.id for n in nodes.values() if n.type is NodeType.SEND}
    ends: dict[int, int] = {}

    def end(number: int) -> int:
        if number not in ends:
            node = nodes[number]
            waits = [end(other) for other in (*node.after, *node.reads)]
            if node.type is NodeType.RECEIVE:
                waits.append(end(sends[node.message]) + message_us)
            ends[number] = max(waits, default=0) + node.duration_us
        return ends[number]

    return max(map(end, sorted(nodes, key=lambda number: nodes[number].start_us)))


def test_files_are_one_for_each_device_and_hold_the_plan(tmp_path: Path) -> None:
    plan = diamond()
    done = Chakra().export(plan, tmp_path, {"prefix": "et"})
    assert [path.name for path in done.files] == [f"et.{rank}.et" for rank in range(4)]
    read = tuple(read_trace(path.read_bytes()) for path in done.files)
    assert read == plan_nodes(plan)
    computed = [n for trace in read for n in trace if n.type is NodeType.COMPUTE]
    assert len(computed) == len(plan.schedule.tasks)
    assert done.figures["messages"] == len(plan.schedule.transfers)
    assert sum(n.duration_us for n in computed) == round(
        (plan.schedule.ends - plan.schedule.tasks.start).sum() * plan.problem.tick_s * 1e6
    )
    sizes = {n.message.bytes for trace in read for n in trace if n.message is not None}
    assert sizes == {4}


def test_a_replay_takes_as_long_as_the_plan(registry: Registry) -> None:
    # Links of `layered_problem` carry any number of messages, each in a second; all starts as early
    # as orders allow, which is what a replay does.
    plan = diamond()
    assert replayed(plan_nodes(plan), 10**6) == round(plan.value * 1e6)
    free = recipe_plan("zb-h1", registry, 2, 4)
    assert replayed(plan_nodes(free), 0) == round(free.value * 1e6)


def test_names_are_texts_whatever_they_hold() -> None:
    for trace in plan_nodes(pipeline_plan(suffix=HOSTILE)):
        assert [n.id for n in read_trace(trace_bytes(trace))] == [n.id for n in trace]


def test_what_a_replay_would_not_end_is_refused() -> None:
    first, second, *rest = plan_nodes(diamond())
    send = next(i for i, node in enumerate(first) if node.type is NodeType.SEND)
    receive = next(node for node in second if node.type is NodeType.RECEIVE)
    user = next(node for node in first if node.type is NodeType.COMPUTE)
    reader = next(n for n in second if receive.id in n.reads)
    broken = {
        "sent and not received|received and not sent": (*first[:send], *first[send + 1 :]),
        "waits for a node of another trace": (attrs.evolve(user, reads=(reader.id,)), *first[1:]),
        "two nodes have one number": (*first, first[0]),
        "in a circle": (attrs.evolve(user, reads=(first[-1].id,)), *first[1:]),
    }
    check_traces((first, second, *rest))
    for said, trace in broken.items():
        with pytest.raises(InputError, match=said):
            check_traces((trace, second, *rest))


def test_a_damaged_file_is_told() -> None:
    data = trace_bytes(plan_nodes(diamond())[0])
    for broken in (data[:-1], b"", b"\xff" * 12):
        with pytest.raises(InputError):
            read_trace(broken)


def test_a_prefix_names_a_file_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="begins no name of a file"):
        Chakra().export(diamond(), tmp_path, {"prefix": "../x"})
