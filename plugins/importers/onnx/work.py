"""What the operators of ONNX do: their FLOP, and by which rule they are differentiated.

FLOP are those of products, 2 for a multiply and add, as PyTorch counts them: of matrices,
convolutions, attention with all pairs of positions, and recurrent layers. Everything else moves
bytes alone. Formulas follow the shapes in ONNX's specification of operators (opset 24).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from attrs import frozen

from parplan.plugins.importers.traced.program import Call, Effect, Meta

RULES: Mapping[str, str] = {
    "Attention": "scaled_dot_product_attention",
    "BatchNormalization": "batch_norm",
    "Cast": "_to_copy",
    "CastLike": "_to_copy",
    "Clip": "clamp",
    "Concat": "cat",
    "Conv": "convolution",
    "ConvTranspose": "conv_transpose2d",
    "CumSum": "cumsum",
    "Gather": "index_select",
    "GatherElements": "gather",
    "GatherND": "index",
    "Gemm": "linear",
    "GlobalAveragePool": "mean",
    "GroupNormalization": "group_norm",
    "LayerNormalization": "layer_norm",
    "LogSoftmax": "log_softmax",
    "MaxPool": "max_pool2d",
    "NegativeLogLikelihoodLoss": "nll_loss",
    "RMSNormalization": "rms_norm",
    "ReduceLogSumExp": "logsumexp",
    "ReduceMax": "max",
    "ReduceMean": "mean",
    "ReduceMin": "min",
    "ReduceSum": "sum",
    "Resize": "upsample_nearest2d",
    "ScatterElements": "scatter",
    "ScatterND": "index_put",
    "SoftmaxCrossEntropyLoss": "cross_entropy_loss",
    "Sum": "add",
    "Tile": "repeat",
    "Trilu": "triu",
    "Upsample": "upsample_nearest2d",
}
"""PyTorch's name of what an operator does, by which its backward pass is known; others have their
own name in small letters."""

VIEWS = frozenset(
    (
        "Expand", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose",
        "Unsqueeze",
    )
)  # fmt: skip
"""Operators whose results show memory that is there, as they do where a model is trained."""

UNKNOWN = frozenset(("CausalConvWithState", "FlexAttention", "LinearAttention"))
"""Operators of products that are not counted here."""


class Attribute(StrEnum):
    """Attributes on which work depends."""

    EQUATION = "equation"


def rule(kind: str) -> str:
    """Return the name under which the rules of differentiation know an operator of ONNX."""
    return RULES.get(kind, kind.lower())


@frozen
class OnnxEffects:
    """Tells what calls of ONNX's operators do.

    Attributes
    ----------
    tensors
        Every tensor of the program by name.
    """

    tensors: Mapping[str, Meta]

    def effect(self, call: Call, metas: Mapping[str, Meta]) -> Effect:
        """Return what a call ``onnx.rule.Kind`` does with tensors of which so much is known."""
        kind = call.operator.rpartition(".")[2]
        results = tuple(self.tensors[name] for name in call.results if name is not None)
        operands = [metas[name] for name in call.reads]
        count = FLOPS.get(kind)
        flops = 0.0 if count is None else float(count(call, operands, results[0]))
        return Effect(flops, results, ((0 if kind in VIEWS else None),) * len(results))


_Count = Callable[[Call, Sequence[Meta], Meta], int]


def _product(_: Call, operands: Sequence[Meta], result: Meta) -> int:
    return 2 * math.prod(result.shape) * operands[0].shape[-1]


def _gemm(_: Call, operands: Sequence[Meta], result: Meta) -> int:
    return 2 * math.prod(operands[0].shape) * result.shape[-1]


def _convolution(_: Call, operands: Sequence[Meta], result: Meta) -> int:
    return 2 * math.prod(result.shape) * math.prod(operands[1].shape[1:])


def _quantized_convolution(_: Call, operands: Sequence[Meta], result: Meta) -> int:
    return 2 * math.prod(result.shape) * math.prod(operands[3].shape[1:])


def _transposed_convolution(_: Call, operands: Sequence[Meta], __: Meta) -> int:
    return 2 * math.prod(operands[0].shape) * math.prod(operands[1].shape[1:])


def _attention(_: Call, operands: Sequence[Meta], result: Meta) -> int:
    """Two products per pair of positions; the heads stand in a dimension of their own."""
    query, key, value = operands[:3]
    width = query.shape[-1] + value.shape[-1]
    return 2 * math.prod(query.shape[:-1]) * key.shape[-2] * width


def _recurrent(_: Call, operands: Sequence[Meta], __: Meta) -> int:
    """Every position of every sequence meets all weights, of inputs and of states."""
    source, inputs, states = operands[:3]
    return 2 * math.prod(source.shape[:2]) * (math.prod(inputs.shape) + math.prod(states.shape))


def _einsum(call: Call, operands: Sequence[Meta], result: Meta) -> int:
    """Two for each element of the result and each that is summed; sums alone are no product."""
    if len(operands) < 2:
        return 0
    equation = str(dict(call.keywords)[Attribute.EQUATION.value]).replace(" ", "")
    terms, arrow, kept = equation.partition("->")
    sizes: dict[str, int] = {}
    for term, operand in zip(terms.split(","), operands, strict=False):
        before, _, after = term.partition("...")
        sizes.update(zip(before, operand.shape, strict=False))
        sizes.update(zip(reversed(after), reversed(operand.shape), strict=False))
    if not arrow:
        kept = "".join(letter for letter in terms if terms.count(letter) == 1)
    summed = math.prod(size for letter, size in sizes.items() if letter not in kept)
    return 2 * math.prod(result.shape) * summed


FLOPS: Mapping[str, _Count] = {
    "Attention": _attention,
    "Conv": _convolution,
    "ConvInteger": _convolution,
    "ConvTranspose": _transposed_convolution,
    "DeformConv": _convolution,
    "Einsum": _einsum,
    "GRU": _recurrent,
    "Gemm": _gemm,
    "LSTM": _recurrent,
    "MatMul": _product,
    "MatMulInteger": _product,
    "QLinearConv": _quantized_convolution,
    "QLinearMatMul": _product,
    "RNN": _recurrent,
}
"""How the FLOP of an operator are counted."""
