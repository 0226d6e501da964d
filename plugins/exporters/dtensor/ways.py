"""How a plan runs each operator: on which devices, divided in which style, computed again or not.

A style is the name of a mode up to its number of devices, such as ``colwise-2``, or is given for a
mode by an option. Names of styles are those of PyTorch (``torch.distributed.tensor.parallel``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum

from attrs import frozen

from parplan.errors import InputError
from parplan.graph import Mode, Operator
from parplan.plans import Plan
from parplan.problem import STEP
from parplan.recomputing import KEEP, RECOMPUTE, is_variant


class Style(StrEnum):
    """How an operator is divided among the devices that run it together.

    COLWISE and ROWWISE divide a weight by what it makes and by what it reads, SEQUENCE divides
    tokens, SHARD divides samples, with shards of all weights on each device. LOCAL works on
    whatever shares its inputs have, REPLICATE does the whole work on each device.
    """

    COLWISE = "colwise"
    ROWWISE = "rowwise"
    SEQUENCE = "sequence"
    SHARD = "shard"
    LOCAL = "local"
    REPLICATE = "replicate"


TENSOR_PARALLEL = frozenset({Style.COLWISE, Style.ROWWISE, Style.SEQUENCE})


@frozen
class Way:
    """How an operator runs, for every microbatch alike."""

    devices: tuple[int, ...]
    style: Style
    recomputed: bool


def operator_ways(plan: Plan, styles: Mapping[str, Style]) -> Mapping[int, Way]:
    """Return how each operator runs that runs for every microbatch.

    Parameters
    ----------
    styles
        Of modes whose names say none.

    Raises
    ------
    InputError
        Naming an operator that runs in several ways, or in a mode without a style.
    """
    problem, tasks = plan.problem, plan.schedule.tasks
    found: dict[int, Way] = {}
    columns = (tasks.operator.tolist(), tasks.alternative.tolist(), tasks.microbatch.tolist())
    for o, a in sorted({(o, a) for o, a, k in zip(*columns, strict=True) if k != STEP}):
        operator, alternative = problem.graph.operators[o], problem.alternatives[o][a]
        mode = operator.modes[alternative.mode]
        way = Way(
            tuple(sorted(alternative.devices)),
            style_of(operator, mode, styles),
            is_variant(mode, RECOMPUTE),
        )
        if found.setdefault(o, way) != way:
            raise InputError(
                f"operator '{operator.name}' runs in several ways (devices or modes) for different "
                "microbatches; PyTorch divides a module once: plan with the constraint 'placement'"
            )
    return found


def style_of(operator: Operator, mode: Mode, styles: Mapping[str, Style]) -> Style:
    """Return the style of a mode; a mode on one device replicates."""
    name = mode.name
    for variant in (KEEP, RECOMPUTE):
        name = name.removesuffix(variant).removesuffix("/")
    if name in styles:
        return styles[name]
    if mode.devices == 1:
        return Style.REPLICATE
    match = re.fullmatch(r"([a-z]+)(?:-(\d+))?", name)
    if match is None or match[1] not in set(Style) or int(match[2] or mode.devices) != mode.devices:
        raise InputError(
            f"operator '{operator.name}' runs in mode '{mode.name}' on {mode.devices} devices, "
            f"which DTensor and FSDP2 do not know: name it {', '.join(Style)} with '-"
            f"{mode.devices}', or say which it is: --set 'styles={{{name}: local}}'",
            key="options.styles",
        )
    return Style(match[1])


def joined_devices(ways: Iterable[Way]) -> tuple[tuple[int, ...], ...]:
    """Return the devices that work together, each device once, in the order of their first use."""
    groups: list[set[int]] = []
    for way in ways:
        touched = [group for group in groups if group & set(way.devices)]
        merged = set(way.devices).union(*touched)
        place = groups.index(touched[0]) if touched else len(groups)
        groups = [group for group in groups if group not in touched]
        groups.insert(place, merged)
    return tuple(tuple(sorted(group)) for group in groups)
