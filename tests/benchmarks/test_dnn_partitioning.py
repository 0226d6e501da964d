"""Workloads of dnn-partitioning mean what that project says: its own splits have its own loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cases import Context
from benchmarks.dnn_partitioning import (
    FOLDER,
    MS,
    STEADY_STATE,
    cases,
    expert_load,
    published,
)
from benchmarks.dnn_partitioning_files import read_workload


@pytest.mark.parametrize(
    "workload",
    ["bert24_inference", "bert24_training", "inceptionv3_inference", "resnet50_inference"],
)
def test_splits_made_by_hand_have_the_published_loads(data_dir: Path, workload: str) -> None:
    folder = data_dir / FOLDER
    problem = read_workload(
        folder / "throughput-inputs/LayerGraphs" / f"{workload}.json", STEADY_STATE
    )
    found = expert_load(problem, folder / "human-experts" / f"{workload}_expert.json")
    row = published(Context(data_dir, 1.0), f"La_{workload}")
    assert found / MS == pytest.approx(row["expert"], rel=1e-5)


def test_every_file_is_a_case_and_one_of_each_kind_is_short(data_dir: Path) -> None:
    names = [case.name for case in cases()]
    assert len(set(names)) == len(names)
    inputs = {
        kind: len(list((data_dir / FOLDER / f"{kind}-inputs").glob("*/*.json")))
        for kind in ("throughput", "latency")
    }
    assert sum("/throughput-free-" in name for name in names) == inputs["throughput"]
    assert sum("/throughput-contiguous-" in name for name in names) == inputs["throughput"]
    assert sum("/latency-" in name for name in names) == inputs["latency"]
    assert sum(case.short for case in cases()) == 2
