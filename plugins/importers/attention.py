"""Attention between queries, keys and values: work and saved tensors, flash and full.

4 s^2 b q FLOP forward, twice that backward (Zero Bubble, ICLR 2024, table 1).
"""

from __future__ import annotations

from parplan.differentiation import Layer, Work
from parplan.graph import Kernel
from parplan.plugins.importers.shape import MASK_BYTES, STATISTICS_BYTES, Setting, Shape


def attention(shape: Shape, setting: Setting, name: str, module: str, source: str) -> Layer:
    """Return the layer between the joint projection ``source`` and the output projection."""
    flops = 4.0 * pairs(shape, setting) * setting.microbatch * shape.query
    make = _flash if setting.flash else _full
    forward, backward, saved = make(shape, setting, name, source, flops)
    return Layer(
        name=name,
        module=module,
        reads=(source,),
        writes={name: setting.activation(shape.query), **(saved if setting.training else {})},
        forward=forward,
        backward_input=backward,
        dtype=setting.dtype,
    )


def pairs(shape: Shape, setting: Setting) -> float:
    """Return the pairs of positions that attend to each other in one sequence.

    In full: all of them, or as many as the window holds for each; with ``causal_half`` without
    those that lie ahead.
    """
    length = setting.sequence
    seen = min(length, shape.window or length)
    return length * seen - seen**2 / 2 if setting.causal_half else float(length * seen)


def _flash(
    shape: Shape, setting: Setting, name: str, source: str, flops: float
) -> tuple[Work, Work, dict[str, int]]:
    """Save queries, keys, values, result and log-sum-exp: no s x s matrix."""
    wide = setting.activation(shape.query + 2 * shape.key_value)
    out = setting.activation(shape.query)
    sums = setting.tokens * shape.heads * STATISTICS_BYTES
    saved = {f"{name}.log_sum_exp": sums}
    forward = Kernel(flops, wide + out + sums)
    backward = Kernel(2 * flops, 2 * wide + 2 * out + sums)
    return Work((forward,)), Work((backward,), (source, name, *saved)), saved


def _full(
    shape: Shape, setting: Setting, name: str, source: str, flops: float
) -> tuple[Work, Work, dict[str, int]]:
    """Save the s x s matrices of all heads: 5 a s^2 b bytes with dropout in 16 bit, else 2."""
    wide = setting.activation(shape.query + 2 * shape.key_value)
    out = setting.activation(shape.query)
    elements = setting.microbatch * shape.heads * setting.sequence**2
    square = elements * setting.element_bytes
    saved = {f"{name}.probabilities": square}
    extra = 0
    if shape.attention_dropout and setting.training:
        saved |= {f"{name}.mask": elements * MASK_BYTES, f"{name}.dropped": square}
        extra = square + elements * MASK_BYTES
    forward = (
        Kernel(flops / 2, wide + square),  # scores
        Kernel(0.0, 2 * square + extra),  # softmax, dropout
        Kernel(flops / 2, square + out),
    )
    backward = (
        Kernel(flops, 2 * square + wide + out),  # of probabilities and values
        Kernel(0.0, 3 * square + extra),
        Kernel(flops, 2 * square + wide),  # of queries and keys
    )
    return (
        Work(forward, workspace_bytes=square),
        Work(backward, (source, *saved), workspace_bytes=2 * square),
        saved,
    )
