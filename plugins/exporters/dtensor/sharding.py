"""A plan as a mesh of ranks, with what each group of them does to its modules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from attrs import frozen

from parplan.errors import InputError
from parplan.graph import Graph, Kind
from parplan.plans import Plan
from parplan.plugins.exporters.dtensor.layouts import Layout, Layouts, forward_layouts
from parplan.plugins.exporters.dtensor.ways import (
    TENSOR_PARALLEL,
    Style,
    Way,
    joined_devices,
    operator_ways,
)
from parplan.recomputing import can_recompute
from parplan.text import plain

_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*", re.ASCII)


class Division(StrEnum):
    """What is divided among the devices of a group; the name of the mesh's dimension."""

    TENSOR = "tensor"
    SHARD = "shard"
    NONE = "none"


@frozen
class TensorParallel:
    """How a module is divided, and the layouts of what it reads and makes."""

    style: Style
    input: Layout
    output: Layout


@frozen
class Group:
    """Devices that hold the same modules.

    Attributes
    ----------
    modules
        Paths in the model's hierarchy, in the order of the graph.
    tensor_parallel
        Modules that are divided among the mesh's ``tensor``.
    recompute
        Modules whose forward pass runs again in the backward pass.
    fully_shard
        Modules whose weights FSDP2 gathers and frees as one, on the mesh's ``shard``.
    """

    devices: tuple[str, ...]
    modules: tuple[str, ...]
    tensor_parallel: Mapping[str, TensorParallel]
    recompute: tuple[str, ...]
    fully_shard: tuple[str, ...]


@frozen
class Mesh:
    """Sizes of the mesh's dimensions, the outermost first; a group is a place in ``pipeline``."""

    pipeline: int
    shard: int
    tensor: int


@frozen
class Sharding:
    """What is done to a model.

    Attributes
    ----------
    replicated
        Modules that the plan runs on one device of their group alone; PyTorch runs them on all.
    """

    name: str
    mesh: Mesh
    groups: tuple[Group, ...]
    replicated: tuple[str, ...]


def sharding(plan: Plan, styles: Mapping[str, Style], shard: int) -> Sharding:
    """Return how a plan divides its model.

    Parameters
    ----------
    styles
        Of modes whose names say none.
    shard
        Ranks that stand for each device of the plan, with a shard of its weights each.

    Raises
    ------
    InputError
        Naming what DTensor and FSDP2 cannot express.
    """
    graph, ways = plan.problem.graph, operator_ways(plan, styles)
    order = [o for o in graph.topological_order if o in ways]
    joined = joined_devices(ways[o] for o in order)
    names = [plain(device.name) for device in plan.problem.cluster.devices]
    parts = []
    for devices in joined:
        own = {o: ways[o] for o in order if ways[o].devices[0] in devices}
        _require_whole(graph, own, len(devices))
        parts.append(_Part(graph, tuple(names[d] for d in devices), own))
    division, size = _one_division(parts)
    layouts = forward_layouts(graph, ways) if division is Division.TENSOR else {}
    sharded = shard > 1 or division is Division.SHARD
    groups = tuple(_group(part, layouts, sharded=sharded) for part in parts)
    if not any(g.tensor_parallel or g.recompute or g.fully_shard for g in groups):
        raise InputError(
            "the plan divides no operator and recomputes none, so there is nothing to apply; "
            "--set shard=N shards the weights of each of its devices among N ranks",
            key="options.shard",
        )
    mesh = Mesh(
        pipeline=len(groups),
        shard=shard * (size if division is Division.SHARD else 1),
        tensor=size if division is Division.TENSOR else 1,
    )
    alone = [m for part in parts if len(part.devices) > 1 for m in part.replicated]
    return Sharding(plain(plan.problem.name), mesh, groups, tuple(alone))


def _require_whole(graph: Graph, ways: Mapping[int, Way], size: int) -> None:
    """Raise InputError if an operator runs on several devices of a group, but not on all."""
    for o, way in ways.items():
        if 1 < len(way.devices) < size:
            raise InputError(
                f"operator '{graph.operators[o].name}' runs on {len(way.devices)} of {size} "
                "devices that work together; a module of PyTorch's is divided among all or none: "
                "plan with groups of devices that do not overlap"
            )


