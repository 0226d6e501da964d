"""Parsers of what tools print: recorded outputs, and faults by line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parplan.cluster_detection.bandwidths import GroupBandwidth, parse_bandwidths
from parplan.cluster_detection.gpus import Gpu, parse_gpus
from parplan.cluster_detection.hosts import Host, parse_hosts
from parplan.cluster_detection.topology import parse_topology
from parplan.errors import InputError
from tests.cluster_detection.test_section import recorded


def test_a_topology_has_gpus_cards_and_joins() -> None:
    mixed = parse_topology(recorded("topo-dgx1-v100.txt"))
    assert mixed.gpus == tuple(range(8))
    assert mixed.nics == ("mlx5_0", "mlx5_1", "mlx5_2", "mlx5_3")
    assert [mixed.joins[0, other] for other in range(1, 8)] == [
        "NV1", "NV1", "NV2", "NV2", "SYS", "SYS", "SYS",
    ]  # fmt: skip
    assert set(parse_topology(recorded("topo-hgx-h100.txt")).joins.values()) == {"NV18"}


def test_gpus_are_read_from_a_list_and_from_csv() -> None:
    assert parse_gpus(recorded("gpus-h100.txt"))[3] == Gpu(3, "NVIDIA H100 80GB HBM3")
    assert parse_gpus(recorded("gpus-l40s.csv"))[1] == Gpu(1, "NVIDIA L40S", 46068 * 2**20, 4, 16)
    assert (
        parse_gpus("index, name, memory.total [MiB]\n0, NVIDIA X, [N/A]\n")[0].memory_bytes is None
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("node[01-03,07]", ["node01", "node02", "node03", "node07"]),
        ("a,b[8-11],c", ["a", "b8", "b9", "b10", "b11", "c"]),
        ("r[1-2]n[1,3].x", ["r1n1.x", "r1n3.x", "r2n1.x", "r2n3.x"]),
        ("gpu[098-101]", ["gpu098", "gpu099", "gpu100", "gpu101"]),
    ],
)
def test_host_lists_of_slurm(text: str, names: list[str]) -> None:
    assert [host.name for host in parse_hosts(text)] == names


def test_host_files_have_slots() -> None:
    assert parse_hosts(recorded("hostfile")) == (Host("worker-1", 4), Host("worker-2", 4))
    assert parse_hosts("a:2\nb max_slots=9\n") == (Host("a", 2), Host("b"))


@given(st.integers(0, 9999), st.integers(0, 40), st.integers(1, 5))
def test_a_range_is_as_long_as_it_says(first: int, more: int, width: int) -> None:
    hosts = parse_hosts(f"n[{first:0{width}}-{first + more}]")
    assert [int(host.name[1:]) for host in hosts] == list(range(first, first + more + 1))


def test_nccl_tests_give_the_bus_bandwidth_of_the_largest_message() -> None:
    group = parse_bandwidths(recorded("nccl-all-reduce-one-node.txt"))
    assert isinstance(group, GroupBandwidth)
    assert (group.bandwidth, group.message_bytes) == (472.1e9, 2**30)
    assert group.hosts == ("hopper01",)
    assert group.ranks[7] == ("hopper01", 7, "NVIDIA H100 80GB HBM3")


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (parse_topology, "nothing", "has no table"),
        (parse_topology, "\tGPU0\tGPU1\tCPU Affinity\nGPU0\tX\tNV4\t0-3\n", "no row 'GPU1'"),
        (parse_topology, "\tGPU0\tGPU1\nGPU0\tX\tQPI\nGPU1\tQPI\tX\n", "2: 'QPI' of GPU0 and GPU1"),
        (parse_topology, "\tGPU0\tGPU1\nGPU0\tX\tNV4\nGPU1\tSYS\tX\n", "in the two directions"),
        (parse_gpus, "No devices were found", "names no GPU"),
        (parse_gpus, "GPU 0: A\nGPU 0: B\n", "twice"),
        (parse_hosts, "", "names no host"),
        (parse_hosts, "a\nb slot=4", "2: 'slot=4' is neither"),
        (parse_hosts, "n[3-1]", "no range"),
        (parse_hosts, "n[1-999999999]", "no range of up to"),
        (parse_hosts, "n[1-2],n2", "named twice"),
        (parse_hosts, "n[1-2", "no name of a host"),
        (parse_hosts, "-rf", "no name of a host"),
        (parse_bandwidths, "a,b,fast", "1: 'fast' is no figure"),
        (parse_bandwidths, "a,a,3", "is no pair"),
        (parse_bandwidths, "a,b,3\na,b,4", "2: a to b stands there twice"),
        (parse_bandwidths, "# busbw\n 8 2 float sum -1 1 1 1 0 1 1 1 0", "no lines '# Rank"),
    ],
)
def test_faults_are_told_by_line(parse: Callable[[str], Any], text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)
    assert said in str(caught.value.located(file=""))
