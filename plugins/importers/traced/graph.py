"""The graph of a traced program: its layers in a granularity, with parameters and updates."""

from __future__ import annotations

from attrs import evolve

from parplan.differentiation import Passes, inference_graph, training_graph
from parplan.graph import Graph
from parplan.plugins.importers.analytic.granularity import join_modules
from parplan.plugins.importers.traced.layers import EffectOf, draft_layers
from parplan.plugins.importers.traced.modules import Granularity, blocks
from parplan.plugins.importers.traced.options import TracedOptions, whole_modules
from parplan.plugins.importers.traced.parameters import parameter_groups, updates
from parplan.plugins.importers.traced.program import Program


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
    reached = {name for layer in layers if layer.has_backward for name in layer.parameters}
    weights = parameter_groups(program, layers, reached if training else (), options)
    groups = [group for group, _ in weights]
    if training:
        whole = whole_modules(options, homes)
        graph = training_graph(
            name,
            layers,
            groups,
            list(updates(layers, {g.name: g for g, trained in weights if trained})),
            split=lambda layer: layer.module not in whole,
        )
    else:
        graph = inference_graph(name, layers, groups)
    if options.granularity is Granularity.OPERATOR and options.depth is None:
        return graph
    return join_modules(graph, lambda module: module)
