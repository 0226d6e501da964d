"""What a call of an ATen operator does: FLOP, and which of its tensors share memory.

Each call is made once for every different set of shapes on PyTorch's device ``meta``, which
computes shapes alone, under PyTorch's own counter of FLOP. There attention is counted as the two
products that it is, with all pairs of positions, whatever device the model was traced on and
whatever kernel would be chosen. 80 equal layers cost as much time as one.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from parplan.errors import InputError
from parplan.plugins.importers.traced.gradients import ATTENTION, Attention
from parplan.plugins.importers.traced.program import (
    Argument,
    Call,
    Constant,
    Effect,
    Meta,
    Reference,
    references,
)
from parplan.system.extras import required

NAMESPACES = ("aten", "prims")
"""Operators whose work is known; those of other libraries have code of their own."""


@frozen
class Counter:
    """Tells the effect of calls; equal calls are asked once.

    Attributes
    ----------
    attention
        Whose results lie in memory token by token where no scores are kept, as fused kernels write
        them: so heads can be joined without a copy.
    """

    attention: Attention
    torch: Any = field(factory=lambda: required("torch", "torch"))
    known: dict[Any, Effect] = field(factory=dict)

    def effect(self, call: Call, metas: Mapping[str, Meta]) -> Effect:
        """Return what a call does with tensors of which so much is known.

        Raises
        ------
        InputError
            If the operator is not PyTorch's own, or depends on the values of tensors.
        """
        key = (
            call.operator,
            _described(call.arguments, metas),
            tuple((name, _described(value, metas)) for name, value in call.keywords),
        )
        if key not in self.known:
            self.known[key] = self._made(call, metas)
        return self.known[key]

    def _made(self, call: Call, metas: Mapping[str, Meta]) -> Effect:
        """Return what a call does, by making it without data."""
        overload = self._overload(call)
        given: list[Any] = []
        args = [self._tensors(argument, metas, given) for argument in call.arguments]
        kwargs = {name: self._tensors(value, metas, given) for name, value in call.keywords}
        counter = required("torch.utils.flop_counter", "torch").FlopCounterMode(
            display=False, custom_mapping={self.torch.ops.aten._grouped_mm: grouped_product}
        )
        try:
            with warnings.catch_warnings(), counter:
                warnings.simplefilter("ignore")
                made = overload(*args, **kwargs)
        except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise InputError(
                f"module '{call.module or 'of the model'}' calls '{call.operator}', whose work "
                f"cannot be told without data: {reason}"
            ) from None
        several = made if isinstance(made, tuple | list) else (made,)
        found = [tensor for tensor in several if isinstance(tensor, self.torch.Tensor)]
        storages = [_storage(tensor) for tensor in given]
        return Effect(
            float(counter.get_total_flops()),
            tuple(self._meta(call, tensor) for tensor in found),
            tuple(
                storages.index(_storage(tensor)) if _storage(tensor) in storages else None
                for tensor in found
            ),
            tuple(_written(overload, call)),
        )

    def _meta(self, call: Call, tensor: Any) -> Meta:
        """Return what is known of a result."""
        shape = tuple(tensor.shape)
        strides = tuple(tensor.stride())
        if call.short == ATTENTION and self.attention is Attention.FLASH and len(shape) == 4:
            _, heads, tokens, width = shape
            strides = (tokens * heads * width, width, heads * width, 1)
        return Meta(shape, strides, str(tensor.dtype).rpartition(".")[2])

    def _overload(self, call: Call) -> Any:
        """Return PyTorch's operator of a call."""
        namespace, name, overload = call.operator.split(".", 2)
        if namespace in NAMESPACES:
            packet = getattr(getattr(self.torch.ops, namespace), name, None)
            found = getattr(packet, overload, None)
            if found is not None:
                return found
        raise InputError(
            f"module '{call.module or 'of the model'}' calls '{call.operator}', which is none of "
            "PyTorch's own operators: its work is not known; trace the model with plain ones"
        )

    def _tensors(self, argument: Argument, metas: Mapping[str, Meta], given: list[Any]) -> Any:
        """Return an argument with tensors that have no data; they are put in ``given``."""
        torch = self.torch
        if isinstance(argument, Reference):
            meta = metas[argument.name]
            tensor = torch.empty_strided(
                meta.shape, meta.strides, dtype=getattr(torch, meta.dtype), device="meta"
            )
            given.append(tensor)
            return tensor
        if isinstance(argument, tuple):
            return [self._tensors(part, metas, given) for part in argument]
        if isinstance(argument, Constant):
            return (
                torch.device("meta") if argument.name == "meta" else getattr(torch, argument.name)
            )
        return argument


def grouped_product(
    left: tuple[int, ...], right: tuple[int, ...], *_: Any, out_shape: Any = None, **__: Any
) -> int:
    """Return the FLOP of products of groups of rows with matrices of their own.

    2 m k n for m rows in all of k elements, and matrices of k x n, however rows are divided; so is
    the other form, which sums over groups: each row of k counts once.
    """
    if len(left) == 2 and len(right) == 2:
        return 2 * left[0] * left[1] * right[1]
    rows = left[0] if len(left) == 2 else left[0] * left[1]
    return 2 * rows * left[-1] * right[-1]


def _storage(tensor: Any) -> int:
    """Return what tells memory of its own from memory that is shared."""
    address: int = tensor.untyped_storage()._cdata
    return address


def _written(overload: Any, call: Call) -> list[int]:
    """Return the positions, among the tensors read, of those that an operator changes."""
    names = [argument.name for argument in overload._schema.arguments]
    changed = {
        argument.name
        for argument in overload._schema.arguments
        if argument.alias_info is not None and argument.alias_info.is_write
    }
    values = [*zip(names, call.arguments, strict=False), *call.keywords]
    at = 0
    found: list[int] = []
    for name, value in values:
        count = len(list(references(value)))
        if name in changed:
            found += range(at, at + count)
        at += count
    return found


def _described(argument: Argument, metas: Mapping[str, Meta]) -> Argument:
    """Return an argument with what is known of each tensor in the place of its name."""
    if isinstance(argument, Reference):
        return metas[argument.name]
    if isinstance(argument, tuple):
        return tuple(_described(part, metas) for part in argument)
    return argument
