"""From the calls of a traced program to layers, with what each reads and makes.

A call that only shows memory in another way (a view) costs nothing: who reads it reads the tensor
behind it. A call that changes a tensor in place makes the tensor anew. What depends neither on an
input nor on a parameter is the same in every step (masks, positions): it is taken as made
beforehand on every device, and is no layer.
"""

from __future__ import annotations

import math
from collections import Counter as Tally
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from attrs import evolve, field, frozen

from parplan.differentiation import Layer
from parplan.errors import InputError
from parplan.plugins.importers.traced.gradients import Attention, Operand
from parplan.plugins.importers.traced.passes import Draft, Made
from parplan.plugins.importers.traced.program import (
    Call,
    Effect,
    Given,
    Meta,
    Program,
    Source,
)

EffectOf: TypeAlias = Callable[[Call, Mapping[str, Meta]], Effect]
"""Tells what a call does with tensors of which so much is known; raises InputError if it cannot."""


@frozen
class Drafts:
    """The layers of a program in the order of its calls, named after their modules.

    Attributes
    ----------
    starts
        Positions of the layers at which gradients start: that of the first result that is a single
        number, the loss; of a program without one, those of all results.
    tensors
        Of each tensor of the program the tensor of the graph that it shows in the end; empty for
        what no layer makes.
    """

    drafts: tuple[Draft, ...]
    starts: tuple[int, ...]
    tensors: Mapping[str, str]

    def forward(self) -> tuple[Layer, ...]:
        """Return the layers without backward passes."""
        return tuple(draft.forward for draft in self.drafts)

    def trained(self) -> tuple[Layer, ...]:
        """Return the layers, with backward passes where a gradient reaches them.

        Raises
        ------
        InputError
            If none does: nothing is trained.
        """
        reached: set[int] = set()
        ends = list(self.starts)
        while ends:
            at = ends.pop()
            if at not in reached and self.drafts[at].layer.has_backward:
                reached.add(at)
                ends.extend(self.drafts[at].followed)
        if not reached:
            raise InputError(
                "no gradient reaches a parameter: the model's results depend on none that is "
                "trained; import it with workload=inference"
            )
        return tuple(
            draft.trained if at in reached else draft.forward
            for at, draft in enumerate(self.drafts)
        )


def draft_layers(program: Program, effect: EffectOf, attention: Attention) -> Drafts:
    """Return the layers of a program.

    Parameters
    ----------
    effect
        Tells what a call does with tensors of which so much is known.

    Raises
    ------
    InputError
        If the work of a call is not known, naming its module; if there is nothing to do.
    """
    walk = _Walk(program, effect, attention)
    for name, given in program.given.items():
        walk.storages[name] = _Storage(program.tensors[name], given=given)
        walk.homes[name] = name
        walk.metas[name] = program.tensors[name]
        if given.source is Source.PARAMETER and given.trained:
            walk.followed.add(name)
    for at, call in enumerate(program.calls):
        walk.take(at, call)
    if not walk.drafts:
        raise InputError("the model does nothing with its inputs and parameters")
    tensors = {name: walk.storages[home].tensor for name, home in walk.homes.items()}
    return Drafts(tuple(_typed(walk.drafts)), tuple(walk.starts()), tensors)


def _typed(drafts: Sequence[Draft]) -> list[Draft]:
    """Return drafts whose layers without FLOP have the number format of most of the others' work.

    They are bound by memory, so it tells nothing of their time; and what has one format can become
    one operator.
    """
    work: Tally[str] = Tally()
    for draft in drafts:
        work[draft.layer.dtype] += int(draft.flops)
    dtype, most = max(work.items(), key=lambda item: item[1])
    return [
        draft if draft.flops or not most else evolve(draft, layer=evolve(draft.layer, dtype=dtype))
        for draft in drafts
    ]


