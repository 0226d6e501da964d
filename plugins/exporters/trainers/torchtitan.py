"""A pipeline for TorchTitan: its parallelism settings and the schedule file that they name.

Read in TorchTitan b5bcd76 (2026-08-21) and 0.3.0, ``torchtitan/config/configs.py`` and
``torchtitan/distributed/pipeline_parallel.py``: stages go to ranks by the name of the schedule, in
a V for ``ZBVZeroBubble`` and ``DualPipeV`` and in a loop for all others; with a schedule file the
order of the actions comes from the file alone. The first counts microbatches
(``num_pp_microbatches``), the second the samples in one and in a batch.
"""

from __future__ import annotations

import ast
import pprint
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from attrs import frozen

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
from parplan.stages.program import StageProgram

SETTINGS_FILE = "torchtitan_pipeline.py"
WHO = "TorchTitan"

SCHEDULE_NAMES: Mapping[Placement, str] = {
    Placement.LOOP: "PipelineScheduleMulti",
    Placement.V: "ZBVZeroBubble",
}
"""The name that makes TorchTitan place stages so; the file says in which order they run."""


@frozen
class TorchTitanOptions(TorchChainOptions):
    """How a plan becomes TorchTitan's settings.

    Attributes
    ----------
    head
        TorchTitan's name of the last linear layer: ``lm_head``, or ``output`` in older versions.
    """

    head: str = "lm_head"


class TorchTitan(Exporter):
    """Writes ``torchtitan_pipeline.py`` and ``compute.csv``."""

    name: ClassVar[str] = "torchtitan"
    options: ClassVar[type] = TorchTitanOptions

    def export(self, plan: Plan, directory: Path, options: Mapping[str, Any]) -> Exported:
        """Write the files of a plan; InputError names what TorchTitan cannot run."""
        chosen = structure(dict(options), TorchTitanOptions, key="options")
        chain = torch_chain(plan, chosen, WHO)
        settings = titan_settings(chain, chosen.head)
        schedule = write_schedule(chain.program, directory, overlap=chosen.overlap)
        path = directory / SETTINGS_FILE
        write_text(path, settings_text(chain.program, settings, chosen.micro_batch))
        check_settings(path.read_text(encoding="utf-8"), chain, chosen.head)
        notes = (
            *chain_notes(plan, chain),
            f"call with_pipeline(config) of {SETTINGS_FILE} in your function of TorchTitan's "
            "config_registry",
        )
        return Exported((path, schedule), notes, chain_figures(plan, chain))


def titan_settings(chain: TorchChain, head: str) -> dict[str, Any]:
    """Return the fields of TorchTitan's ``ParallelismConfig`` for a chain."""
    names = {
        PartKind.EMBEDDING: "tok_embeddings",
        PartKind.LAYER: "layers.{}",
        PartKind.NORM: "norm",
        PartKind.HEAD: head,
    }
    return {
        "pipeline_parallel_degree": len(chain.program.ranks),
        "pipeline_parallel_schedule": SCHEDULE_NAMES[chain.placement],
        "module_fqns_per_model_part": module_names(chain.parts, names, WHO),
    }


def settings_text(program: StageProgram, settings: Mapping[str, Any], micro_batch: int) -> str:
    """Return a Python module that puts the settings into a TorchTitan config."""
    shown = pprint.pformat(dict(settings), sort_dicts=False, width=96)
    return f'''"""The pipeline of a plan for TorchTitan, written by parplan."""

from pathlib import Path

PLAN = {program.name!a}
SCHEDULE_FILE = {COMPUTE_FILE!r}
MICROBATCHES = {program.microbatches}
MICROBATCH_SIZE = {micro_batch}
PARALLELISM = {shown}


def with_pipeline(config):
    """Set the pipeline of the plan in a Trainer.Config, and return it."""
    schedule = str(Path(__file__).with_name(SCHEDULE_FILE))
    settings = {{**PARALLELISM, "pipeline_parallel_schedule_csv": schedule}}
    if hasattr(config.parallelism, "num_pp_microbatches"):
        settings["num_pp_microbatches"] = MICROBATCHES
    else:
        settings["pipeline_parallel_microbatch_size"] = MICROBATCH_SIZE
        config.training.local_batch_size = MICROBATCHES * MICROBATCH_SIZE
        config.training.disable_cuda_graphs = True  # they exclude pipelines
    for key, value in settings.items():
        if not hasattr(config.parallelism, key):
            raise AttributeError(f"this version of TorchTitan has no parallelism.{{key}}")
        setattr(config.parallelism, key, value)
    return config
'''


def read_settings(text: str) -> dict[str, Any]:
    """Return the settings in such a module, read as data: nothing in it is run."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PARALLELISM":
            found: dict[str, Any] = ast.literal_eval(node.value)
            return found
    raise InputError("has no PARALLELISM")


def check_settings(text: str, chain: TorchChain, head: str) -> None:
    """Raise InputError if TorchTitan would not run the chain by the settings in a file.

    Stages go to ranks as in its ``_get_pp_rank_to_stage_indices_mapping``, modules to stages as in
    its ``_split_module``: by the names of the model's children, and of the children of lists.
    """
    read = read_settings(text)
    modules, degree = read["module_fqns_per_model_part"], read["pipeline_parallel_degree"]
    if len(modules) % degree:
        raise InputError(f"{len(modules)} stages cannot be shared evenly by {degree} ranks")
    is_v = read["pipeline_parallel_schedule"] in ("ZBVZeroBubble", "DualPipeV")
    pairs = list(zip(range(degree), range(len(modules) - 1, degree - 1, -1), strict=False))
    for rank in range(degree):
        held = pairs[rank] if is_v else tuple(range(rank, len(modules), degree))
        planned = tuple(stage.index for stage in chain.program.stages if stage.rank == rank)
        if held != planned:
            raise InputError(f"rank {rank} would run stages {held} instead of {planned}")
    layers = sum(p.kind is PartKind.LAYER for stage in chain.parts for p in stage)
    flat = [name for stage in modules for name in stage]
    whole = ["tok_embeddings", *(f"layers.{i}" for i in range(layers)), "norm", head]
    if flat != [name for name in whole if name != "norm" or "norm" in flat]:
        raise InputError("the stages do not hold each module of the model once, in its order")
