"""Chakra traces become operators: a plan comes back from its export, and other forms are read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parplan.assembly import assemble_problem
from parplan.errors import InputError
from parplan.files.protobuf_wire import bytes_field, delimited, number_field, varint
from parplan.graph import Graph, Kind, Repeat
from parplan.plans import Plan
from parplan.plugins.exporters.chakra.exporter import Chakra as Exporter
from parplan.plugins.importers.chakra.importer import Chakra
from parplan.plugins.importers.chakra.nodes import Collective
from parplan.plugins.importers.chakra.rings import Ring, ring
from parplan.registry import Registry
from parplan.spec.sections import parse_spec
from tests.plan_samples import pipeline_plan
from tests.stages.samples import DIAMOND, dispatched, layered, layered_problem
from tests.stages.test_stage_program import recipe_plan

HEAD = delimited(bytes_field(1, b"0.0.4"))
COMPUTE, SEND, RECEIVE, COLLECTIVE = 4, 5, 6, 7


def diamond() -> Plan:
    problem = layered_problem(layered(DIAMOND), devices=4, microbatches=3)
    return dispatched(problem, {name: i for i, name in enumerate(DIAMOND)})


def exported(plan: Plan, folder: Path) -> Graph:
    Exporter().export(plan, folder, {})
    return Chakra().load(folder, {"devices": [d.name for d in plan.problem.cluster.devices]})


def unrolled(plan: Plan) -> nx.DiGraph[str]:
    """The tasks of a plan by name, each after those whose results it reads."""
    graph, schedule = plan.problem.graph, plan.schedule
    found: nx.DiGraph[str] = nx.DiGraph()
    for row, o in enumerate(schedule.tasks.operator.tolist()):
        k = int(schedule.tasks.microbatch[row])
        found.add_node(f"{graph.operators[o].name} [{k}]")
        for t in graph.reads(o, schedule.alternative(row).mode):
            maker = graph.operators[graph.producers[t]].name
            for m in plan.problem.read_microbatches(t, k):
                found.add_edge(f"{maker} [{m}]", f"{graph.operators[o].name} [{k}]")
    return found


def by_name(graph: Graph) -> nx.DiGraph[str]:
    return nx.relabel_nodes(graph.digraph, {i: o.name for i, o in enumerate(graph.operators)})


@pytest.mark.parametrize("recipe", ["diamond", "zb-h1"])
def test_a_plan_comes_back_from_its_traces(recipe: str, registry: Registry, tmp_path: Path) -> None:
    plan = diamond() if recipe == "diamond" else recipe_plan(recipe, registry, 2, 4)
    graph = exported(plan, tmp_path)
    ought, found = unrolled(plan), by_name(graph)
    assert set(found) == set(ought)
    assert set(nx.transitive_closure_dag(found).edges) == set(
        nx.transitive_closure_dag(ought).edges
    )
    schedule, tick_s = plan.schedule, plan.problem.tick_s
    for row, o in enumerate(schedule.tasks.operator.tolist()):
        name = f"{plan.problem.graph.operators[o].name} [{int(schedule.tasks.microbatch[row])}]"
        (mode,) = graph.operators[graph.operator_index[name]].modes
        took = int(schedule.ends[row] - schedule.tasks.start[row]) * tick_s
        devices = (plan.problem.cluster.devices[d].name for d in schedule.alternative(row).devices)
        assert mode.groups == (tuple(devices),)
        assert mode.seconds["*"] == pytest.approx(took, abs=1e-6)
    sizes = {t.bytes for t in graph.tensors if t.name.startswith("message")}
    transfers = plan.schedule.transfers
    sent = {plan.problem.tensor_bytes(int(t), 0, 0) for t in transfers.tensor}
    assert sizes == {size for size in sent if size}


def test_traces_serve_as_the_model_of_a_spec(registry: Registry, tmp_path: Path) -> None:
    plan = diamond()
    Exporter().export(plan, tmp_path, {})
    devices = [d.name for d in plan.problem.cluster.devices]
    text = f"""
model: {{kind: chakra, file: "{tmp_path}", options: {{devices: [{", ".join(devices)}]}}}}
cluster:
  devices: [{", ".join(f"{{name: {name}, node: a}}" for name in devices)}]
  intra: {{bandwidth: 1 GB/s}}
