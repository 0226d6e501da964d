"""What trainers themselves make of ten plans: their parsers, stages and orders are the plan's.

Each test needs its trainer, and is skipped where that is not installed; nothing here needs a GPU.
Trainers ask for more than they need to read a plan, and for other versions than ours; so they are
best kept apart, in a folder that ``PARPLAN_TRAINERS`` names and that comes last in the path::

    pip install --no-deps --target FOLDER torchtitan==0.3.0 nemo-automodel==0.7.0 \\
        megatron-core==0.16.1 deepspeed==0.19.8 tyro typeguard docstring-parser shtab spmd-types \\
        torchdata datasets pyarrow dill xxhash multiprocess aiohttp tensorboard triton einops \\
        psutil py-cpuinfo hjson ninja msgpack blobfile pandas
"""

from __future__ import annotations

import os
import re
import runpy
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import frozen

from parplan.plans import Plan
from parplan.plugins.exporters.trainers.automodel import RECIPE_FILE, Automodel
from parplan.plugins.exporters.trainers.deepspeed import MODULE_FILE, DeepSpeed
from parplan.plugins.exporters.trainers.megatron import ARGUMENTS_FILE, Megatron, read_arguments
from parplan.plugins.exporters.trainers.own_order import own_program
from parplan.plugins.exporters.trainers.torchtitan import SETTINGS_FILE, TorchTitan
from tests.plugins.exporters.trainers.decoders import LOOP, STRAIGHT, V, decoder_plan

AGAIN = ("layers.0", "layers.1")
"""Layers whose forward pass runs again in the backward pass."""


@frozen
class Case:
    """A plan of a decoder with six layers by the devices of its parts."""

    places: tuple[int, ...]
    microbatches: int = 4

    @property
    def plan(self) -> Plan:
        """The plan, each device working as early as it can."""
        return decoder_plan(self.places, microbatches=self.microbatches, recompute=AGAIN)

    @property
    def is_loop(self) -> bool:
        """Whether stages go round, as Megatron-LM has them."""
        return self.places != V

    @property
    def is_straight(self) -> bool:
        """Whether each device has one stage, as DeepSpeed has it."""
        visits = [p for i, p in enumerate(self.places) if not i or p != self.places[i - 1]]
        return len(visits) == len(set(visits))


if os.environ.get("PARPLAN_TRAINERS"):
    sys.path.append(os.environ["PARPLAN_TRAINERS"])

CASES = [
    Case(STRAIGHT),
    Case(LOOP),
    Case(V),
    Case((1, 1, 1, 1, 1, 0, 0, 0, 0, 0), 3),
    Case((0, 0, 1, 1, 1, 1, 1, 2, 2, 2), 6),
    Case((0, 1, 2, 0, 1, 2, 2, 2, 2, 2), 3),
    Case((0, 0, 0, 1, 1, 2, 3, 3, 3, 3), 8),
    Case((3, 3, 0, 0, 1, 1, 2, 2, 2, 2), 5),
    Case((0, 0, 1, 0, 1, 0, 1, 1, 1, 1), 4),
    Case((0, 1, 2, 3, 4, 5, 6, 6, 6, 6), 7),
]
SLACK = 100.0
"""Random orders of the hand-made plans are worth nothing, so stages may cost what they like."""


@contextmanager
def pretended_ranks(rank: int, ranks: int) -> Iterator[None]:
    """A process group of so many ranks in this process, in which nothing is sent."""
    distributed = pytest.importorskip("torch.distributed")
    from torch.testing._internal.distributed.fake_pg import FakeStore

    distributed.init_process_group("fake", store=FakeStore(), rank=rank, world_size=ranks)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rows_of(folder: Path) -> list[list[str]]:
    return [line.split(",") for line in (folder / "compute.csv").read_text().splitlines()]


def computed(schedule: Any, rank: int) -> list[str]:
    """The computation of a rank in a schedule that PyTorch has loaded."""
    found = map(str, schedule.pipeline_order_with_comms[rank])
    return [action for action in found if re.fullmatch(r"\d+[FBIW]\d+", action)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "".join(map(str, case.places)))
