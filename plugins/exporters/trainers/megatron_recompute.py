"""Which layers Megatron-LM computes again in the backward pass: all, or the first of each stage.

``recompute_method`` in ``megatron/core/transformer/transformer_block.py`` (Megatron-LM d98e8a6):
``uniform`` with one layer recomputes all, ``block`` the first so many layers of each stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import frozen

from parplan.errors import InputError
from parplan.graph import Kind
from parplan.plans import Plan
from parplan.plugins.exporters.trainers.decoder_parts import Part, PartKind, Parts, part_of
from parplan.recomputing import RECOMPUTE, can_recompute, is_variant
from parplan.text import counted, seconds_text


class Recomputing(StrEnum):
    """Which layers recompute: as in the plan, at least those, all, or none."""

    PLAN = "plan"
    BLOCK = "block"
    FULL = "full"
    NONE = "none"


@frozen
class Recomputation:
    """Flags, and what they cost where they are not what the plan does."""

    flags: Mapping[str, str]
    notes: tuple[str, ...] = ()


def recomputation(
    plan: Plan, parts: Parts, chosen: Recomputing, modules: Mapping[str, str]
) -> Recomputation:
    """Return Megatron-LM's flags of recomputation for the stages of a plan.

    Parameters
    ----------
    modules
        Other names of modules.

    Raises
    ------
    InputError
        If it is to be as in the plan, and Megatron-LM cannot say that.
    """
    if chosen in (Recomputing.FULL, Recomputing.NONE):
        note = "what is recomputed was set by hand: times and memory are the plan's"
        return Recomputation(_uniform() if chosen is Recomputing.FULL else {}, (note,))
    again, partly = recomputed_layers(plan, modules)
    stages = [[part for part in stage if part.kind is PartKind.LAYER] for stage in parts]
    counts = [sum(layer in again for layer in stage) for stage in stages]
    if chosen is Recomputing.BLOCK:
        return _at_least(plan, stages, again | partly, modules)
    if partly:
        raise InputError(
            f"the plan recomputes a part of '{min(partly)}' alone; Megatron-LM is told of whole "
            f"layers here: {_WAYS}",
            key="options.recompute",
        )
    if not again:
        return Recomputation({})
    if all(count == len(stage) for count, stage in zip(counts, stages, strict=True)):
        return Recomputation(_uniform())
    first, like = max(
        (count, index)
        for index, (count, stage) in enumerate(zip(counts, stages, strict=True))
        if count < len(stage)
    )
    for index, stage in enumerate(stages):
        for number, layer in enumerate(stage):
            if (layer in again) != (number < first):
                what = "keeps" if number < first else "recomputes"
                raise InputError(
                    f"the plan {what} '{layer}', layer {number} of stage {index}; Megatron-LM "
                    f"recomputes the first layers of every stage, as many of each as the {first} "
                    f"of stage {like}: {_WAYS}",
                    key="options.recompute",
                )
    return Recomputation(_block(first))


_WAYS = (
    "--set recompute=block recomputes at least as much and says what that costs, full and none "
    "set it by hand"
)


def _uniform() -> dict[str, str]:
    return _full("uniform", 1)


def _block(layers: int) -> dict[str, str]:
    return _full("block", layers)


def _full(method: str, layers: int) -> dict[str, str]:
    return {
        "--recompute-granularity": "full",
        "--recompute-method": method,
        "--recompute-num-layers": str(layers),
    }


def _at_least(
    plan: Plan, stages: list[list[Part]], again: set[Part], modules: Mapping[str, str]
) -> Recomputation:
    """Return the fewest first layers of each stage that are as many as the plan recomputes."""
    layers = max((sum(layer in again for layer in stage) for stage in stages), default=0)
    if not layers:
        return Recomputation({})
    seconds = layer_seconds(plan, modules)
    more = []
    for stage in stages:
        before = sum(seconds[layer] for layer in stage if layer in again)
        more.append(sum(seconds[layer] for layer in stage[:layers]) - before)
    worst = max(range(len(stages)), key=more.__getitem__)
    note = (
        f"the first {counted(layers, 'layer')} of every stage recompute: on stage {worst} a "
        f"microbatch takes {seconds_text(max(more[worst], 0.0))} longer than in the plan, which "
        "its times do not hold"
    )
    return Recomputation(_block(layers), (note,))


def recomputed_layers(plan: Plan, modules: Mapping[str, str]) -> tuple[set[Part], set[Part]]:
    """Return the layers that recompute whatever can, and those that recompute a part of it."""
    problem, tasks = plan.problem, plan.schedule.tasks
    again: set[Part] = set()
    kept: set[Part] = set()
    for o, a in set(zip(tasks.operator.tolist(), tasks.alternative.tolist(), strict=True)):
        operator = problem.graph.operators[o]
        if operator.kind is not Kind.FORWARD or not operator.module or not can_recompute(operator):
            continue
        part = part_of(operator.module, modules)
        if part.kind is PartKind.LAYER:
            mode = operator.modes[problem.alternatives[o][a].mode]
            (again if is_variant(mode, RECOMPUTE) else kept).add(part)
    return again - kept, again & kept


def layer_seconds(plan: Plan, modules: Mapping[str, str]) -> dict[Part, float]:
    """Return what the forward pass of each layer takes for a microbatch."""
    problem, tasks = plan.problem, plan.schedule.tasks
    found: dict[Part, float] = {}
    known: set[int] = set()
    columns = (tasks.operator.tolist(), tasks.alternative.tolist(), tasks.microbatch.tolist())
    for o, a, k in zip(*columns, strict=True):
        operator = problem.graph.operators[o]
        if operator.kind is not Kind.FORWARD or not operator.module or o in known:
            continue
        known.add(o)
        part = part_of(operator.module, modules)
        found[part] = found.get(part, 0.0) + problem.seconds(o, problem.alternatives[o][a], k)
    return found
