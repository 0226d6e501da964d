"""Sections of recipes for NeMo Automodel."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from parplan.errors import InputError
from parplan.plugins.exporters.trainers.automodel import RECIPE_FILE, Automodel
from tests.plugins.exporters.trainers.decoders import STRAIGHT, V, decoder_plan


@pytest.mark.parametrize(
    ("places", "name", "sizes"),
    [(STRAIGHT, "Interleaved1F1B", [5, 6]), (V, "ZBVZeroBubble", [4, 3, 2, 4])],
)
def test_a_section_holds_the_stages_and_the_schedule(
    places: tuple[int, ...], name: str, sizes: list[int], tmp_path: Path
) -> None:
    Automodel().export(decoder_plan(places), tmp_path, {"micro_batch": 2, "slack": 10.0})
    section = yaml.safe_load((tmp_path / RECIPE_FILE).read_text())
    assert section["step_scheduler"] == {"local_batch_size": 8}
    assert section["distributed"]["pp_size"] == 2
    pipeline = section["distributed"]["pipeline"]
    assert (pipeline["pp_schedule"], pipeline["pp_microbatch_size"]) == (name, 2)
    modules = pipeline["module_fqns_per_model_part"]
    assert [len(stage) for stage in modules] == sizes
    assert {stage.pop() for stage in modules} == {"model.rotary_emb"}
    layers = [f"model.layers.{i}" for i in range(6)]
    flat = [module for stage in modules for module in stage]
    assert flat == ["model.embed_tokens", *layers, "model.norm", "lm_head"]
    assert len(Path(pipeline["pp_schedule_csv"]).read_text().splitlines()) == 2


def test_too_few_microbatches_and_a_stage_of_the_loss_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least as many microbatches as its 2 ranks"):
        Automodel().export(decoder_plan(microbatches=1), tmp_path, {})
    with pytest.raises(InputError, match="stage 2 holds loss"):
        Automodel().export(decoder_plan((0, 0, 1, 1, 1, 1, 1, 1, 1, 2)), tmp_path, {})
    assert list(tmp_path.iterdir()) == []