@pytest.mark.filterwarnings("ignore")
def test_torchtitan_makes_the_stages_and_loads_the_order(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "torchtitan, with what it needs, is not installed"
    pytest.importorskip("torchtitan.trainer", reason=why, exc_type=ImportError)
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torchtitan.config import ConfigManager
    from torchtitan.distributed import pipeline_parallel as titan

    done = TorchTitan().export(case.plan, tmp_path, {"slack": SLACK})
    with_pipeline = runpy.run_path(str(tmp_path / SETTINGS_FILE))["with_pipeline"]
    from torchtitan.models.llama3.config_registry import llama3_debugmodel

    registry = types.ModuleType("planned_registry")
    registry.planned = lambda: with_pipeline(llama3_debugmodel())
    monkeypatch.setitem(sys.modules, "planned_registry", registry)
    config = ConfigManager().parse_args(["--module", "planned_registry", "--config", "planned"])
    parallelism, ranks = config.parallelism, done.figures["ranks"]
    with torch.device("meta"):
        model = config.model_spec.model.build()
    held: list[str] = []
    for rank in range(len(ranks)):
        with pretended_ranks(rank, len(ranks)):
            mesh = init_device_mesh("cpu", (len(ranks),), mesh_dim_names=("pp",))
            stages, parts = titan._pipeline_module_split(
                model,
                mesh,
                parallelism.pipeline_parallel_schedule,
                torch.device("cpu"),
                parallelism.module_fqns_per_model_part,
            )
            schedule = titan._build_pipeline_schedule(
                parallelism=parallelism,
                local_batch_size=config.training.local_batch_size,
                stages=stages,
                loss_fn=lambda *_: None,
            )
        held += [name for part in parts for name, _ in part.named_parameters()]
        numbers = {int(re.split("[FBIW]", cell)[0]) for cell in rows_of(tmp_path)[rank]}
        assert {stage.stage_index for stage in stages} == numbers
        assert computed(schedule, rank) == rows_of(tmp_path)[rank]
        assert schedule._n_microbatches == case.microbatches
    # Layers are numbered anew in each part, so they are counted.
    assert len(held) == len(list(model.named_parameters()))


@pytest.mark.parametrize("case", CASES, ids=lambda case: "".join(map(str, case.places)))
@pytest.mark.filterwarnings("ignore")
def test_automodel_makes_the_stages_and_loads_the_order(case: Case, tmp_path: Path) -> None:
    automodel = pytest.importorskip(
        "nemo_automodel.components.distributed.pipelining.functional",
        reason="nemo-automodel, with what it needs, is not installed",
        exc_type=ImportError,
    )
    import torch
    from nemo_automodel.recipes._dist_utils import parse_distributed_section
    from torch.distributed.device_mesh import init_device_mesh
    from transformers import LlamaConfig, LlamaForCausalLM

    ranks = len(set(case.places))
    if case.microbatches < ranks:
        pytest.skip("the exporter refuses fewer microbatches than ranks, as Automodel does")
    Automodel().export(case.plan, tmp_path, {"slack": SLACK, "micro_batch": 2})
    section = yaml.safe_load((tmp_path / RECIPE_FILE).read_text())
    read = parse_distributed_section({"strategy": "fsdp2", **section["distributed"]})
    config, batch = read["pipeline_config"], section["step_scheduler"]["local_batch_size"]
    assert (read["pp_size"], read["pp_enabled"]) == (ranks, True)
    small = LlamaConfig(
        vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=6,
        num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=False,
    )  # fmt: skip
    with torch.device("meta"):
        model = LlamaForCausalLM(small)
    held: list[str] = []
    for rank in range(ranks):
        with pretended_ranks(rank, ranks):
            mesh = init_device_mesh("cpu", (ranks,), mesh_dim_names=("pp",))
            stages, parts = automodel.split_model_into_stages(
                model, mesh, "pp", config.pp_schedule, torch.device("cpu"),
                config.module_fqns_per_model_part,
            )  # fmt: skip
            schedule = automodel.build_pipeline_schedule(
                config.pp_schedule_csv, config.pp_schedule, config.pp_microbatch_size, batch,
                stages, lambda *_: None,
            )  # fmt: skip
        held += [name for part in parts for name, _ in part.named_parameters()]
        assert computed(schedule, rank) == rows_of(tmp_path)[rank]
        assert schedule._n_microbatches == case.microbatches
    assert sorted(held) == sorted(name for name, _ in model.named_parameters())


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.is_loop], ids=lambda case: "".join(map(str, case.places))
)
@pytest.mark.parametrize("recompute", ["none", "full", "block"])
@pytest.mark.filterwarnings("ignore")
def test_megatron_reads_the_layout_and_runs_the_order(
    case: Case, recompute: str, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        core = pytest.importorskip(
            "megatron.core.transformer.transformer_config",
            reason="megatron-core, with what it needs, is not installed",
            exc_type=ImportError,
        )
        from megatron.core.num_microbatches_calculator import ConstantNumMicroBatchesCalculator
        from megatron.core.pipeline_parallel.schedules import get_schedule_table
        from megatron.core.transformer.enums import LayerType
    import torch

    groups = {"group": 4} if len(set(case.places)) < 4 and case.microbatches == 4 else {}
    options = {"recompute": recompute, "data": 2, "micro_batch": 3, **groups}
    done = Megatron().export(case.plan, tmp_path, options)
    flags = read_arguments((tmp_path / ARGUMENTS_FILE).read_text())
    batches = (int(flags.pop(f"--{size}-batch-size")) for size in ("global", "micro"))
    ranks, chunks = len(done.figures["ranks"]), done.figures["stages"] // len(done.figures["ranks"])
    calculator = ConstantNumMicroBatchesCalculator(*batches, 2, False, 0)
    assert calculator.get() == case.microbatches
    # Its arguments are named as the fields of its configs, and have their types.
    fields = core.TransformerConfig.__dataclass_fields__
    given = {name.removeprefix("--").replace("-", "_"): value for name, value in flags.items()}
    if (group := given.pop("microbatch_group_size_per_virtual_pipeline_stage", None)) is not None:
        given["microbatch_group_size_per_vp_stage"] = group
    assert given.keys() <= fields.keys()
    config = core.TransformerConfig(
        **{k: int(v) if v.isdigit() else v for k, v in given.items()},
        hidden_size=64,
        num_attention_heads=4,
        pipeline_dtype=torch.bfloat16,
    )
    assert (config.virtual_pipeline_model_parallel_size or 1) == chunks
    program = own_program(case.plan, "Megatron-LM", groups.get("group", 0))
    layout = config.pipeline_model_parallel_layout.layout
    for stage in program.stages:
        letters = layout[stage.rank][stage.index // ranks]
        layers = sum(module.startswith("layers.") for module in stage.modules)
        assert letters.count(LayerType.decoder) == layers
    # The order in which the exporter times the plan is that of its schedule.
    table = get_schedule_table(case.microbatches, chunks, groups.get("group", ranks))
    for rank, row in enumerate(program.ranks):
        order = [t.action for t in row.actions]
        forwards = [(a.microbatch, a.stage // ranks) for a in order if a.kind == "F"]
        backwards = [(a.microbatch, chunks - 1 - a.stage // ranks) for a in order if a.kind == "B"]
        assert forwards == backwards == table
        assert {a.stage % ranks for a in order} == {rank}


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.is_straight], ids=lambda case: "".join(map(str, case.places))
)
@pytest.mark.filterwarnings("ignore")
def test_deepspeed_takes_the_boundaries_and_runs_the_order(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schedule = pytest.importorskip(
        "deepspeed.runtime.pipe.schedule",
        reason="deepspeed, with what it needs, is not installed",
        exc_type=ImportError,
    )
    from deepspeed.runtime.pipe.topology import PipeDataParallelTopology

    done = DeepSpeed().export(case.plan, tmp_path, {})
    written = runpy.run_path(str(tmp_path / MODULE_FILE))
    parts, ranks = done.figures["parts"], len(done.figures["ranks"])
    program = own_program(case.plan, "DeepSpeed")
    for rank in range(ranks):
        pipeline = object.__new__(written["PlannedPipeline"])
        for name, value in {
            "_topo": PipeDataParallelTopology(num_pp=ranks, num_dp=1),
            "_layer_specs": written["LAYERS"],
            "global_rank": rank,
        }.items():
            object.__setattr__(pipeline, name, value)
        pipeline._partition_layers()
        assert (pipeline._local_start, pipeline._local_stop) == (parts[rank], parts[rank + 1])
        steps = schedule.TrainSchedule(case.microbatches, ranks, rank)
        kinds = {schedule.ForwardPass: "F", schedule.BackwardPass: "B"}
        order = [kinds[type(cmd)] for step in steps for cmd in step if type(cmd) in kinds]
        assert order == [t.action.kind for t in program.ranks[rank].actions]
