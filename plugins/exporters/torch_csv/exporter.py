"""Schedule files for ``torch.distributed.pipelining``, with a manifest of their stages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import attrs
from attrs import frozen

from parplan.contracts import Exported, Exporter
from parplan.errors import InputError
from parplan.files.atomic import write_text
from parplan.plans import Plan
from parplan.plugins.exporters.chains import passing_figures, passing_notes
from parplan.plugins.exporters.torch_csv.checks import Wiring, check_comms, check_compute
from parplan.plugins.exporters.torch_csv.manifest import manifest
from parplan.plugins.exporters.torch_csv.overlaps import cell_of, overlapping_rows
from parplan.plugins.exporters.torch_csv.rows import Receive, comms_rows, compute_rows
from parplan.plugins.exporters.torch_csv.shards import most_whole, with_shards
from parplan.spec.structuring import structure
from parplan.stages.adapting import as_chain, forwards, in_turn, renumbered, with_whole_backward
from parplan.stages.building import DEFAULT_SLACK, stage_program
from parplan.stages.cutting import BACK_TO_BACK, Cut
from parplan.stages.drafting import Draft
from parplan.stages.program import ActionKind, StageProgram
from parplan.text import bytes_text, counted, seconds_text

COMPUTE_FILE, COMMS_FILE, MANIFEST_FILE = "compute.csv", "comms.csv", "stages.json"


class Order(StrEnum):
    """What to do where several last stages take microbatches in different orders."""

    EXACT = "exact"
    REPAIR = "repair"


@frozen
class TorchCsvOptions:
    """How a plan becomes schedule files.

    Attributes
    ----------
    order
        ``exact``: refuse what PyTorch cannot run in the planned order. ``repair``: let the last
        stages run their forward passes in the order of microbatches, and say what that costs.
    slack
        Part of the planned makespan that larger stages may cost.
    tagged
        Whether whoever runs the files names each message by its stages and microbatch (tags), as
        ``parplan run`` does and PyTorch does not; then messages of two ranks need no common order.
    as_chain
        Whether a graph of stages is made a chain: what skips stages passes through those between.
    unsharded
        For stages that FSDP2 shards: how many of a rank's are whole at once. 0: none is sharded.
    overlap
        Whether ``compute.csv`` joins a forward pass with the backward pass right behind it, for a
        runtime that runs both at once.
    """

    order: Order = Order.EXACT
    slack: float = DEFAULT_SLACK
    tagged: bool = False
    as_chain: bool = False
    unsharded: int = 0
    overlap: bool = False

    def __attrs_post_init__(self) -> None:
        if self.unsharded < 0:
            raise InputError(f"is {self.unsharded}; at least 0", key="unsharded")


class TorchCsv(Exporter):
    """Writes ``compute.csv``, ``comms.csv`` and ``stages.json``."""

    name: ClassVar[str] = "torch-csv"
    options: ClassVar[type] = TorchCsvOptions

    def export(self, plan: Plan, directory: Path, options: Mapping[str, Any]) -> Exported:
        """Write the files of a plan; InputError names what PyTorch cannot run."""
        chosen = structure(dict(options), TorchCsvOptions, key="options")
        program = torch_program(plan, chosen)
        graph_s = graph_makespan_s(plan, chosen, program)
        texts = schedule_texts(program, chosen.unsharded, tagged=chosen.tagged)
        if chosen.overlap:
            texts[COMPUTE_FILE] = compute_text(program, overlap=True)
        names = {form: name for name, form in _FORMS.items() if name in texts}
        texts[MANIFEST_FILE] = json.dumps(manifest(program, names), indent=1) + "\n"
        for name, text in texts.items():
            write_text(directory / name, text)
        read = {name: (directory / name).read_text(encoding="utf-8") for name in texts}
        _check(program, read, tagged=chosen.tagged)
        figures: dict[str, Any] = {
            "stages": len(program.stages),
            "ranks": len(program.ranks),
            "chain": program.is_chain,
            "planned_makespan_s": program.planned_makespan_s,
            "makespan_s": program.makespan_s,
            **passing_figures(plan, program, graph_s),
        }
        notes = [*_notes(program), *passing_notes(plan, program, graph_s)]
        if chosen.unsharded:
            peaks = _whole_bytes(plan, program, read[COMMS_FILE])
            figures["whole_weight_bytes"] = peaks
            notes.append(_sharding_note(program, chosen.unsharded, peaks))
        return Exported(tuple(directory / name for name in texts), tuple(notes), figures)


_FORMS = {COMPUTE_FILE: "compute_only", COMMS_FILE: "compute_comms"}


def torch_program(
    plan: Plan, options: TorchCsvOptions, cuts: Sequence[Cut] = BACK_TO_BACK
) -> StageProgram:
    """Return a plan's stage program as PyTorch can run it.

    The first stages' backward passes are whole: PyTorch's stage 0 does all of its work in W. The
    last stages take microbatches in the order of their numbers, as losses are counted.

    Parameters
    ----------
    cuts
        The ways to cut the plan into stages, the coarsest first.

    Raises
    ------
    InputError
        Naming what PyTorch cannot run.
    """
    workload = plan.problem.workload
    if len(set(workload.scales)) > 1:
        raise InputError(
            "its microbatches differ in size; PyTorch's stages receive tensors of one size: plan "
            "with equal microbatches (no workload.scales)"
        )
    kinds = (ActionKind.INPUT_GRADIENT, ActionKind.WEIGHT_GRADIENT)
    ways = tuple(
        partial(_adapted, order=options.order, place=kind, chain=options.as_chain) for kind in kinds
    )
    program = stage_program(plan, options.slack, ways, cuts)
    _require_backwards(program)
    return program


def graph_makespan_s(
    plan: Plan,
    options: TorchCsvOptions,
    program: StageProgram,
    cuts: Sequence[Cut] = BACK_TO_BACK,
) -> float | None:
    """Return what the stages take as a graph, if they were made a chain; else None."""
    if not program.graph_edges:
        return None
    graph = attrs.evolve(options, as_chain=False, order=Order.REPAIR)
    return torch_program(plan, graph, cuts).makespan_s


def _adapted(made: Draft, *, order: Order, place: ActionKind, chain: bool) -> Draft:
    """Return a draft as PyTorch can run it."""
    roots, sinks = _ends(made)
    if chain and not _is_chain(made):
        made, sinks = as_chain(made), {len(made.parts) - 1}
    made = with_whole_backward(made, roots, place)
    orders = {
        stage: [action.microbatch for action in forwards(items, stage)]
        for items in made.orders
        for stage in sinks
        if forwards(items, stage)
    }
    first = orders[min(orders)]
    if not made.planned.problem.workload.releases_s:
        made = renumbered(made, {k: i for i, k in enumerate(first)})
        first_is_sorted = True
    else:
        first_is_sorted = first == sorted(first)
    differ = [stage for stage, found in orders.items() if found != first]
    if first_is_sorted and not differ:
        return made
    if order is Order.REPAIR:
        return in_turn(made, sinks)
    stage = differ[0] if differ else min(orders)
    raise InputError(
        f"last stage {stage} takes microbatches in the order {orders[stage]}, which PyTorch runs "
        "with wrong gradients: it counts losses; '--set order=repair' lets it take them in turn "
        "and says what that costs",
        key="options.order",
    )


def _ends(made: Draft) -> tuple[set[int], set[int]]:
    """Return the stages that read from no other, and those that no other reads from."""
    stages, pairs = range(len(made.parts)), _pairs(made)
    return set(stages) - {b for _, b in pairs}, set(stages) - {a for a, _ in pairs}


def _is_chain(made: Draft) -> bool:
    return _pairs(made) == {(s, s + 1) for s in range(len(made.parts) - 1)}


def _pairs(made: Draft) -> set[tuple[int, int]]:
    """Return the stages that read from another, as (source, target)."""
    pairs = {(made.stage_of[a], made.stage_of[b]) for a, b in made.planned.layer_graph.edges}
    return {(a, b) for a, b in pairs if a != b}


def _require_backwards(program: StageProgram) -> None:
    """Raise InputError for a chain of which only some stages have a backward pass."""
    if not program.is_training or not program.is_chain:
        return
    for stage in program.stages:
        if not stage.backward and not stage.weight:
            names = ", ".join(stage.modules[:3] or stage.forward[:3])
            raise InputError(
                f"stage {stage.index} ({names}) has no backward pass; PyTorch's pipelines run one "
                "for every stage: put its operators on the device of a neighbour that has one"
            )
    for edge in program.edges:
        if not edge.gradients:
            raise InputError(
                f"no gradient flows from stage {edge.target} to stage {edge.source}; PyTorch's "
                "pipelines send one: put both on one device"
            )


def schedule_texts(
    program: StageProgram, unsharded: int = 0, *, tagged: bool = False
) -> dict[str, str]:
    """Return the schedule files by name; of a program that is no chain only the second.

    Messages have an order that PyTorch runs rightly, unless they are ``tagged`` and have none.

    Parameters
    ----------
    unsharded
        How many stages of a rank are whole at once; 0 where stages are not sharded.

    Raises
    ------
    InputError
        If no order of receives fits the sends of all ranks.
    """
    texts = {}
    if program.is_chain:
        texts[COMPUTE_FILE] = compute_text(program)
    wiring = Wiring.of(program)
    refusals = []
    ways = [(receive, named) for named in sorted({False, tagged}) for receive in Receive]
    for receive, named in ways:
        try:
            rows = comms_rows(program, receive, tagged=named)
            text = _text([with_shards(row, unsharded) for row in rows] if unsharded else rows)
            check_comms(text, wiring, tagged=named)
        except InputError as refusal:
            refusals.append(refusal)
        else:
            return {**texts, COMMS_FILE: text}
    raise InputError(
        f"PyTorch cannot run the messages of this plan: {refusals[0]}; '--set tagged=true' is for "
        "a runner that names its messages"
    )


def compute_text(program: StageProgram, *, overlap: bool = False) -> str:
    """Return ``compute.csv`` of a chain.

    Parameters
    ----------
    overlap
        Whether passes are joined that may run at once.

    Raises
    ------
    InputError
        If nothing can be joined, or the stages form no chain.
    """
    if not overlap:
        return _text(compute_rows(program))
    if not program.is_chain:
        raise InputError(
            "the stages form no chain, so there is no compute.csv whose passes could overlap: "
            "--set as_chain=true makes them one",
            key="options.overlap",
        )
    rows = overlapping_rows(program)
    if all(len(unit) == 1 for row in rows for unit in row):
        raise InputError(
            "no rank runs a forward pass right before a backward pass of another microbatch, so "
            "nothing overlaps",
            key="options.overlap",
        )
    return _text([[cell_of(unit) for unit in row] for row in rows])


def _text(rows: list[list[str]]) -> str:
    return "".join(",".join(row) + "\n" for row in rows)


def _check(program: StageProgram, read: Mapping[str, str], *, tagged: bool) -> None:
    """Raise InputError if what was read from the files is not what PyTorch runs rightly."""
    wiring = Wiring.of(program)
    checks = ((COMPUTE_FILE, check_compute), (COMMS_FILE, partial(check_comms, tagged=tagged)))
    for name, check in checks:
        if name in read:
            check(read[name], wiring)
    json.loads(read[MANIFEST_FILE])


def _whole_bytes(plan: Plan, program: StageProgram, comms: str) -> list[int]:
    """Return the most bytes of weights that each rank holds whole at once."""
    weights = {group.name: group.weight_bytes for group in plan.problem.graph.parameters}
    sizes = [sum(weights[name] for name in stage.parameters) for stage in program.stages]
    return [most_whole(line.split(","), sizes) for line in comms.splitlines()]


def _sharding_note(program: StageProgram, unsharded: int, peaks: Sequence[int]) -> str:
    own = "" if not program.is_chain else "; by compute.csv PyTorch itself chooses when, for 3"
    return (
        f"comms.csv gathers at most {counted(unsharded, 'stage')} of a rank at once, at most "
        f"{bytes_text(max(peaks))} of weights; the plan's times do not hold that{own}"
    )


def _notes(program: StageProgram) -> tuple[str, ...]:
    notes = [
        f"{len(program.stages)} stages on {len(program.ranks)} ranks; re-timed stage by stage: "
        f"{seconds_text(program.makespan_s)} against {seconds_text(program.planned_makespan_s)} "
        "planned"
    ]
    if not program.is_chain:
        notes.append(
            "the stages form no chain, so there is no compute.csv: PyTorch's own pipelines run "
            "chains only; --set as_chain=true makes them one, and says what that costs"
        )
    if program.numbers != tuple(range(program.microbatches)):
        notes.append(
            "microbatches are numbered in the order in which the last stage takes them "
            "(stages.json: planned_microbatches)"
        )
    return tuple(notes)
