"""A pipeline for DeepSpeed: the boundaries of its stages, and the class that takes them.

Read in DeepSpeed edaa722 (2026-08-22), ``deepspeed/runtime/pipe/module.py``: ``parts`` holds the
first layer of each stage and the number of all; none of its own methods takes a list.
"""

from __future__ import annotations

import ast
import pprint
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar

from attrs import field, frozen

from parplan.contracts import Exported, Exporter
from parplan.errors import InputError
from parplan.files.atomic import write_text
from parplan.plans import Plan
from parplan.plugins.exporters.trainers.decoder_parts import PartKind, parts_of
from parplan.plugins.exporters.trainers.own_order import own_figures, own_notes, own_program
from parplan.spec.structuring import structure

MODULE_FILE = "deepspeed_pipeline.py"
WHO = "DeepSpeed"


@frozen
class DeepSpeedOptions:
    """How a plan becomes boundaries of DeepSpeed's stages.

    Attributes
    ----------
    as_chain
        Whether a graph of stages is made a chain: what skips stages passes through those between.
    modules
        Other names of modules: the beginning of a path in the plan, and what stands for it, such
        as ``{trunk.blocks: layers}``.
    """

    as_chain: bool = False
    modules: Mapping[str, str] = field(factory=dict)


class DeepSpeed(Exporter):
    """Writes ``deepspeed_pipeline.py``."""

    name: ClassVar[str] = "deepspeed"
    options: ClassVar[type] = DeepSpeedOptions

    def export(self, plan: Plan, directory: Path, options: Mapping[str, Any]) -> Exported:
        """Write the boundaries of a plan; InputError names what DeepSpeed cannot run."""
        chosen = structure(dict(options), DeepSpeedOptions, key="options")
        program = own_program(plan, WHO, chain=chosen.as_chain)
        if len(program.stages) > len(program.ranks):
            twice = next(s for s in program.stages if s.index >= len(program.ranks))
            raise InputError(
                f"stage {twice.index} is the second one on '{twice.device}'; {WHO} has one on each "
                "rank: plan with the constraint 'placement', option 'contiguous'"
            )
        stages = [
            [str(part) for part in stage if part.kind is not PartKind.LOSS]
            for stage in parts_of(program, chosen.modules)
        ]
        empty = next((s for s, stage in enumerate(stages) if not stage), None)
        if empty is not None:
            raise InputError(
                f"stage {empty} holds no layer but the loss, which {WHO} computes with the last "
                "layer: put both on one device (constraint 'placement', option 'together')"
            )
        layers = [name for stage in stages for name in stage]
        parts = [0, *accumulate(map(len, stages))]
        path = directory / MODULE_FILE
        write_text(path, module_text(layers, parts, program.microbatches))
        check_module(path.read_text(encoding="utf-8"), stages)
        notes = (
            *own_notes(plan, program, WHO),
            f"give PlannedPipeline of {MODULE_FILE} the layers in the order of LAYERS",
        )
        return Exported((path,), notes, {**own_figures(plan, program), "parts": parts})


def module_text(layers: list[str], parts: list[int], microbatches: int) -> str:
    """Return a Python module with the boundaries, and a PipelineModule that takes them."""
    names = pprint.pformat(layers, compact=True, width=96)
    return f'''"""The pipeline of a plan for DeepSpeed, written by parplan."""

from deepspeed.pipe import PipelineModule

LAYERS = {names}
PARTS = {parts!r}
GRADIENT_ACCUMULATION_STEPS = {microbatches}


class PlannedPipeline(PipelineModule):
    """A pipeline whose stage s holds layers PARTS[s] to PARTS[s + 1]."""

    def _partition_layers(self, method="uniform"):
        stages = self._topo.get_dim("pipe")
        if stages != len(PARTS) - 1 or len(self._layer_specs) != PARTS[-1]:
            raise ValueError(
                f"the plan has {{PARTS[-1]}} layers in {{len(PARTS) - 1}} stages, the model "
                f"{{len(self._layer_specs)}} in {{stages}}"
            )
        stage = self._topo.get_coord(self.global_rank).pipe
        self.parts = list(PARTS)
        self._set_bounds(start=PARTS[stage], stop=PARTS[stage + 1])
'''


def check_module(text: str, stages: list[list[str]]) -> None:
    """Raise InputError if the boundaries in a module, read as data, do not give these stages."""
    found = {
        ast.unparse(node.targets[0]): ast.literal_eval(node.value)
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign)
    }
    parts, layers = found["PARTS"], found["LAYERS"]
    read = [layers[parts[s] : parts[s + 1]] for s in range(len(parts) - 1)]
    if read != stages or parts[0] != 0 or parts[-1] != len(layers):
        raise InputError("the boundaries are not read as they were written", file=MODULE_FILE)
