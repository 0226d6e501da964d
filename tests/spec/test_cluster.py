"""Nodes, presets and links of a spec become a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from parplan.errors import InputError
from parplan.hardware import Cluster
from parplan.spec.cluster import ClusterSpec, build_cluster
from parplan.spec.presets import device_preset, link_preset
from parplan.spec.structuring import structure

FAST: dict[str, Any] = {"bandwidth": "100 GB/s", "latency_s": "4 us"}
SLOW: dict[str, Any] = {"bandwidth": "10 GB/s", "latency_s": "20 us"}


def _cluster(**section: Any) -> Cluster:
    return build_cluster(structure(section, ClusterSpec, key="cluster"))


def _two_nodes(**more: Any) -> Cluster:
    devices = [
        {"name": "h{}", "count": 2, "node": "a"},
        {"name": "g{}", "count": 2, "node": "b"},
    ]
    return _cluster(**{"devices": devices, "intra": FAST, "inter": SLOW, **more})


def _links(cluster: Cluster, source: str, target: str) -> tuple[str, ...]:
    route = cluster.route(cluster.device_index[source], cluster.device_index[target])
    assert route is not None
    return route.links


def _latency(cluster: Cluster, source: str, target: str) -> float:
    names = _links(cluster, source, target)
    return sum(cluster.links[cluster.link_index[name]].latency_s for name in names)


def test_devices_of_a_preset_are_numbered() -> None:
    cluster = _cluster(devices=[{"preset": "h100-sxm-80gb", "name": "h{}", "count": 3}])
    assert [d.name for d in cluster.devices] == ["h0", "h1", "h2"]
    assert cluster.devices[2].peak_flops == device_preset("h100-sxm-80gb").peak_flops


def test_what_a_device_says_replaces_its_preset() -> None:
    cluster = _cluster(
        devices=[
            {"preset": "h100-sxm-80gb", "name": "x", "memory_bytes": "40 GB"},
            {"preset": "h100-sxm-80gb", "name": "y", "reserve_bytes": "1 GiB"},
        ],
        reserve_bytes="2 GiB",
    )
    assert [d.memory_bytes for d in cluster.devices] == [40 * 10**9, 80 * 10**9]
    assert [d.reserve_bytes for d in cluster.devices] == [2 * 2**30, 2**30]


def test_devices_of_a_node_meet_at_its_switch() -> None:
    cluster = _two_nodes()
    assert _links(cluster, "h0", "h1") == ("h0.up", "h1.down")
    assert _latency(cluster, "h0", "h1") == pytest.approx(4e-6)
    assert cluster.links[cluster.link_index["h0.up"]].bandwidth == 100e9


def test_each_device_has_its_own_nic_unless_said() -> None:
    cluster = _two_nodes()
    assert _links(cluster, "h0", "g1") == ("h0.nic.up", "g1.nic.down")
    assert _latency(cluster, "h0", "g1") == pytest.approx(20e-6)


def test_shared_nics_are_crossed_by_all_their_devices() -> None:
    cluster = _two_nodes(inter={**SLOW, "nics_per_node": 1})
    first, second = _links(cluster, "h0", "g0"), _links(cluster, "h1", "g1")
    assert {"a.nic0.up", "b.nic0.down"} <= set(first) & set(second)
    assert _latency(cluster, "h0", "g0") == pytest.approx(20e-6)
    assert _links(cluster, "h0", "h1") == ("h0.up", "h1.down")
    spread = _two_nodes(inter={**SLOW, "nics_per_node": 2})
    assert "a.nic0.up" in _links(spread, "h0", "g0")
    assert "a.nic1.up" in _links(spread, "h1", "g1")


def test_node_may_differ_from_the_others() -> None:
    cluster = _two_nodes(nodes={"b": {"intra": {"preset": "nvlink-3"}}})
    speed = {link.name: link.bandwidth for link in cluster.links}
    assert speed["h0.up"] == 100e9
    assert speed["g0.up"] == link_preset("nvlink-3").bandwidth


def test_explicit_links_one_way_two_way_and_shared() -> None:
    cluster = _cluster(
        devices=[{"name": "x"}, {"name": "y"}, {"name": "z"}],
        switches=["hub"],
        links=[
            {"source": "x", "target": "y", **SLOW},
            {"source": "x", "target": "hub", "two_way": True, **SLOW},
            {"source": "z", "target": "hub", "shared": True, "name": "bus", **SLOW},
        ],
    )
    assert [link.name for link in cluster.links] == ["x-y", "x-hub", "hub-x", "bus"]
    assert _links(cluster, "z", "x") == ("bus", "hub-x")
    assert cluster.route(1, 0) is None


def test_link_takes_a_preset_with_figures_of_its_own() -> None:
    link = {"source": "x", "target": "y", "preset": "nvlink-4", "latency_s": "9 us"}
    (made,) = _cluster(devices=[{"name": "x"}, {"name": "y"}], links=[link]).links
    assert made.bandwidth == link_preset("nvlink-4").bandwidth
    assert made.latency_s == 9e-6


@pytest.mark.parametrize(
    ("section", "key", "message"),
    [
        ({"nodes": {"c": {}}}, "cluster.nodes.c", "no device stands in node 'c'"),
        ({"inter": {**SLOW, "nics_per_node": 3}}, "cluster.inter.nics_per_node", "2 devices"),
        ({"inter": {**SLOW, "nics_per_node": 0}}, "cluster.inter.nics_per_node", "2 devices"),
        ({"intra": {**SLOW, "nics_per_node": 1}}, "cluster.intra.nics_per_node", "'inter'"),
        ({"intra": {}}, "cluster.intra", "needs a 'preset' or a 'bandwidth'"),
        ({"intra": {"preset": "nvlink-44"}}, "cluster.intra", "did you mean 'nvlink"),
        ({"nodes": {"a": {"inter": {}}}}, "cluster.nodes.a.inter", "needs a 'preset'"),
        ({"links": [{"source": "h0", "target": "h9", **SLOW}]}, "cluster.links[0].target",
         "no device or switch is named 'h9'; known: h0, h1"),
        ({"routes": [{"source": "h0", "target": "q", "links": []}]}, "cluster.routes[0].target",
         "no device is named 'q'"),
        ({"groups": [["h0", "h7"]]}, "cluster.groups[0][1]", "no device is named 'h7'"),
        ({"links": [{"source": "h0", "target": "h1", "shared": True, "two_way": True, **SLOW}]},
         "cluster.links[0]", "goes both ways already"),
        ({"links": [{"source": "h0", "target": "g0", **SLOW}] * 2}, "cluster",
         "two links are named 'h0-g0'"),
        ({"transfer_engines": ["fax", None]}, "cluster", "no engine 'fax'"),
    ],
)  # fmt: skip
def test_fault_in_a_cluster_is_located(section: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        _two_nodes(**section)
    assert caught.value.key == key
    assert message in str(caught.value)


def test_equal_devices_need_numbers() -> None:
    with pytest.raises(InputError, match=r"write 'h\{\}' to number them"):
        _cluster(devices=[{"name": "h", "count": 2}])
    with pytest.raises(InputError, match="at least 1"):
        _cluster(devices=[{"name": "h", "count": 0}])