@frozen
class _Storage:
    """Memory that tensors of a program share.

    Attributes
    ----------
    meta
        The tensor that it was made as.
    tensor, layer
        Name of its latest content in the graph, and the position of the layer that made it; empty
        and -1 for what no layer has made.
    given
        What it is where no call makes it; None for what one does.
    """

    meta: Meta
    tensor: str = ""
    layer: int = -1
    given: Given | None = None

    @property
    def parameter(self) -> str:
        """Path of the parameter that lies there; empty for anything else."""
        if self.given is None or self.given.source is not Source.PARAMETER or self.tensor:
            return ""
        return self.given.path

    @property
    def is_fixed(self) -> bool:
        """Whether it is the same in every step."""
        return not self.tensor and (self.given is None or self.given.source is Source.BUFFER)


@frozen
class _Walk:
    """Goes through the calls, and knows what lies behind each tensor of the program by then."""

    program: Program
    effect: EffectOf
    attention: Attention
    storages: dict[str, _Storage] = field(factory=dict)  # by the first tensor that lay in it
    metas: dict[str, Meta] = field(factory=dict)
    homes: dict[str, str] = field(factory=dict)  # tensor -> its storage
    followed: set[str] = field(factory=set)  # tensors that autograd follows
    drafts: list[Draft] = field(factory=list)
    names: Tally[str] = field(factory=Tally)

    def starts(self) -> list[int]:
        """Return the positions of the layers at which gradients start."""
        ends = [name for name in self.program.outputs if name in self.followed]
        losses = [n for n in ends if math.prod(self.metas[n].shape) == 1]
        made = (self._storage(name).layer for name in losses[:1] or ends)
        return [layer for layer in dict.fromkeys(made) if layer >= 0]

    def take(self, at: int, call: Call) -> None:
        """Go past one call, which stands at a position of the program."""
        effect = self.effect(call, self.metas)
        reads = call.reads
        recorded = call.has_gradient and call.short != "detach"
        operands = tuple(self._operand(name, recorded=recorded) for name in reads)
        for name, meta in zip(call.results, effect.results, strict=True):
            if name is not None:
                self.metas[name] = meta
        for name, shared in zip(call.results, effect.shares, strict=True):
            if name is not None and name not in self.homes:
                self.homes[name] = name if shared is None else self.homes[reads[shared]]
                self.storages.setdefault(self.homes[name], _Storage(self.metas[name]))
        if not effect.is_view and not all(self._storage(name).is_fixed for name in reads):
            self._add(at, call, effect, operands)
        if any(operand.differentiable for operand in operands):
            changed = (reads[at] for at in effect.written)
            made = (name for name in (*call.results, *changed) if name is not None)
            self.followed.update(n for n in made if self.metas[n].is_float)

    def _add(self, at: int, call: Call, effect: Effect, operands: tuple[Operand, ...]) -> None:
        """Add the layer of a call that makes or changes something."""
        module = call.module or self.program.kind
        name = self._name(f"{module}.{call.short}")
        reads = call.reads
        new = [
            *(n for n, s in zip(call.results, effect.shares, strict=True) if n and s is None),
            *(self.homes[reads[changed]] for changed in effect.written),
        ]
        writes = {}
        for count, home in enumerate(dict.fromkeys(new)):
            tensor = name if count == 0 else f"{name}.{count}"
            storage = self.storages[home]
            self.storages[home] = evolve(storage, tensor=tensor, layer=len(self.drafts))
            writes[tensor] = storage.meta.bytes
        results = [self.metas[n] for n in call.results if n is not None]
        result = results[0] if results else operands[0].meta
        made = Made(call, name, module, effect.flops, operands, writes, result, self.attention)
        self.drafts.append(made.draft(at))

    def _operand(self, name: str, *, recorded: bool) -> Operand:
        storage = self._storage(name)
        meta = self.metas[name]
        return Operand(
            name=name,
            meta=meta,
            differentiable=recorded and name in self.followed,
            bytes=min(meta.bytes, storage.meta.bytes),
            tensor=storage.tensor,
            layer=storage.layer,
            parameter=storage.parameter,
        )

    def _storage(self, name: str) -> _Storage:
        return self.storages[self.homes[name]]

    def _name(self, name: str) -> str:
        """Return a name that no layer has, the same in modules that do the same."""
        self.names[name] += 1
        return name if self.names[name] == 1 else f"{name}-{self.names[name]}"
