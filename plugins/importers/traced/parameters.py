"""Parameters of a traced model: what is kept for each, and the optimizer's steps."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence

from parplan.differentiation import Layer, Update, Work
from parplan.graph import Kernel, ParameterGroup
from parplan.plugins.importers.traced.options import TracedOptions
from parplan.plugins.importers.traced.program import Given, Meta, Program, Source

ADAM_BYTES = 8
"""Of two fp32 moments of one parameter."""

MASTER_BYTES = 4
"""Of the fp32 copy of a parameter that is kept in fewer bits."""


def parameter_groups(
    program: Program, layers: Sequence[Layer], reached: Container[str], options: TracedOptions
) -> list[tuple[ParameterGroup, bool]]:
    """Return the parameters that layers read, and whether each gets a gradient.

    Parameters
    ----------
    reached
        Those that a gradient reaches, if they are trained.
    """
    read = {name for layer in layers for name in layer.parameters}
    found: dict[str, tuple[ParameterGroup, bool]] = {}
    for name, given in program.given.items():
        if given.source is Source.PARAMETER and given.path in read:
            trained = given.trained and given.path in reached
            found[given.path] = (_group(given, program.tensors[name], options, trained), trained)
    return list(found.values())


def _group(given: Given, meta: Meta, options: TracedOptions, trained: bool) -> ParameterGroup:
    count = math.prod(meta.shape)
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


def updates(layers: Sequence[Layer], groups: Mapping[str, ParameterGroup]) -> list[Update]:
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
