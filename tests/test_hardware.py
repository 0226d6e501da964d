"""Clusters are validated where they are built, and find their routes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from parplan.errors import InputError
from parplan.hardware import Cluster, Device, Link, Route
from tests.strategies import clusters

GPUS = (Device("g0"), Device("g1"), Device("g2"))


def names(cluster: Cluster, source: int, target: int) -> tuple[str, ...] | None:
    route = cluster.route(source, target)
    return None if route is None else route.links


def test_links_lead_one_way_unless_shared() -> None:
    links = (Link("a", "g0", "g1", 1.0), Link("b", "g1", "g2", 1.0, shared=True))
    cluster = Cluster("c", GPUS, links)
    assert names(cluster, 0, 1) == ("a",)
    assert names(cluster, 1, 0) is None
    assert (names(cluster, 1, 2), names(cluster, 2, 1)) == (("b",), ("b",))


def test_no_route_leads_through_a_device() -> None:
    cluster = Cluster("c", GPUS, (Link("a", "g0", "g1", 1.0), Link("b", "g1", "g2", 1.0)))
    assert names(cluster, 0, 2) is None


def test_switches_are_crossed() -> None:
    links = tuple(Link(f"{d.name}-sw", d.name, "sw", 1.0, shared=True) for d in GPUS)
    cluster = Cluster("c", GPUS, links, ("sw",))
    assert names(cluster, 0, 2) == ("g0-sw", "g2-sw")


def test_fewest_links_then_least_latency() -> None:
    links = (
        Link("up", "g0", "sw", 1.0),
        Link("down", "sw", "g1", 1.0),
        Link("late", "g0", "g1", 1.0, latency_s=0.01),
        Link("soon", "g0", "g1", 1.0, latency_s=0.001),
    )
    assert names(Cluster("c", GPUS, links, ("sw",)), 0, 1) == ("soon",)


def test_given_routes_win() -> None:
    links = (Link("up", "g0", "sw", 1.0), Link("down", "sw", "g1", 1.0), Link("d", "g0", "g1", 1.0))
    routes = (Route("g0", "g1", ("up", "down")),)
    assert names(Cluster("c", GPUS, links, ("sw",), routes), 0, 1) == ("up", "down")


@given(cluster=clusters())
def test_every_route_leads_from_its_source_to_its_target(cluster: Cluster) -> None:
    for a in range(len(cluster.devices)):
        for b in range(len(cluster.devices)):
            route = cluster.route(a, b)
            if a == b:
                assert route is None
                continue
            assert route is not None
            here = cluster.devices[a].name
            for name in route.links:
                link = cluster.links[cluster.link_index[name]]
                here = link.target if here == link.source else link.source
            assert here == cluster.devices[b].name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"devices": ()}, "has no devices"),
        ({"devices": (Device("g0"), Device("g0"))}, "two devices or switches are named 'g0'"),
        ({"switches": ("g1",)}, "are named 'g1'"),
        (
            {"links": (Link("a", "g0", "g1", 1.0), Link("a", "g1", "g0", 1.0))},
            "two links are named 'a'",
        ),
        ({"links": (Link("a", "g0", "g7", 1.0),)}, "'a' ends at unknown device or switch 'g7'"),
        ({"groups": (("g0", "g7"),)}, "names unknown device 'g7'"),
        ({"transfer_engines": ("fax", None)}, "no engine 'fax' for transfers on any device"),
        ({"routes": (Route("g0", "g7", ()),)}, "ends at unknown device 'g7'"),
        ({"routes": (Route("g0", "g1", ("q",)),)}, "crosses unknown link 'q'"),
        ({"routes": (Route("g1", "g0", ("l",)),)}, "link 'l' does not start at 'g1'"),
        ({"routes": (Route("g0", "g2", ("l",)),)}, "ends at 'g1' instead"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], message: str) -> None:
    parts = {"name": "c", "devices": GPUS, "links": (Link("l", "g0", "g1", 1.0),), **changes}
    with pytest.raises(InputError, match=message):
        Cluster(**parts)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Device(""), "a device has no name"),
        (lambda: Device("d", memory_bytes=0), "device 'd': memory_bytes is 0"),
        (lambda: Device("d", memory_bytes=5, reserve_bytes=5), "leaves no memory to use"),
        (lambda: Device("d", reserve_bytes=-1), "reserve_bytes is -1"),
        (lambda: Device("d", peak_flops={"bf16": 0.0}), "peak_flops.bf16 is 0.0"),
        (lambda: Device("d", flops_efficiency=0.0), "flops_efficiency is 0.0"),
        (lambda: Device("d", engines={"compute": 0}), "engine 'compute' is 0"),
        (lambda: Device("d", slowdown={"compute": 0.5}), "slowdown of 'compute' is 0.5; at least"),
        (lambda: Link("l", "a", "b", 0.0), "link 'l': bandwidth is 0.0"),
        (lambda: Link("l", "a", "b", float("nan")), "link 'l': bandwidth is nan"),
        (lambda: Link("l", "a", "b", 1.0, -1.0), "latency_s is -1.0"),
        (lambda: Link("l", "a", "b", 1.0, capacity=0), "capacity is 0"),
        (lambda: Link("l", "a", "a", 1.0), "leads from 'a' to itself"),
    ],
)
def test_parts_that_cannot_be(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_usable_memory_leaves_the_reserve() -> None:
    assert Device("d", memory_bytes=10, reserve_bytes=3).usable_bytes == 7
    assert Device("d").usable_bytes is None