@frozen(eq=False)
class _Part:
    """Devices that work together, and how their operators run."""

    graph: Graph
    devices: tuple[str, ...]
    ways: Mapping[int, Way]

    @property
    def division(self) -> Division:
        """What is divided; InputError if it is tokens or weights here and samples there."""
        used = {way.style for way in self.ways.values()}
        tensor = used & TENSOR_PARALLEL
        where = ", ".join(f"'{device}'" for device in self.devices)
        if tensor and Style.SHARD in used:
            raise InputError(
                f"operators on {where} are divided {min(tensor)} and {Style.SHARD}; ranks of one "
                "group have either the same samples or different ones"
            )
        if tensor:
            return Division.TENSOR
        if Style.SHARD in used:
            return Division.SHARD
        if len(self.devices) > 1:
            raise InputError(f"{where} run operators together, but divide none of them")
        return Division.NONE

    def operators(self) -> Mapping[str, tuple[int, ...]]:
        """Return the operators of each module."""
        found: dict[str, list[int]] = {}
        for o in self.ways:
            if self.graph.operators[o].module:
                found.setdefault(self.graph.operators[o].module, []).append(o)
        return {module: tuple(own) for module, own in found.items()}

    def styled(self) -> Mapping[str, int]:
        """Return an operator with the style of each module that is divided for tensors."""
        found: dict[str, int] = {}
        for module, own in self.operators().items():
            divided = [o for o in own if self.ways[o].style in TENSOR_PARALLEL]
            for o in divided:
                if self.ways[o].style is not self.ways[divided[0]].style:
                    one, other = (self.graph.operators[i].name for i in (divided[0], o))
                    raise InputError(
                        f"operators '{one}' and '{other}' of module '{module}' are divided "
                        f"{self.ways[divided[0]].style} and {self.ways[o].style}; PyTorch divides "
                        "a module in one way: plan with the constraint 'placement', option "
                        "'same_mode'"
                    )
            if divided:
                found[module] = divided[0]
        return found

    @property
    def replicated(self) -> list[str]:
        """Modules whose operators all run on one device alone."""
        return [
            module
            for module, own in self.operators().items()
            if all(self.ways[o].style is Style.REPLICATE for o in own)
            and any(len(self.ways[o].devices) == 1 for o in own)
        ]

    def recomputed(self) -> list[str]:
        """Return the modules that recompute; InputError if only a part of one does."""
        found = []
        for module, own in self.operators().items():
            choosing = [
                o
                for o in own
                if self.graph.operators[o].kind is Kind.FORWARD
                and can_recompute(self.graph.operators[o])
            ]
            again = [o for o in choosing if self.ways[o].recomputed]
            if again and len(again) < len(choosing):
                kept = next(o for o in choosing if o not in again)
                raise InputError(
                    f"operator '{self.graph.operators[again[0]].name}' is recomputed, but not "
                    f"'{self.graph.operators[kept].name}' of the same module '{module}'; PyTorch "
                    "recomputes whole modules: plan with the constraint 'recomputation'"
                )
            if again:
                found.append(module)
        return found


def _one_division(parts: Sequence[_Part]) -> tuple[Division, int]:
    """Return what all groups divide, and among how many devices; a mesh has no uneven rows."""
    first = parts[0]
    for part in parts[1:]:
        if (part.division, len(part.devices)) != (first.division, len(first.devices)):
            raise InputError(
                f"'{part.devices[0]}' works in a group of {len(part.devices)} (divided: "
                f"{part.division}), '{first.devices[0]}' in one of {len(first.devices)} (divided: "
                f"{first.division}); a mesh of PyTorch has groups of one size and kind"
            )
    return first.division, len(first.devices)


def _group(part: _Part, layouts: Mapping[int, Layouts], *, sharded: bool) -> Group:
    modules = tuple(part.operators())
    for module in modules:
        if not is_path(module):
            raise InputError(f"module '{module}' is no path of a module of PyTorch's")
    divided = {}
    for module, o in part.styled().items():
        forward = next((i for i in part.operators()[module] if i in layouts), o)
        if forward not in layouts:
            raise InputError(f"module '{module}' is divided, but has no forward operator")
        found = layouts[forward]
        divided[module] = TensorParallel(part.ways[o].style, found.input, found.output)
    units = tuple(dict.fromkeys(map(unit_of, modules))) if sharded else ()
    return Group(part.devices, modules, divided, _outermost(part.recomputed()), units)


def is_path(text: str) -> bool:
    """Return whether a text is the path of a module, such as ``layers.3.mlp``."""
    return _PATH.fullmatch(text) is not None


def unit_of(module: str) -> str:
    """Return the layer that a module is part of, by its number; itself if it is in none.

    >>> unit_of("model.layers.3.mlp.up"), unit_of("model.norm")
    ('model.layers.3', 'model.norm')
    """
    steps = module.split(".")
    number = next((i for i, step in enumerate(steps) if step.isdigit()), len(steps) - 1)
    return ".".join(steps[: number + 1])


def _outermost(modules: Iterable[str]) -> tuple[str, ...]:
    """Return the modules that are not inside another one of them."""
    kept = list(modules)
    return tuple(m for m in kept if not any(m.startswith(f"{other}.") for other in kept))
