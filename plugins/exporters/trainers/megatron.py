"""A pipeline for Megatron-LM: its layout string and the flags of its degrees."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from attrs import field, frozen

from parplan.contracts import Exported, Exporter
from parplan.errors import InputError
from parplan.files.atomic import write_text
from parplan.plans import Plan
from parplan.plugins.exporters.trainers.decoder_parts import PartKind, Parts, parts_of
from parplan.plugins.exporters.trainers.megatron_layout import (
    check_layout,
    layout_text,
    parse_layout,
)
from parplan.plugins.exporters.trainers.megatron_recompute import Recomputing, recomputation
from parplan.plugins.exporters.trainers.own_order import own_figures, own_notes, own_program
from parplan.spec.structuring import structure

ARGUMENTS_FILE = "megatron_arguments.sh"
WHO = "Megatron-LM"


@frozen
class MegatronOptions:
    """How a plan becomes Megatron-LM's flags.

    Attributes
    ----------
    tensor, context, expert, data
        Degrees of the parallelism within each device of the plan, and of copies of the pipeline:
        a plan of stages says nothing about them.
    micro_batch
        Samples in a microbatch.
    group
        Microbatches that go through one stage of a rank before its next one; 0: as many as ranks.
    recompute
        What to do where Megatron-LM cannot recompute the layers that the plan does: ``block``
        recomputes at least as many of each stage, ``full`` and ``none`` all or none.
    as_chain
        Whether a graph of stages is made a chain: what skips stages passes through those between.
    modules
        Other names of modules: the beginning of a path in the plan, and what stands for it, such
        as ``{trunk.blocks: layers}``.
    """

    tensor: int = 1
    context: int = 1
    expert: int = 1
    data: int = 1
    micro_batch: int = 1
    group: int = 0
    recompute: Recomputing = Recomputing.PLAN
    as_chain: bool = False
    modules: Mapping[str, str] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        for name in ("tensor", "context", "expert", "data", "micro_batch"):
            if getattr(self, name) < 1:
                raise InputError(f"is {getattr(self, name)}; at least 1", key=name)
        if self.group < 0:
            raise InputError(f"is {self.group}; at least 0", key="group")


class Megatron(Exporter):
    """Writes ``megatron_arguments.sh``."""

    name: ClassVar[str] = "megatron"
    options: ClassVar[type] = MegatronOptions

    def export(self, plan: Plan, directory: Path, options: Mapping[str, Any]) -> Exported:
        """Write the flags of a plan; InputError names what Megatron-LM cannot run."""
        chosen = structure(dict(options), MegatronOptions, key="options")
        program = own_program(plan, WHO, chosen.group, chain=chosen.as_chain)
        parts = parts_of(program, chosen.modules)
        stages, ranks = stage_letters(parts), len(program.ranks)
        layers = sum(part.kind is PartKind.LAYER for stage in parts for part in stage)
        check_layout(stages, ranks, layers)
        again = recomputation(plan, parts, chosen.recompute, chosen.modules)
        flags: dict[str, str] = {
            "--num-layers": str(layers),
            "--pipeline-model-parallel-size": str(ranks),
            "--pipeline-model-parallel-layout": layout_text(stages),
            "--tensor-model-parallel-size": str(chosen.tensor),
            "--context-parallel-size": str(chosen.context),
            "--expert-model-parallel-size": str(chosen.expert),
            "--micro-batch-size": str(chosen.micro_batch),
            "--global-batch-size": str(chosen.micro_batch * program.microbatches * chosen.data),
            **again.flags,
        }
        if chosen.group and len(program.stages) > ranks:
            flags["--microbatch-group-size-per-virtual-pipeline-stage"] = str(chosen.group)
        path = directory / ARGUMENTS_FILE
        write_text(path, arguments_text(flags))
        read = read_arguments(path.read_text(encoding="utf-8"))
        if read != flags:
            raise InputError("the flags are not read as they were written", file=str(path))
        if parse_layout(read["--pipeline-model-parallel-layout"]) != stages:
            raise InputError("the layout is not read as it was written", file=str(path))
        notes = (*own_notes(plan, program, WHO), *again.notes)
        figures = {**own_figures(plan, program), "layout": layout_text(stages)}
        return Exported((path,), notes, figures)


def stage_letters(parts: Parts) -> list[str]:
    """Return the letters of Megatron-LM's layout for the parts of each stage.

    Raises
    ------
    InputError
        If norm, output and loss, which are one letter, are in several stages.
    """
    ending = (PartKind.NORM, PartKind.HEAD, PartKind.LOSS)
    letters = {PartKind.EMBEDDING: "E", PartKind.LAYER: "t", PartKind.MULTI_TOKEN: "m"}
    for index, stage in enumerate(parts[:-1]):
        for part in stage:
            if part.kind in ending:
                raise InputError(
                    f"'{part}' is in stage {index}; Megatron-LM has norm, output and loss in the "
                    "last stage: put them on one device (constraint 'placement', option "
                    "'together')"
                )
    rows = ["".join(letters[p.kind] for p in stage if p.kind not in ending) for stage in parts]
    return [*rows[:-1], f"{rows[-1]}L"]


def arguments_text(flags: Mapping[str, str]) -> str:
    """Return a shell array of flags, for a script that starts Megatron-LM."""
    lines = "".join(f"    {name} {shlex.quote(value)}\n" for name, value in flags.items())
    hint = '# Source this file, and give "${PIPELINE_ARGS[@]}" to pretrain_gpt.py.'
    return f"{hint}\nPIPELINE_ARGS=(\n{lines})\n"


def read_arguments(text: str) -> dict[str, str]:
    """Return the flags in such a file."""
    inside = text[text.index("PIPELINE_ARGS=(") + len("PIPELINE_ARGS=(") : text.rindex(")")]
    words = shlex.split(inside)
    return dict(zip(words[::2], words[1::2], strict=True))
