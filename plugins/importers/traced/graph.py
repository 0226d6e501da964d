"""The graph of a traced program: its layers in a granularity, with parameters and updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from parplan.differentiation import (
    Backward,
    Layer,
    Passes,
    Update,
    Work,
    inference_graph,
    training_graph,
)
from parplan.errors import InputError
from parplan.graph import Graph, Kernel, ParameterGroup
from parplan.patterns import matching_modules
from parplan.plugins.importers.analytic.granularity import join_modules
from parplan.plugins.importers.traced.gradients import Attention
from parplan.plugins.importers.traced.layers import EffectOf, draft_layers
from parplan.plugins.importers.traced.modules import Granularity, blocks
from parplan.plugins.importers.traced.program import Given, Meta, Program, Source

ADAM_BYTES = 8
"""Of two fp32 moments of one parameter."""

MASTER_BYTES = 4
"""Of the fp32 copy of a parameter that is kept in fewer bits."""


@frozen
class TracedOptions:
    """How a traced model is run.

    Attributes
    ----------
    granularity, depth
        What one operator is; ``depth`` keeps so many steps of each module's path instead.
    whole_backward
        Modules (names or patterns) whose backward is one pass where the others' is split.
    attention
        Whether attention keeps the scores of all pairs for its backward pass.
    gradient_bytes, optimizer_bytes
        Per parameter; by default gradients are as large as weights, and Adam has two fp32 moments
        and, for weights of less than fp32, an fp32 copy.
    """

    workload: Passes = Passes.TRAINING
    granularity: Granularity = Granularity.BLOCK
    depth: int | None = None
    backward: Backward = Backward.SPLIT
    whole_backward: tuple[str, ...] = ()
    attention: Attention = Attention.FLASH
    gradient_bytes: int | None = None
    optimizer_bytes: int | None = None

    def __attrs_post_init__(self) -> None:
        for what, least in (("depth", 1), ("gradient_bytes", 0), ("optimizer_bytes", 0)):
            value = getattr(self, what)
            if value is not None and value < least:
                raise InputError(f"{what} is {value}; it must be at least {least}")


def traced_graph(name: str, program: Program, effect: EffectOf, options: TracedOptions) -> Graph:
    """Return the graph of a traced program, in the chosen granularity.

    Raises
    ------
    InputError
        If the work of a call is not known, or nothing can be trained.
    """
    drafts = draft_layers(program, effect, options.attention)
    training = options.workload is Passes.TRAINING
    homes = blocks(drafts.drafts, program.kind, options.granularity, options.depth)
    layers = [
        evolve(layer, module=home)
        for layer, home in zip(
            drafts.trained() if training else drafts.forward(), homes, strict=True
        )
    ]
    weights = list(_weights(program, layers, options))
    groups = [group for group, _ in weights]
    if training:
        whole = _whole(options, homes)
        graph = training_graph(
            name,
            layers,
            groups,
            list(_updates(layers, {g.name: g for g, trained in weights if trained})),
            split=lambda layer: layer.module not in whole,
        )
    else:
        graph = inference_graph(name, layers, groups)
    if options.granularity is Granularity.OPERATOR and options.depth is None:
        return graph
    return join_modules(graph, lambda module: module)


def _weights(
    program: Program, layers: Sequence[Layer], options: TracedOptions
) -> list[tuple[ParameterGroup, bool]]:
    """Return the parameters that layers read, and whether each gets a gradient."""
    read = {name for layer in layers for name in layer.parameters}
    training = options.workload is Passes.TRAINING
    found: dict[str, tuple[ParameterGroup, bool]] = {}
    for name, given in program.given.items():
        if given.source is Source.PARAMETER and given.path in read:
            trained = training and given.trained
            found[given.path] = (_group(given, program.tensors[name], options, trained), trained)
    return list(found.values())


def _group(given: Given, meta: Meta, options: TracedOptions, trained: bool) -> ParameterGroup:
    count = 1
    for size in meta.shape:
        count *= size
    element = meta.bytes // max(1, count)
    gradient = element if options.gradient_bytes is None else options.gradient_bytes
    state = ADAM_BYTES + (MASTER_BYTES if element < MASTER_BYTES else 0)
    state = state if options.optimizer_bytes is None else options.optimizer_bytes
    return ParameterGroup(
        given.path,
        weight_bytes=meta.bytes,
        gradient_bytes=count * gradient * trained,
        optimizer_bytes=count * state * trained,
        count=count,
    )


def _updates(layers: Sequence[Layer], groups: Mapping[str, ParameterGroup]) -> list[Update]:
    """Return one optimizer step per module: it reads gradients and states, writes weights.

    What several modules read is updated by the first of them.
    """
    modules: dict[str, list[str]] = {}
    seen: set[str] = set()
    for layer in layers:
        for name in layer.parameters:
            if name in groups and name not in seen:
                seen.add(name)
                modules.setdefault(layer.module, []).append(name)
    return [
        Update(module, tuple(names), Work((Kernel(0.0, sum(_moved(groups[n]) for n in names)),)))
        for module, names in modules.items()
    ]


def _moved(group: ParameterGroup) -> int:
    return group.gradient_bytes + 2 * group.optimizer_bytes + group.weight_bytes


def _whole(options: TracedOptions, modules: Sequence[str]) -> frozenset[str]:
    """Return the modules whose backward is one pass; InputError if a pattern means none."""
    if options.backward is Backward.WHOLE:
        return frozenset(modules)
    key = "model.options.whole_backward"
    return frozenset(
        m for pattern in options.whole_backward for m in matching_modules(pattern, modules, key=key)
    )
