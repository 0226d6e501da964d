"""A pipeline for NeMo Automodel: its section of a recipe and the schedule file that it names.

Read in NeMo Automodel 36044ad (2026-08-22), ``components/distributed/pipelining`` and
``recipes/llm/train_ft.py``: stages go to ranks in a V for ``ZBVZeroBubble`` and in a loop for all
other schedules; with a schedule file the order of the actions comes from the file alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml

from parplan.contracts import Exported, Exporter
from parplan.errors import InputError
from parplan.files.atomic import write_text
from parplan.plans import Plan
from parplan.plugins.exporters.torch_csv.exporter import COMPUTE_FILE
from parplan.plugins.exporters.trainers.decoder_parts import PartKind
from parplan.plugins.exporters.trainers.placements import Placement
from parplan.plugins.exporters.trainers.torch_chain import (
    TorchChain,
    TorchChainOptions,
    chain_figures,
    chain_notes,
    module_names,
    torch_chain,
    write_schedule,
)
from parplan.spec.structuring import structure

RECIPE_FILE = "automodel_pipeline.yaml"
WHO = "NeMo Automodel"

SCHEDULE_NAMES: Mapping[Placement, str] = {
    Placement.LOOP: "Interleaved1F1B",
    Placement.V: "ZBVZeroBubble",
}
"""The name that makes Automodel place stages so; the file says in which order they run."""

_NAMES: Mapping[PartKind, str] = {
    PartKind.EMBEDDING: "model.embed_tokens",
    PartKind.LAYER: "model.layers.{}",
    PartKind.NORM: "model.norm",
    PartKind.HEAD: "lm_head",
}
_EVERYWHERE = "model.rotary_emb"
"""What every stage has a copy of."""


class Automodel(Exporter):
    """Writes ``automodel_pipeline.yaml`` and ``compute.csv``."""

    name: ClassVar[str] = "automodel"
    options: ClassVar[type] = TorchChainOptions

    def export(self, plan: Plan, directory: Path, options: Mapping[str, Any]) -> Exported:
        """Write the files of a plan; InputError names what Automodel cannot run."""
        chosen = structure(dict(options), TorchChainOptions, key="options")
        chain = torch_chain(plan, chosen, WHO)
        section = recipe_section(chain, chosen.micro_batch, directory)
        schedule = write_schedule(chain.program, directory, overlap=chosen.overlap)
        path = directory / RECIPE_FILE
        write_text(path, yaml.safe_dump(section, sort_keys=False, width=100))
        if yaml.safe_load(path.read_text(encoding="utf-8")) != section:
            raise InputError("the section is not read as it was written", file=str(path))
        notes = (
            *chain_notes(plan, chain),
            f"merge {RECIPE_FILE} into your recipe; it names the schedule file by its full path",
        )
        return Exported((path, schedule), notes, chain_figures(plan, chain))


def recipe_section(chain: TorchChain, micro_batch: int, directory: Path) -> dict[str, Any]:
    """Return what a recipe needs for a chain.

    Raises
    ------
    InputError
        If Automodel has no module for a stage, or wants more microbatches.
    """
    ranks, microbatches = len(chain.program.ranks), chain.program.microbatches
    if microbatches < ranks:
        raise InputError(
            f"{WHO} wants at least as many microbatches as its {ranks} ranks, not "
            f"{microbatches}: plan with more (workload.microbatches)"
        )
    modules = module_names(chain.parts, _NAMES, WHO)
    return {
        "step_scheduler": {"local_batch_size": microbatches * micro_batch},
        "distributed": {
            "pp_size": ranks,
            "pipeline": {
                "pp_schedule": SCHEDULE_NAMES[chain.placement],
                "pp_schedule_csv": str((directory / COMPUTE_FILE).resolve()),
                "pp_microbatch_size": micro_batch,
                "module_fqns_per_model_part": [[*stage, _EVERYWHERE] for stage in modules],
            },
        },
    }
