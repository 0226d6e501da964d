"""Cluster sections from recorded outputs: what they hold, that a plan takes them, what is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from parplan.cluster_detection.bandwidths import GroupBandwidth, parse_bandwidths
from parplan.cluster_detection.gpus import parse_gpus
from parplan.cluster_detection.hosts import parse_hosts
from parplan.cluster_detection.section import Detected, Findings, cluster_section
from parplan.cluster_detection.topology import parse_topology
from parplan.errors import InputError
from parplan.hardware import Cluster
from parplan.spec.cluster import ClusterSpec, build_cluster
from parplan.spec.structuring import structure

RECORDED = Path(__file__).parent / "recorded"


def recorded(name: str) -> str:
    return (RECORDED / name).read_text()


def found(
    topology: str = "", gpus: str = "", hosts: str = "", bandwidths: str = "", **said: str
) -> Findings:
    measured = parse_bandwidths(recorded(bandwidths)) if bandwidths else ()
    is_group = isinstance(measured, GroupBandwidth)
    return Findings(
        topology=parse_topology(recorded(topology)) if topology else None,
        gpus=parse_gpus(recorded(gpus)) if gpus else (),
        hosts=parse_hosts(hosts) if hosts else (),
        pairs=() if is_group else measured,
        group=measured if is_group else None,
        **said,
    )


def cluster_of(detected: Detected) -> Cluster:
    return build_cluster(structure(dict(detected.section), ClusterSpec))


def test_nvlinks_of_all_pairs_are_one_switch() -> None:
    detected = cluster_section(found("topo-hgx-h100.txt", "gpus-h100.txt"))
    assert detected.section == {
        "devices": [{"name": "gpu{}", "count": 8, "node": "node", "preset": "h100-sxm-80gb"}],
        "intra": {"preset": "nvlink4"},
    }
    assert detected.notes == ()


def test_nodes_are_as_the_one_that_was_looked_at() -> None:
    one = found("topo-hgx-h100.txt", "gpus-h100.txt", "n[01-02]", inter="infiniband-ndr")
    detected = cluster_section(one)
    cluster = cluster_of(detected)
    assert [device.name for device in cluster.devices][7:9] == ["n01.gpu7", "n02.gpu0"]
    assert detected.section["inter"] == {"preset": "infiniband-ndr"}
    assert "8 network cards for 8 GPUs" in detected.notes[0]
    few = cluster_section(
        found("topo-dgx1-v100.txt", "gpus-v100.txt", "a,b", inter="infiniband-hdr", pcie="pcie3")
    )
    assert few.section["inter"] == {"preset": "infiniband-hdr", "nics_per_node": 4}


def test_some_nvlinks_stand_beside_pcie() -> None:
    cluster = cluster_of(
        cluster_section(found("topo-dgx1-v100.txt", "gpus-v100.txt", pcie="pcie3-x16"))
    )
    bandwidth = {(link.source, link.target): link.bandwidth for link in cluster.links}
    assert bandwidth["gpu0", "gpu3"] == bandwidth["gpu3", "gpu0"] == 50e9  # two of six
    assert bandwidth["gpu0", "gpu1"] == 25e9
    assert ("gpu0", "gpu7") not in bandwidth
    assert bandwidth["gpu0", "node.pcie"] == 15.75e9
    names = [device.name for device in cluster.devices]
    direct = cluster.route(names.index("gpu0"), names.index("gpu3"))
    assert direct is not None
    assert direct.links == ("gpu0-gpu3",)


def test_pcie_is_as_the_driver_says() -> None:
    detected = cluster_section(found("topo-l40s-pcie.txt", "gpus-l40s.csv"))
    assert detected.section["intra"] == {"preset": "pcie4-x16"}
    assert "host bridges" in detected.notes[0]


def test_measured_bandwidths_are_taken_as_they_are() -> None:
    one = cluster_section(found(bandwidths="nccl-all-reduce-one-node.txt"))
    assert one.section["devices"][0]["preset"] == "h100-sxm-80gb"
    assert one.section["intra"] == {"bandwidth": "472.1 GB/s"}
    assert "messages of 1073741824 bytes" in one.notes[0]
    two = cluster_section(found(bandwidths="nccl-sendrecv-two-nodes.txt"))
    assert [entry["node"] for entry in two.section["devices"]] == ["ampere01", "ampere02"]
    assert two.section["inter"] == {"bandwidth": "24.2 GB/s"}
    pairs = cluster_of(cluster_section(found(bandwidths="pairs.csv", gpu="rtx-4090")))
    assert [(link.source, link.bandwidth, link.latency_s) for link in pairs.links] == [
        ("left", 11.5e9, 6e-6),
        ("right", 11e9, 6e-6),
    ]


def test_an_unknown_device_is_told_and_not_taken_for_another() -> None:
    detected = cluster_section(found(gpus="gpus-unknown.csv", intra="pcie4"))
    assert detected.section["devices"][0]["kind"] == "nvidia-rtx-6000-ada-generation"
    assert detected.section["devices"][0]["memory_bytes"] == 49140 * 2**20
    assert "no preset is known for 'NVIDIA RTX 6000 Ada Generation'" in detected.notes[0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "which devices there are"),
        ({"hosts": "a,b"}, "how many devices host 'a' has"),
        ({"hosts": "a slots=2"}, "name their preset with --gpu"),
        ({"hosts": "a slots=2", "gpu": "h100"}, "give --topology, --bandwidths"),
        ({"hosts": "a slots=2", "gpu": "h1000"}, "did you mean"),
        ({"topology": "topo-hgx-h100.txt", "gpus": "gpus-l40s.csv"}, "both of one node"),
        ({"topology": "topo-hgx-h100.txt", "gpus": "gpus-h100.txt", "hosts": "a,b"}, "--inter"),
        ({"topology": "topo-hgx-h100.txt", "gpus": "gpus-h100.txt", "hosts": "a:4"}, "4 slots"),
        ({"topology": "topo-hgx-h100.txt", "gpu": "l40s"}, "how fast an NVLink of 'l40s'"),
        ({"topology": "topo-dgx1-v100.txt", "gpus": "gpus-v100.txt"}, "--pcie"),
        ({"bandwidths": "pairs.csv"}, "--gpu"),
    ],
)
def test_what_is_not_known_is_asked_for(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        cluster_section(found(**given))
