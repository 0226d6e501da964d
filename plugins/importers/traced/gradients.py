"""What autograd keeps of a call for its backward pass, and what that pass does.

PyTorch's rules of differentiation (``tools/autograd/derivatives.yaml`` of its source), by kind of
operator: a sum keeps nothing, a product each factor for the gradients of the others, a softmax its
result, a norm its input and a statistic per row; what is not listed keeps its inputs. Tests hold
them against the joint graphs that PyTorch's autograd makes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import StrEnum

from attrs import frozen

from parplan.plugins.importers.traced.program import Argument, Call, Meta

STATISTIC_BYTES = 4
"""Of one fp32 statistic: a norm's, or the softmax's log-sum-exp."""


INDEX_BYTES = 8
"""Of one index, as PyTorch writes them."""


class Attention(StrEnum):
    """Whether sequence x sequence matrices are kept for the backward pass."""

    FLASH = "flash"
    FULL = "full"


class Keeps(StrEnum):
    """Which tensors of a call its backward pass reads; masks and indices always belong to them."""

    INDICES = "indices"
    INPUTS = "inputs"
    RESULT = "result"
    BOTH = "both"  # inputs and result
    OTHERS = "others"  # each factor for the gradients of the others


KEEPS: Mapping[str, Keeps] = {
    **dict.fromkeys(
        (
            "_to_copy", "add", "add_", "as_strided_copy", "cat", "clone", "constant_pad_nd",
            "contiguous", "copy", "copy_", "cross_entropy_loss", "cumsum", "dropout", "dropout_",
            "embedding", "fill", "flip", "gather", "index", "index_add", "index_copy", "index_put",
            "index_put_", "index_select", "kthvalue", "masked_fill", "masked_fill_", "max", "mean",
            "median", "min", "native_dropout", "neg", "nll_loss", "nll_loss_nd", "pad", "repeat",
            "repeat_interleave", "reshape", "roll", "rsub", "scatter", "scatter_add",
            "select_scatter", "slice_scatter", "sort", "stack", "sub", "sub_", "sum", "take", "to",
            "topk", "tril", "triu", "upsample_bicubic2d", "upsample_bilinear2d",
            "upsample_nearest2d", "where",
        ),
        Keeps.INDICES,
    ),
    **dict.fromkeys(
        (
            "_log_softmax", "_softmax", "exp", "exp_", "expm1", "log_softmax", "reciprocal", "relu",
            "relu_", "rsqrt", "sigmoid", "sigmoid_", "softmax", "sqrt", "tanh", "tanh_",
        ),
        Keeps.RESULT,
    ),
    **dict.fromkeys(
        (
            "amax", "amin", "cumprod", "linalg_vector_norm", "logsumexp", "norm", "prod", "std",
        ),
        Keeps.BOTH,
    ),
    **dict.fromkeys(
        (
            "_grouped_mm", "addbmm", "addmm", "addmv", "baddbmm", "bilinear", "bmm", "conv1d",
            "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
            "convolution", "div", "div_", "dot", "einsum", "linear", "matmul", "mm", "mul", "mul_",
            "mv", "outer",
        ),
        Keeps.OTHERS,
    ),
}  # fmt: skip
"""By name of the operator; those that are not here keep their inputs."""

SUMMAND_FIRST = ("addbmm", "addmm", "addmv", "baddbmm")
"""Products whose first argument is added to the result."""

SUMS = ("add", "add_")

INDEXED = ("embedding", "gather", "index", "index_select", "take")
"""Operators that read as much of their first tensor as they return."""

SELECTIONS = ("kthvalue", "max", "median", "min", "sort", "topk")
"""Operators whose second result, if they have one, tells where the first was taken from."""

ATTENTION = "scaled_dot_product_attention"


@frozen
class Operand:
    """A tensor that a call reads.

    Attributes
    ----------
    differentiable
        Whether autograd follows it.
    bytes
        What is read of it: each byte behind it once.
    tensor, layer
        The tensor of the graph that it shows, and the position of the layer that made that; empty
        and -1 for what no layer has made.
    parameter
        Path of the parameter that it shows; empty for others.
    """

    name: str
    meta: Meta
    differentiable: bool
    bytes: int
    tensor: str = ""
    layer: int = -1
    parameter: str = ""


def kept(
    call: Call, operands: tuple[Operand, ...], attention: Attention
) -> tuple[tuple[str, ...], bool]:
    """Return the names of the operands that a call's backward pass reads, and if its result too.

    Where attention keeps its scores, it needs its result no more.
    """
    how = _keeps(call)
    if call.short == ATTENTION:
        return tuple(operand.name for operand in operands), attention is Attention.FLASH
    names = []
    for at, operand in enumerate(operands):
        others = operands[:at] + operands[at + 1 :]
        factors = others[1:] if call.short in SUMMAND_FIRST and at > 0 else others
        needed = how is Keeps.OTHERS and _is_factor(call, at) and _any_followed(factors)
        if needed or how in (Keeps.INPUTS, Keeps.BOTH) or not operand.meta.is_float:
            names.append(operand.name)
    return tuple(dict.fromkeys(names)), how in (Keeps.RESULT, Keeps.BOTH)


def _keeps(call: Call) -> Keeps:
    """Return which tensors the backward pass of a call reads; a pool of everything is a mean."""
    if call.short == "adaptive_avg_pool2d" and call.arguments[1] in ((1,), (1, 1)):
        return Keeps.INDICES
    return KEEPS.get(call.short, Keeps.INPUTS)


def _any_followed(operands: tuple[Operand, ...]) -> bool:
    return any(operand.differentiable for operand in operands)


def _is_factor(call: Call, at: int) -> bool:
    """Return whether an operand of a product is multiplied, and not only added."""
    if KEEPS.get(call.short) is not Keeps.OTHERS:
        return True
    if call.short in SUMMAND_FIRST:
        return at > 0
    return at < 2 or call.short in ("mul", "mul_", "einsum")


def gradient_flops(call: Call, flops: float, operands: tuple[Operand, ...]) -> tuple[float, float]:
    """Return the FLOP of the gradients of activations and of weights.

    A product costs once more for the gradient of each of its two factors, and attention twice for
    all three of its own (what a flash kernel computes again is not counted).
    """
    followed = [(at, operand) for at, operand in enumerate(operands) if operand.differentiable]
    if call.short == ATTENTION:
        return (2 * flops if followed else 0.0), 0.0
    weights = [bool(o.parameter) for at, o in followed if _is_factor(call, at)]
    if KEEPS.get(call.short) is Keeps.OTHERS:
        return flops * weights.count(False), flops * weights.count(True)
    return flops * (False in weights), flops * (True in weights)


def extras(
    call: Call, operands: tuple[Operand, ...], result: Meta, attention: Attention
) -> dict[str, int]:
    """Return the bytes of what a call makes for its backward pass alone, by name."""
    make = _EXTRAS.get(call.short)
    return {} if make is None else make(call, operands[0].meta, result, operands, attention)


_Extra = Callable[[Call, Meta, Meta, tuple[Operand, ...], Attention], dict[str, int]]


def _layer_norm(
    call: Call, source: Meta, _r: Meta, _o: tuple[Operand, ...], _a: Attention
) -> dict[str, int]:
    shape = call.arguments[1]
    width = math.prod(source.shape[len(source.shape) - _length(shape) :])
    statistics = 1 if call.short == "rms_norm" else 2
    return {"statistics": math.prod(source.shape) // max(1, width) * statistics * STATISTIC_BYTES}


def _length(argument: Argument) -> int:
    return len(argument) if isinstance(argument, tuple) else 1


def _batch_norm(
    _c: Call, source: Meta, _r: Meta, _o: tuple[Operand, ...], _a: Attention
) -> dict[str, int]:
    return {"statistics": 2 * source.shape[1] * STATISTIC_BYTES}


def _group_norm(
    call: Call, source: Meta, _r: Meta, _o: tuple[Operand, ...], _a: Attention
) -> dict[str, int]:
    groups = call.arguments[1]
    count = groups if isinstance(groups, int) else 1
    return {"statistics": 2 * source.shape[0] * count * STATISTIC_BYTES}


def _mask(
    _c: Call, _s: Meta, result: Meta, _o: tuple[Operand, ...], _a: Attention
) -> dict[str, int]:
    return {"mask": math.prod(result.shape)}


def _log_probabilities(
    _c: Call, source: Meta, _r: Meta, _o: tuple[Operand, ...], _a: Attention
) -> dict[str, int]:
    return {"log_probabilities": source.bytes}


def _pooled(
    _c: Call, _s: Meta, result: Meta, _o: tuple[Operand, ...], _a: Attention
) -> dict[str, int]:
    return {"indices": INDEX_BYTES * math.prod(result.shape)}


def _unread_indices(
    call: Call, _s: Meta, result: Meta, _o: tuple[Operand, ...], _a: Attention
) -> dict[str, int]:
    unread = len(call.results) > 1 and call.results[1] is None
    return {"indices": INDEX_BYTES * math.prod(result.shape)} if unread else {}


def _attention(
    _c: Call, query: Meta, _r: Meta, operands: tuple[Operand, ...], attention: Attention
) -> dict[str, int]:
    rows = math.prod(query.shape[:-1])
    if attention is Attention.FLASH:
        return {"log_sum_exp": rows * STATISTIC_BYTES}
    keys = operands[1].meta.shape[-2]
    return {"probabilities": rows * keys * query.bytes // math.prod(query.shape)}


_EXTRAS: Mapping[str, _Extra] = {
    "layer_norm": _layer_norm,
    "native_layer_norm": _layer_norm,
    "rms_norm": _layer_norm,
    "batch_norm": _batch_norm,
    "group_norm": _group_norm,
    "dropout": _mask,
    "dropout_": _mask,
    "cross_entropy_loss": _log_probabilities,
    "max_pool2d": _pooled,
    **dict.fromkeys(SELECTIONS, _unread_indices),
    ATTENTION: _attention,
}
