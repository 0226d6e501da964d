"""Plans as chains of stages for trainers that load PyTorch's ``compute_only`` schedule files."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from attrs import field, frozen

from parplan.errors import InputError
from parplan.files.atomic import write_text
from parplan.plans import Plan
from parplan.plugins.exporters.chains import passing_figures, passing_notes
from parplan.plugins.exporters.torch_csv.checks import Wiring, check_compute
from parplan.plugins.exporters.torch_csv.exporter import (
    COMPUTE_FILE,
    Order,
    TorchCsvOptions,
    compute_text,
    graph_makespan_s,
    torch_program,
)
from parplan.plugins.exporters.trainers.decoder_parts import PartKind, Parts, part_of, parts_of
from parplan.plugins.exporters.trainers.placements import (
    Placement,
    in_chain_order,
    placement_of,
    turned,
)
from parplan.stages.building import DEFAULT_SLACK
from parplan.stages.program import StageProgram
from parplan.text import seconds_text


@frozen
class TorchChainOptions:
    """How a plan becomes a chain that a trainer runs.

    Attributes
    ----------
    order, slack, as_chain, overlap
        As for ``torch-csv``.
    modules
        Other names of modules: the beginning of a path in the plan, and what stands for it, such
        as ``{trunk.blocks: layers}``.
    micro_batch
        Samples in a microbatch.
    """

    order: Order = Order.EXACT
    slack: float = DEFAULT_SLACK
    as_chain: bool = False
    overlap: bool = False
    modules: Mapping[str, str] = field(factory=dict)
    micro_batch: int = 1

    def __attrs_post_init__(self) -> None:
        if self.micro_batch < 1:
            raise InputError(f"is {self.micro_batch}; at least 1", key="micro_batch")


@frozen
class TorchChain:
    """A chain with as many stages on each rank, ranks in the order of their first stages.

    Attributes
    ----------
    graph_s
        What its stages take as a graph, if they were made a chain.
    """

    program: StageProgram
    placement: Placement
    parts: Parts
    graph_s: float | None


def torch_chain(plan: Plan, options: TorchChainOptions, who: str) -> TorchChain:
    """Return a plan as a chain of whole layers, one stage for each visit to a device.

    Raises
    ------
    InputError
        Naming what the trainer ``who`` cannot run.
    """
    cuts = (partial(turned, group_of=lambda module: part_of(module, options.modules)),)
    settings = TorchCsvOptions(order=options.order, slack=options.slack, as_chain=options.as_chain)
    program = in_chain_order(torch_program(plan, settings, cuts))
    placement = placement_of([stage.device for stage in program.stages], tuple(Placement), who)
    graph_s = graph_makespan_s(plan, settings, program, cuts)
    return TorchChain(program, placement, parts_of(program, options.modules), graph_s)


def module_names(parts: Parts, names: Mapping[PartKind, str], who: str) -> list[list[str]]:
    """Return the modules of each stage by a trainer's names; the loss is none.

    A name with ``{}`` in it takes the number of the layer.

    Raises
    ------
    InputError
        If a stage has no module, or one that the trainer ``who`` has not.
    """
    for index, stage in enumerate(parts):
        foreign = [part for part in stage if part.kind not in {*names, PartKind.LOSS}]
        if foreign or all(part.kind is PartKind.LOSS for part in stage):
            what = ", ".join(map(str, foreign or stage)) or "no module"
            raise InputError(
                f"stage {index} holds {what}, for which {who} has no module of its own: put it "
                "with its neighbour (constraint 'placement', option 'together')"
            )
    return [[names[p.kind].format(p.number) for p in stage if p.kind in names] for stage in parts]


def write_schedule(program: StageProgram, directory: Path, *, overlap: bool) -> Path:
    """Write the ``compute_only`` file of a chain, read it again and check it."""
    path = directory / COMPUTE_FILE
    write_text(path, compute_text(program, overlap=overlap))
    check_compute(path.read_text(encoding="utf-8"), Wiring.of(program))
    return path


def chain_notes(plan: Plan, chain: TorchChain) -> tuple[str, ...]:
    """Return what the user must know: the time of whole stages, and which device is which rank."""
    program = chain.program
    devices = ", ".join(rank.device for rank in program.ranks)
    return (
        f"{len(program.stages)} stages on {len(program.ranks)} ranks; re-timed stage by stage: "
        f"{seconds_text(program.makespan_s)} against {seconds_text(program.planned_makespan_s)} "
        "planned",
        f"pipeline ranks are, in order: {devices}",
        *passing_notes(plan, program, chain.graph_s),
    )


def chain_figures(plan: Plan, chain: TorchChain) -> dict[str, object]:
    """Return the same as numbers."""
    program = chain.program
    return {
        "stages": len(program.stages),
        "ranks": [rank.device for rank in program.ranks],
        "planned_makespan_s": program.planned_makespan_s,
        "makespan_s": program.makespan_s,
        **passing_figures(plan, program, chain.graph_s),
    }
