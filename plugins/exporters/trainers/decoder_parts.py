"""The parts of a decoder-only language model that stages hold, by names that targets agree on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import IntEnum
from itertools import pairwise

from attrs import frozen

from parplan.errors import InputError
from parplan.stages.program import StageProgram


class PartKind(IntEnum):
    """A part of a decoder-only model; the values have the order of the forward pass."""

    EMBEDDING = 0
    LAYER = 1
    NORM = 2
    HEAD = 3
    MULTI_TOKEN = 4
    LOSS = 5


@frozen(order=True)
class Part:
    """One part of a model, in the order of the forward pass.

    Attributes
    ----------
    number
        Of a decoder layer, or of a layer that predicts several tokens; 0 of other parts.
    """

    kind: PartKind
    number: int = 0

    def __str__(self) -> str:
        name = _NAMES[self.kind][0]
        return f"{name}.{self.number}" if self.kind in _NUMBERED else name


_NAMES: Mapping[PartKind, tuple[str, ...]] = {
    PartKind.EMBEDDING: ("embedding", "embed_tokens", "tok_embeddings", "wte"),
    PartKind.LAYER: ("layers", "h", "blocks"),
    PartKind.NORM: ("final_norm", "norm", "ln_f"),
    PartKind.HEAD: ("head", "lm_head", "output"),
    PartKind.MULTI_TOKEN: ("mtp",),
    PartKind.LOSS: ("loss",),
}
_NUMBERED = (PartKind.LAYER, PartKind.MULTI_TOKEN)
_KIND_OF = {name: kind for kind, names in _NAMES.items() for name in names}
_MODULE = re.compile(
    r"(?:(?:model|transformer|language_model)\.)*(?P<name>[^.]+)(?:\.(?P<number>\d+))?(?:\..*)?"
)

Parts = tuple[tuple[Part, ...], ...]
"""The parts that each stage of a chain holds."""


def parts_of(program: StageProgram, modules: Mapping[str, str]) -> Parts:
    """Return the parts of each stage, in the order of the forward pass.

    Parameters
    ----------
    modules
        Other names of modules: the beginning of a path in the plan, and what stands for it, such
        as ``{"trunk.blocks": "layers"}``.

    Raises
    ------
    InputError
        If a module is no part of a decoder-only model, is in two stages, or out of its order.
    """
    found = tuple(
        tuple(sorted({part_of(module, modules) for module in stage.modules}))
        for stage in program.stages
    )
    home: dict[Part, int] = {}
    for index, parts in enumerate(found):
        for part in parts:
            if part in home:
                raise InputError(
                    f"'{part}' is divided among stages {home[part]} and {index}; the target moves "
                    "whole layers: plan with the importer's option 'granularity: layer'"
                )
            home[part] = index
    _check_order(found)
    return found


def part_of(module: str, modules: Mapping[str, str]) -> Part:
    """Return the part that a module is, or belongs to; InputError if it is none."""
    path = _renamed(module, modules)
    match = _MODULE.fullmatch(path)
    kind = None if match is None else _KIND_OF.get(match["name"])
    if match is None or kind is None or (kind in _NUMBERED) != (match["number"] is not None):
        raise InputError(
            f"module '{module}' is no part of a decoder-only model that the target knows; say "
            f"which it is, e.g. --set 'modules={{{module}: norm}}' (embedding, layers.N, norm, "
            "head, mtp.N or loss)",
            key="options.modules",
        )
    return Part(kind, int(match["number"] or 0))


def _renamed(module: str, modules: Mapping[str, str]) -> str:
    """Return a path with the longest beginning that has another name replaced by it."""
    begins = [b for b in modules if module == b or module.startswith(f"{b}.")]
    if not begins:
        return module
    longest = max(begins, key=len)
    return modules[longest] + module[len(longest) :]


def _check_order(found: Sequence[Sequence[Part]]) -> None:
    """Refuse models of which parts are missing, or stand in another order than is run."""
    flat = [part for parts in found for part in parts]
    for before, after in pairwise(flat):
        if after < before:
            raise InputError(f"'{after}' comes after '{before}'; the target runs it before")
    numbers = [part.number for part in flat if part.kind is PartKind.LAYER]
    if not numbers:
        raise InputError("the plan's model has no decoder layers ('layers.0', 'layers.1', ...)")
    if numbers != list(range(len(numbers))):
        missing = next(n for n in range(len(numbers) + 1) if n not in numbers)
        raise InputError(f"the plan's model has no 'layers.{missing}', but later layers")
    for kind in (PartKind.EMBEDDING, PartKind.HEAD):
        if Part(kind) not in flat:
            raise InputError(f"the plan's model has no '{Part(kind)}'; the target needs one")
