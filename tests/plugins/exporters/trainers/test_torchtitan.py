"""Pipelines for TorchTitan: what is written is what the plan holds, and what cannot be is told."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from parplan.errors import InputError
from parplan.plans import Plan
from parplan.plugins.exporters.trainers.torchtitan import SETTINGS_FILE, TorchTitan, read_settings
from tests.plan_samples import HOSTILE
from tests.plugins.exporters.trainers.decoders import LOOP, NAMES, V, decoder_plan


def exported(plan: Plan, folder: Path, **options: Any) -> dict[str, Any]:
    TorchTitan().export(plan, folder, options)
    return read_settings((folder / SETTINGS_FILE).read_text())


def test_settings_hold_the_stages_and_the_schedule_beside_them(tmp_path: Path) -> None:
    settings = exported(decoder_plan(), tmp_path)
    assert settings == {
        "pipeline_parallel_degree": 2,
        "pipeline_parallel_schedule": "PipelineScheduleMulti",
        "module_fqns_per_model_part": [
            ["tok_embeddings", "layers.0", "layers.1", "layers.2"],
            ["layers.3", "layers.4", "layers.5", "norm", "lm_head"],
        ],
    }


def parallelism(**fields: Any) -> SimpleNamespace:
    names = ("degree", "schedule", "schedule_csv")
    known = dict.fromkeys(f"pipeline_parallel_{name}" for name in names)
    return SimpleNamespace(**known, module_fqns_per_model_part=None, **fields)


def test_settings_go_into_the_configs_of_both_versions(tmp_path: Path) -> None:
    settings = exported(decoder_plan(), tmp_path, micro_batch=3)
    with_pipeline = runpy.run_path(str(tmp_path / SETTINGS_FILE))["with_pipeline"]
    counting = SimpleNamespace(parallelism=parallelism(num_pp_microbatches=None))
    assert with_pipeline(counting) is counting
    found = vars(counting.parallelism)
    assert Path(found.pop("pipeline_parallel_schedule_csv")).read_text().count("\n") == 2
    assert found == {**settings, "num_pp_microbatches": 4}
    sized = SimpleNamespace(
        parallelism=parallelism(pipeline_parallel_microbatch_size=1),
        training=SimpleNamespace(local_batch_size=8),
    )
    with_pipeline(sized)
    assert sized.parallelism.pipeline_parallel_microbatch_size == 3
    assert vars(sized.training) == {"local_batch_size": 12, "disable_cuda_graphs": True}
    del sized.parallelism.module_fqns_per_model_part
    with pytest.raises(AttributeError, match=r"no parallelism\.module_fqns"):
        with_pipeline(sized)


@pytest.mark.parametrize(
    ("places", "name", "sizes"),
    [
        (LOOP, "PipelineScheduleMulti", [2, 1, 1, 5]),
        (V, "ZBVZeroBubble", [3, 2, 1, 3]),
        ((1, 1, 1, 0, 0, 0, 0, 0, 0, 0), "PipelineScheduleMulti", [3, 6]),
    ],
)
def test_the_name_of_the_schedule_puts_stages_where_they_are(
    places: tuple[int, ...], name: str, sizes: list[int], tmp_path: Path
) -> None:
    done = TorchTitan().export(decoder_plan(places), tmp_path, {"slack": 10.0})
    settings = read_settings((tmp_path / SETTINGS_FILE).read_text())
    assert settings["pipeline_parallel_schedule"] == name
    assert [len(stage) for stage in settings["module_fqns_per_model_part"]] == sizes
    # The rank of the first stage is the first, whatever the cluster's order.
    assert done.figures["ranks"] == [f"g{places[0]}", f"g{1 - places[0]}"]


def test_names_of_other_models_are_given(tmp_path: Path) -> None:
    names = [f"net.{n.replace('layers', 'trunk')}" for n in NAMES]
    given = {"net.trunk": "layers", "net": "model"}
    settings = exported(decoder_plan(names=names), tmp_path, modules=given, head="output")
    assert settings["module_fqns_per_model_part"][1][-3:] == ["layers.5", "norm", "output"]


def test_a_name_of_a_plan_is_no_code(tmp_path: Path) -> None:
    plan = decoder_plan()
    problem = attrs.evolve(plan.problem, name=f'"""\nraise SystemExit\n"""{HOSTILE}')
    schedule = attrs.evolve(plan.schedule, problem=problem)
    TorchTitan().export(attrs.evolve(plan, problem=problem, schedule=schedule), tmp_path, {})
    assert runpy.run_path(str(tmp_path / SETTINGS_FILE))["SCHEDULE_FILE"] == "compute.csv"


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (decoder_plan((0, 0, 1, 1, 0, 0, 2, 2, 2, 2)), "stage 2 on 'g0' where a loop has 'g2'"),
        (decoder_plan((0, 0, 1, 1, 1, 1, 1, 1, 1, 2)), "stage 2 holds loss, for which"),
        (decoder_plan(names=[*NAMES[:3], "vision.0", *NAMES[4:]]), "module 'vision.0' is no part"),
        (decoder_plan(names=[*NAMES[:3], "layers.9", *NAMES[4:]]), "'layers.3' comes after"),
        (
            decoder_plan((0, 0, 1, 1), names=["embedding", "layers.0.a", "layers.0.b", "head"]),
            "'layers.0' is divided among stages 0 and 1",
        ),
        (
            decoder_plan(
                (0, 1, 2, 2),
                names=["embedding", "layers.0", "layers.1", "head"],
                reads={"embedding": (), "layers.0": ("embedding",),
                       "layers.1": ("embedding", "layers.0"), "head": ("layers.1",)},
            ),
            "form no chain: stage 2 reads from stage 0",
        ),
    ],
)  # fmt: skip
def test_what_torchtitan_cannot_run_is_named(plan: Plan, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        TorchTitan().export(plan, tmp_path, {})
    assert list(tmp_path.iterdir()) == []


def test_passes_overlap_where_asked(tmp_path: Path) -> None:
    exported(decoder_plan(V, microbatches=6), tmp_path, slack=10.0, overlap=True)
    assert "OVERLAP_F_B" in (tmp_path / "compute.csv").read_text()  # checked by check_compute
