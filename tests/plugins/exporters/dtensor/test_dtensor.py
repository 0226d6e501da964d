"""Shardings for PyTorch: applied to a decoder they change no result, and wrong ones are refused."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs
import pytest

from parplan.errors import InputError
from parplan.graph import Mode
from parplan.plans import Plan
from parplan.plugins.exporters.dtensor.exporter import SHARDING_FILE, DTensor, read_sharding
from parplan.plugins.exporters.dtensor.sharding import Mesh
from tests.plugins.exporters.dtensor.decoder import (
    SEQUENCE,
    SHARD,
    TENSOR,
    decoder_plan,
    plan_with,
)

ROOT = Path(__file__).parents[4]
LIMIT_S = 300


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
def test_two_processes_get_the_loss_and_gradients_of_one(tmp_path: Path) -> None:
    again = ("layers.0.up", "layers.1.query")
    # Each plan with its options, and with how many parameters are not whole on a process.
    exports: dict[str, tuple[Plan, dict[str, Any], int]] = {
        "tensor": (decoder_plan(TENSOR), {}, 3 + 7 * 2),
        "sequence": (decoder_plan(SEQUENCE, recompute=again), {}, 3 + 7 * 2),
        "shard": (decoder_plan(SHARD, recompute=again), {}, 5 + 13 * 2),
        "option": (decoder_plan(SHARD, devices=1), {"shard": 2}, 5 + 13 * 2),
    }
    for name, (plan, options, _) in exports.items():
        (tmp_path / name).mkdir()
        DTensor().export(plan, tmp_path / name, options)
    command = [sys.executable, "-m", "tests.plugins.exporters.dtensor.two_processes"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    folders = [str(tmp_path / name) for name in exports]
    processes = subprocess.Popen(
        [*command, str(tmp_path / "meeting"), *folders],
        cwd=ROOT,
        env=environment,
        start_new_session=True,
    )
    try:
        assert processes.wait(LIMIT_S) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(processes.pid, signal.SIGKILL)
        processes.wait()
    for name, (_, _, divided) in exports.items():
        found = json.loads((tmp_path / name / "found.json").read_text())
        assert found["loss"] < 1e-5, name
        assert found["gradient"] < 1e-5, name
        assert found["divided"] == divided, name


def exported(plan: Plan, folder: Path, **options: Any) -> dict[str, Any]:
    DTensor().export(plan, folder, options)
    found: dict[str, Any] = json.loads((folder / SHARDING_FILE).read_text())
    return found


def test_layouts_follow_from_the_neighbours(tmp_path: Path) -> None:
    (group,) = exported(decoder_plan(SEQUENCE), tmp_path)["groups"]
    styles = {m: tuple(entry.values()) for m, entry in group["tensor_parallel"].items()}
    assert styles["embed"] == ("rowwise", "replicated", "sequence")
    assert styles["layers.0.norm1"] == ("sequence", "sequence", "sequence")
    assert styles["layers.0.query"] == ("colwise", "sequence", "columns")
    assert styles["layers.1.out"] == ("rowwise", "columns", "sequence")
    assert styles["head"] == ("colwise", "sequence", "replicated")
    (group,) = exported(decoder_plan(TENSOR), tmp_path)["groups"]
    assert tuple(group["tensor_parallel"]["layers.1.out"].values())[1:] == ("columns", "replicated")


def test_a_device_stands_for_ranks_with_shards_of_its_layers(tmp_path: Path) -> None:
    exported(decoder_plan(SHARD, devices=1), tmp_path, shard=4)
    read = read_sharding(tmp_path / SHARDING_FILE)
    assert read.mesh == Mesh(pipeline=1, shard=4, tensor=1)
    assert read.groups[0].fully_shard == ("embed", "layers.0", "layers.1", "norm", "head")


def with_mode(plan: Plan, module: str, mode: Mode) -> Plan:
    """The plan with another mode for what a module runs."""
    operators = tuple(
        attrs.evolve(o, modes=(mode,)) if o.module == module else o
        for o in plan.problem.graph.operators
    )
    graph = attrs.evolve(plan.problem.graph, operators=operators)
    return plan_with(attrs.evolve(plan.problem, graph=graph), {})


PAIR = (("g0", "g1"),)


def test_what_runs_on_one_device_of_a_group_is_run_on_all_and_told(tmp_path: Path) -> None:
    alone = Mode(groups=(("g0",),), seconds={"*": 1.0})
    done = DTensor().export(with_mode(decoder_plan(TENSOR), "norm", alone), tmp_path, {})
    assert any(note.startswith("norm: the plan runs them on one device") for note in done.notes)


def test_groups_of_devices_that_overlap_are_refused(tmp_path: Path) -> None:
    plan = decoder_plan(TENSOR, devices=3)
    other = with_mode(plan, "norm", Mode("sequence-2", 2, PAIR, {"*": 1.0}))
    with pytest.raises(InputError, match="'norm:forward' runs on 2 of 3 devices"):
        DTensor().export(other, tmp_path, {})


def test_names_of_modes_may_be_given_a_style(tmp_path: Path) -> None:
    mode = Mode("megatron", 2, PAIR, {"*": 1.0})
    plan = with_mode(decoder_plan(TENSOR), "layers.0.up", mode)
    (group,) = exported(plan, tmp_path, styles={"megatron": "colwise"})["groups"]
    assert group["tensor_parallel"]["layers.0.up"]["style"] == "colwise"


@pytest.mark.parametrize(
    ("module", "mode", "said"),
    [
        ("layers.0.up", "expert-2", "'layers.0.up:?.*' runs in mode 'expert-2'"),
        ("layers.0.up", "colwise-4", "mode 'colwise-4' on 2 devices"),
        ("layers.0.up", "shard-2", "same samples or different ones"),
        ("norm", "sequence-2", "from 'embed:forward' is sequence: replicate reads replicated"),
        ("layers.0.norm1", "sequence-2", "reads results that are divided differently"),
        ("layers.0.out", "colwise-2", "is columns: colwise reads"),
    ],
)  # fmt: skip
def test_what_pytorch_would_run_wrongly_is_named(
    module: str, mode: str, said: str, tmp_path: Path
) -> None:
    plan = with_mode(decoder_plan(TENSOR), module, Mode(mode, 2, PAIR, {"*": 1.0}))
    with pytest.raises(InputError, match=said):
        DTensor().export(plan, tmp_path, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("plan", "options", "said"),
    [
        (decoder_plan(SHARD, devices=1), {}, "nothing to apply"),
        (decoder_plan(SHARD), {"shard": 0}, "at least 1"),
        (decoder_plan(SHARD), {"styles": {"x": "diagonal"}}, "styles"),
    ],
)
def test_options_are_checked(
    plan: Plan, options: Mapping[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        DTensor().export(plan, tmp_path, options)


@pytest.mark.parametrize(
    "name", ["layers.0.up'); import os  #", "../up", "layers..up", "ü", "0.up"]
)
def test_a_name_that_is_no_module_is_refused(name: str, tmp_path: Path) -> None:
    plan = decoder_plan(TENSOR)
    operators = tuple(
        attrs.evolve(o, module=name) if o.module == "layers.0.up" else o
        for o in plan.problem.graph.operators
    )
    graph = attrs.evolve(plan.problem.graph, operators=operators)
    with pytest.raises(InputError, match="no path of a module"):
        DTensor().export(plan_with(attrs.evolve(plan.problem, graph=graph), {}), tmp_path, {})
