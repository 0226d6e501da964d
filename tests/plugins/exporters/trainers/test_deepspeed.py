"""Boundaries of stages for DeepSpeed."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from parplan.errors import InputError
from parplan.plans import Plan
from parplan.plugins.exporters.trainers.deepspeed import MODULE_FILE, DeepSpeed
from tests.plugins.exporters.trainers.decoders import LOOP, decoder_plan


class PipelineOnPaper:
    """What of DeepSpeed's PipelineModule the subclass touches."""

    def __init__(self, rank: int, stages: int, layers: int) -> None:
        self.global_rank = rank
        self._layer_specs = [None] * layers
        self._topo = SimpleNamespace(
            get_dim=lambda axis: stages, get_coord=lambda rank: SimpleNamespace(pipe=rank)
        )
        self._partition_layers("uniform")

    def _partition_layers(self, method: str) -> None:
        raise NotImplementedError

    def _set_bounds(self, start: int, stop: int) -> None:
        self.bounds = (start, stop)


def test_each_rank_gets_the_layers_of_its_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = DeepSpeed().export(decoder_plan(), tmp_path, {})
    assert done.figures["parts"] == [0, 4, 9]
    assert "DeepSpeed runs its own order, 1F1B" in done.notes[0]
    pipe: Any = ModuleType("deepspeed.pipe")
    pipe.PipelineModule = PipelineOnPaper
    monkeypatch.setitem(sys.modules, "deepspeed", ModuleType("deepspeed"))
    monkeypatch.setitem(sys.modules, "deepspeed.pipe", pipe)
    made = runpy.run_path(str(tmp_path / MODULE_FILE))
    assert made["LAYERS"][3:5] == ["layers.2", "layers.3"]
    assert made["GRADIENT_ACCUMULATION_STEPS"] == 4
    assert [made["PlannedPipeline"](rank, 2, 9).bounds for rank in (0, 1)] == [(0, 4), (4, 9)]
    with pytest.raises(ValueError, match="9 layers in 2 stages, the model 9 in 3"):
        made["PlannedPipeline"](0, 3, 9)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (decoder_plan(LOOP), "stage 2 is the second one on 'g0'"),
        (decoder_plan((0, 0, 0, 0, 1, 1, 1, 1, 1, 2)), "stage 2 holds no layer but the loss"),
    ],
)
def test_what_deepspeed_cannot_run_is_named(plan: Plan, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        DeepSpeed().export(plan, tmp_path, {})
