"""What a call of an ATen operator does: FLOP, and which of its tensors share memory.

Each call is made once for every different set of shapes on PyTorch's device ``meta``, which
computes shapes alone, under PyTorch's own counter of FLOP. There attention is counted as the two
products that it is, with all pairs of positions, whatever device the model was traced on and
whatever kernel would be chosen. 80 equal layers cost as much time as one.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from parplan.errors import InputError
from parplan.plugins.importers.traced.calling import arguments_of, empty, operator_of
from parplan.plugins.importers.traced.gradients import ATTENTION, Attention
from parplan.plugins.importers.traced.program import (
    Argument,
    Call,
    Effect,
    Meta,
    Reference,
    references,
)
from parplan.system.extras import required


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
        overload = operator_of(self.torch, call)
        given: list[Any] = []

        def tensor(name: str) -> Any:
            given.append(empty(self.torch, metas[name], "meta"))
            return given[-1]

        args, kwargs = arguments_of(self.torch, call, tensor, "meta")
        aten = self.torch.ops.aten
        counter = required("torch.utils.flop_counter", "torch").FlopCounterMode(
            display=False,
            custom_mapping={
                aten._grouped_mm: grouped_product,
                aten.convolution_backward: convolution_gradients,
                aten._scaled_dot_product_flash_attention_for_cpu: attention_products,
                aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_gradients,
                aten._scaled_dot_product_efficient_attention: attention_products,
                aten._scaled_dot_product_efficient_attention_backward: attention_gradients,
            },
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


def convolution_gradients(
    gradient: tuple[int, ...],
    source: tuple[int, ...],
    weight: tuple[int, ...],
    *rest: Any,
    **_: Any,
) -> int:
    """Return the FLOP of the gradients of a convolution that are asked for.

    Each of the two costs as much as the convolution, in groups as well: every element of its
    result (of its source, where it is transposed) meets as many weights. PyTorch's own count has
    the gradient of the weights of a grouped convolution too high.
    """
    transposed, mask = bool(rest[4]), rest[7]
    met = source if transposed else gradient
    return 2 * math.prod(met) * math.prod(weight[1:]) * sum(map(bool, mask[:2]))


def attention_products(
    query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], *_: Any, **__: Any
) -> int:
    """Return the FLOP of attention: two products for all pairs of positions, masked or not."""
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def attention_gradients(
    _: Any,
    query: tuple[int, ...],
    key: tuple[int, ...],
    value: tuple[int, ...],
    *__: Any,
    **___: Any,
) -> int:
    """Return the FLOP of the gradients of attention, without those that a kernel repeats."""
    return 2 * attention_products(query, key, value)


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
