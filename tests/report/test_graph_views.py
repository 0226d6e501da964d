"""The model and the cluster as pictures: few boxes, no cycle, every device and used link, inert."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.figures.plan import PlanFigures, figures_of
from parplan.graph import Graph, Kind, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.plans import Plan
from parplan.problem import Problem
from parplan.report.cluster_view import cluster_svg
from parplan.report.grouping import model_groups
from parplan.report.layers import layers
from parplan.report.model_view import model_svg
from parplan.schedule import Schedule
from parplan.text import plain
from tests.plan_samples import HOSTILE, pipeline_plan
from tests.strategies import schedules


def figures(stages: int = 3, suffix: str = "") -> PlanFigures:
    return figures_of(pipeline_plan(stages, 2, suffix), "s")


def words(picture: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(picture).iter("text")]


def chain(paths: list[str]) -> Graph:
    operators = tuple(Operator(f"{i}:{path}", module=path) for i, path in enumerate(paths))
    tensors = tuple(
        Tensor(f"t{i}", a.name, (b.name,)) for i, (a, b) in enumerate(pairwise(operators))
    )
    return Graph("chain", operators, tensors)


def names(graph: Graph, most: int) -> list[str]:
    return [group.name for group in model_groups(graph, most)[0]]


def test_groups_follow_the_modules_as_deep_as_there_is_room() -> None:
    graph = chain(["in", *(f"layers.{i}.{part}" for i in range(3) for part in "am"), "out"])
    assert len(names(graph, 8)) == 8
    assert names(graph, 7) == ["in", "layers.0", "layers.1", "layers.2", "out"]
    assert names(graph, 4) == ["in", "layers", "out"]
    # Too many even so: what follows one another.
    assert names(graph, 2) == ["in … layers.1.a", "layers.1.m … out"]


def test_groups_on_a_cycle_are_one() -> None:
    groups, edges = model_groups(chain(["a.x", "b.y", "a.z"]), 2)
    assert [len(group.operators) for group in groups] == [3]
    assert edges == ()


def test_only_forward_operators_are_shown_where_there_are_any() -> None:
    operators = (Operator("f"), Operator("b", Kind.BACKWARD))
    assert names(Graph("g", operators), 9) == ["f"]
    assert names(Graph("g", operators[1:]), 9) == ["b"]


@st.composite
def dags(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    count = draw(st.integers(1, 12))
    pairs = [(a, b) for b in range(count) for a in range(b)]
    return count, draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []


@given(dags())
def test_layers_hold_every_node_once_and_edges_go_forwards(
    graph: tuple[int, list[tuple[int, int]]],
) -> None:
    count, edges = graph
    found = layers(count, edges)
    level = {node: k for k, layer in enumerate(found) for node in layer}
    assert sorted(level) == list(range(count))
    assert all(level[a] < level[b] for a, b in edges)
    digraph = nx.DiGraph(edges)
    assert len(found) - 1 == (nx.dag_longest_path_length(digraph) if edges else 0)


def test_layers_of_two_crossed_chains_are_uncrossed() -> None:
    found = layers(4, [(0, 3), (1, 2)])
    order = {node: k for layer in found for k, node in enumerate(layer)}
    assert (order[0] < order[1]) == (order[3] < order[2])


def test_model_names_blocks_and_devices() -> None:
    shown = words(model_svg(figures()))
    assert shown == ["f.0", "gpu0", "f.1", "gpu1", "f.2", "gpu2"]


def test_a_box_is_found_by_what_the_names_of_its_operators_share() -> None:
    boxes = ET.fromstring(model_svg(figures())).iter("g")
    assert [box.get("data-find") for box in boxes] == ["f.0", "f.1", "f.2"]


def test_cluster_names_devices_and_tells_of_links() -> None:
    picture = cluster_svg(figures())
    assert {"gpu0", "gpu1", "gpu2"} <= set(words(picture))
    told = [e.text or "" for e in ET.fromstring(picture).iter("title")]
    assert any(t.startswith("0to1: gpu0 to gpu1\nheld ") for t in told)


def test_switches_stand_above_devices() -> None:
    plan = pipeline_plan(2, 2)
    ends = [("gpu0", "hub"), ("hub", "gpu1"), ("gpu1", "hub"), ("hub", "gpu0")]
    links = tuple(Link(f"{a}-{b}", a, b, 2.0**28) for a, b in ends)
    cluster = Cluster("star", plan.problem.cluster.devices, links, switches=("hub",))
    old = plan.problem
    problem = Problem(old.name, old.graph, cluster, old.workload, tick_s=old.tick_s)
    schedule = Schedule(problem, plan.schedule.tasks, plan.schedule.transfers)
    root = ET.fromstring(cluster_svg(figures_of(Plan(problem, schedule, {"makespan": 1.0}), "s")))
    (hub,) = root.iter("circle")
    boxes = [float(e.get("y", 0)) for e in root.iter("rect")]
    assert float(hub.get("cy", 0)) < min(boxes)


def test_a_cluster_that_is_too_large_is_left_out() -> None:
    assert cluster_svg(figures(65)) == ""


@settings(max_examples=25)
@given(schedules())
def test_every_valid_schedule_has_pictures(schedule: Schedule) -> None:
    value = schedule.makespan * schedule.problem.tick_s
    found = figures_of(Plan(schedule.problem, schedule, {"makespan": value}), "s")
    for picture in (model_svg(found), cluster_svg(found)):
        assert ET.fromstring(picture).tag == "svg"
    devices: tuple[Device, ...] = schedule.problem.cluster.devices
    assert {d.name for d in devices} <= set(words(cluster_svg(found)))


def test_hostile_names_are_text() -> None:
    for picture in (model_svg(figures(2, HOSTILE)), cluster_svg(figures(2, HOSTILE))):
        root = ET.fromstring(picture)
        known = {"svg", "g", "title", "text", "rect", "path", "line", "circle"}
        assert {e.tag for e in root.iter()} <= known
        assert not any(name.startswith("on") for e in root.iter() for name in e.attrib)
        assert any(plain(HOSTILE)[:4] in (e.text or "") for e in root.iter("title"))