"""
    spec = parse_spec(text)
    problem = assemble_problem(spec, registry)
    assert [o.repeat for o in problem.graph.operators] == [Repeat.STEP] * len(plan.schedule.tasks)


def node(number: int, kind: int, *fields: bytes, name: str = "", microseconds: int = 0) -> bytes:
    """A node as protocol buffers have it, its length before it."""
    head = number_field(1, number) + bytes_field(2, name.encode()) + number_field(3, kind)
    return delimited(head + number_field(7, microseconds) + b"".join(fields))


def attribute(name: str, field: int, value: int | bytes) -> bytes:
    made = number_field(field, value) if isinstance(value, int) else bytes_field(field, value)
    return bytes_field(10, bytes_field(1, name.encode()) + made)


def packed(field: int, numbers: Iterable[int]) -> bytes:
    return bytes_field(field, b"".join(map(varint, numbers)))


HOST, DEVICE = attribute("is_cpu_op", 27, 1), attribute("is_cpu_op", 27, 0)


def loaded(folder: Path, ranks: Mapping[int, bytes], **options: Any) -> Graph:
    for rank, content in ranks.items():
        (folder / f"run.{rank}.et").write_bytes(HEAD + content)
    return Chakra().load(folder, options)


def edges(graph: Graph) -> dict[str, tuple[int, list[str]]]:
    return {t.name: (t.bytes, list(t.consumers)) for t in graph.tensors}


def test_work_of_the_host_and_missing_nodes_only_hand_on_who_waits(tmp_path: Path) -> None:
    content = (
        node(1, COMPUTE, DEVICE, name="a", microseconds=3)
        + node(2, COMPUTE, HOST, packed(5, [1, 99]), name="launch", microseconds=7)
        + node(3, COMPUTE, DEVICE, packed(5, [2, 1]), attribute("num_ops", 9, 8), name="b")
        + node(4, COMPUTE, DEVICE, packed(4, [3]), name="b")
        + node(5, 1, name="metadata")
    )
    graph = loaded(tmp_path, {0: content})
    assert [o.name for o in graph.operators] == ["a", "rank0.b", "rank0.b-2"]
    assert edges(graph) == {"a:done": (0, ["rank0.b"])}
    assert [dict(o.modes[0].seconds) for o in graph.operators] == [{"*": 3e-6}, {}, {"*": 0.0}]
    assert graph.operators[1].flops == 8
    ordered = loaded(tmp_path, {0: content}, control=True)
    assert edges(ordered)["rank0.b:done"] == (0, ["rank0.b-2"])


def test_what_fills_a_storage_comes_before_what_reads_it(tmp_path: Path) -> None:
    def tensors(field: int, *storages: int) -> bytes:
        told = ", ".join(f"[{s + 50}, {s}, 0, 10, 4, 'cuda:0']" for s in storages)
        return bytes_field(field, bytes_field(1, f"[{told}, 7]".encode()))

    graph = loaded(
        tmp_path,
        {
            0: node(1, COMPUTE, tensors(9, 1), name="make")
            + node(2, COMPUTE, tensors(8, 1), tensors(9, 1, 2), name="change")
            + node(3, COMPUTE, tensors(8, 1, 2), name="read")
            + node(4, COMPUTE, tensors(8, 3), number_field(5, 3), name="after")
        },
    )
    assert edges(graph) == {
        "make": (40, ["change"]),
        "change": (80, ["read"]),
        "read:done": (0, ["after"]),
    }


def message(source: int, target: int, size: int) -> bytes:
    return (
        attribute("comm_src", 7, source)
        + attribute("comm_dst", 7, target)
        + attribute("comm_size", 9, size)
    )


def test_messages_of_one_tag_arrive_in_their_order(tmp_path: Path) -> None:
    sender = b"".join(
        node(i, COMPUTE, name=f"make {i}")
        + node(i + 10, SEND, number_field(5, i), message(0, 1, i))
        for i in (1, 2)
    )
    receiver = b"".join(
        node(i + 10, RECEIVE, message(0, 1, i))
        + node(i, COMPUTE, number_field(5, i + 10), name=f"use {i}")
        for i in (1, 2)
    )
    graph = loaded(tmp_path, {0: sender, 1: receiver})
    assert edges(graph) == {"message 0": (1, ["use 1"]), "message 1": (2, ["use 2"])}
    assert [t.producer for t in graph.tensors] == ["make 1", "make 2"]
    alone = Chakra().load(tmp_path / "run.1.et", {})
    assert [o.name for o in alone.operators] == ["use 1", "use 2"]
    with pytest.raises(InputError, match=r"rank 0 sends 2 messages of tag 0 to rank 1.*receives 1"):
        loaded(tmp_path, {1: receiver[: len(receiver) // 2]})


def group(name: str = "data", kind: int = 0) -> bytes:
    return (
        attribute("pg_name", 29, name.encode())
        + attribute("comm_type", 9, kind)
        + attribute("comm_size", 9, 1000)
    )


def test_a_collective_is_one_operator_on_the_devices_of_its_ranks(tmp_path: Path) -> None:
    ranks = {
        rank: node(1, COMPUTE, name=f"grad{rank}")
        + node(2, COLLECTIVE, number_field(5, 1), group(), name="sum", microseconds=took)
        + node(3, COMPUTE, number_field(5, 2), name=f"step{rank}")
        for rank, took in enumerate((90, 40))
    }
    graph = loaded(tmp_path, ranks, devices=["g0", "g1"])
    assert by_name(graph).edges == {
        ("grad0", "sum"), ("grad1", "sum"), ("sum", "step0"), ("sum", "step1"),
    }  # fmt: skip
    found = graph.operators[graph.operator_index["sum"]]
    (mode,) = found.modes
    assert (found.kind, mode.devices, mode.groups) == (Kind.COLLECTIVE, 2, (("g0", "g1"),))
    assert (mode.seconds["*"], mode.ring_bytes, mode.ring_steps) == (4e-5, 1000, 2)
    with pytest.raises(InputError, match=r"'sum'.*collective of ranks 0, 1.*option 'devices'"):
        loaded(tmp_path, ranks)
    with pytest.raises(InputError, match="names 1 devices for 2 ranks"):
        loaded(tmp_path, ranks, devices=["g0"])
    once_more = {1: ranks[1] + node(4, COLLECTIVE, group())}
    with pytest.raises(InputError, match="rank 1 takes part in 2 times and rank 0 1 times"):
        loaded(tmp_path, once_more, devices=["g0", "g1"])


def test_what_collectives_move_is_that_of_a_ring() -> None:
    assert ring(Collective.ALL_GATHER, 100, 4) == Ring(300, 3)
    assert ring(Collective.REDUCE_SCATTER, 100, 4) == Ring(75, 3)
    assert ring(Collective.BROADCAST, 100, 4) == Ring(100, 3)
    assert ring(None, 100, 4) == Ring()


def test_the_json_of_the_feeder_is_read_too(tmp_path: Path) -> None:
    rows = [
        {"Id": 3, "Name": "a", "NodeType": 4, "runtime": 5, "data_deps": [], "is_cpu_op": True},
        {"Id": 4, "Name": "b", "NodeType": 4, "runtime": 7, "ctrlDeps": [9], "data_deps": [3]},
    ]
    path = tmp_path / "run.0.json"
    path.write_text(json.dumps({"workload_graph": rows[:1]}))
    assert [o.name for o in Chakra().load(path, {}).operators] == ["a"]
    path.write_text(json.dumps({"workload_graph": rows}))
    assert [o.name for o in Chakra().load(path, {}).operators] == ["b"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.0.et", b"", "does not begin with its version"),
        ("a.0.et", HEAD, "without nodes"),
        ("a.0.et", HEAD + node(1, 5)[:-1], "ends within the message"),
        ("a.0.et", HEAD + node(1, 99), "position 0 has the type 99"),
        ("a.0.et", HEAD + node(1, 4) * 2, "two nodes with the number 1"),
        ("a.0.et", HEAD + node(1, 1), "no work"),
        ("a.0.et", HEAD + node(1, 4, number_field(5, 1)), "waits for itself"),
        ("a.0.et", HEAD + node(1, 7, packed(5, []), attribute("comm_type", 9, 77)), "comm_type 77"),
        ("a.0.json", b"{", "truncated"),
        ("a.0.json", b"[]", "no list 'workload_graph'"),
        ("a.0.json", b'{"schema": "1.1.1", "nodes": []}', "chakra_trace_link"),
        ("a.0.json", b'{"workload_graph": [{"Id": -1, "NodeType": 4}]}', "Id -1, which is no"),
        ("a.1.et", HEAD + node(1, 4), "no trace of rank 0"),
        ("a.txt", b"", "NAME.RANK.et"),
    ],
)  # fmt: skip
def test_damaged_files_are_one_clear_error(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=told) as error:
        Chakra().load(tmp_path, {})
    assert str(tmp_path) in str(error.value.file)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    cut=st.integers(0, 2**20), flips=st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)))
)
def test_no_file_does_more_than_be_refused(
    tmp_path: Path, cut: int, flips: list[tuple[int, int]]
) -> None:
    whole = tmp_path / "whole"
    if not whole.exists():
        whole.mkdir()
        Exporter().export(pipeline_plan(), whole, {})
    content = bytearray((whole / "plan.0.et").read_bytes())
    del content[cut % (2 * len(content)) :]
    for at, value in flips:
        if content:
            content[at % len(content)] = value
    path = tmp_path / "changed.et"
    path.write_bytes(bytes(content))
    with contextlib.suppress(InputError):
        Chakra().load(path, {})
