"""Attention between queries, keys and values: work and saved tensors, flash and full.

4 s t b q FLOP forward for s queries and t keys a sequence, twice that backward (Zero Bubble, ICLR
2024, table 1). A bias of the scores is read once for all sequences, and has a gradient of its size.
"""

from __future__ import annotations

from attrs import frozen

from parplan.differentiation import Layer, Work
from parplan.graph import Kernel
from parplan.plugins.importers.analytic.shape import MASK_BYTES, STATISTICS_BYTES, Setting, Shape


@frozen
class Reads:
    """What attention reads.

    Attributes
    ----------
    sources
        Tensors of queries, keys and values: one of all, or one of queries and one of the others.
    keys
        Keys per sequence, where they are those of another stack; None: as many as queries.
    bias
        A tensor that is added to the scores; empty for none.
    """

    sources: tuple[str, ...]
    keys: int | None = None
    bias: str = ""


def attention(shape: Shape, setting: Setting, name: str, module: str, reads: Reads) -> Layer:
    """Return the layer between the projections of queries, keys and values and the output's."""
    core = _Core(shape, setting, name, reads)
    forward, backward, saved = core.flash() if setting.flash else core.full()
    return Layer(
        name=name,
        module=module,
        reads=(*reads.sources, *core.bias),
        writes={name: core.out, **(saved if setting.training else {})},
        forward=forward,
        backward_input=backward,
        dtype=setting.dtype,
    )


def pairs(shape: Shape, setting: Setting, keys: int | None = None) -> float:
    """Return the pairs of positions that attend to each other in one sequence.

    In full: all of them, or as many as the window holds for each; with ``causal_half`` without
    those that lie ahead. To the ``keys`` of another stack all positions attend.
    """
    length = setting.sequence
    if keys is not None:
        return float(length * keys)
    seen = min(length, shape.window or length)
    half = setting.causal_half and shape.causal
    return length * seen - seen**2 / 2 if half else float(length * seen)


def bias_bytes(shape: Shape, setting: Setting) -> int:
    """Bytes of a bias of the scores: one for each head and pair, the same for all sequences."""
    return shape.heads * setting.sequence**2 * setting.element_bytes


@frozen
class _Core:
    """Attention in a setting, with the bytes of what it reads and writes."""

    shape: Shape
    setting: Setting
    name: str
    reads: Reads

    @property
    def bias(self) -> tuple[str, ...]:
        return (self.reads.bias,) if self.reads.bias else ()

    @property
    def flops(self) -> float:
        seen = pairs(self.shape, self.setting, self.reads.keys)
        return 4.0 * seen * self.setting.microbatch * self.shape.query

    @property
    def out(self) -> int:
        return self.setting.activation(self.shape.query)

    @property
    def keys(self) -> int:
        return self.setting.sequence if self.reads.keys is None else self.reads.keys

    @property
    def wide(self) -> int:
        """Bytes of queries, keys and values."""
        s = self.setting
        return self.out + 2 * s.microbatch * self.keys * self.shape.key_value * s.element_bytes

    @property
    def biased(self) -> int:
        return bias_bytes(self.shape, self.setting) if self.bias else 0

    def flash(self) -> tuple[Work, Work, dict[str, int]]:
        """Save queries, keys, values, result and log-sum-exp: no matrix of scores."""
        sums = self.setting.tokens * self.shape.heads * STATISTICS_BYTES
        saved = {f"{self.name}.log_sum_exp": sums}
        forward = Kernel(self.flops, self.wide + self.out + sums + self.biased)
        backward = Kernel(2 * self.flops, 2 * self.wide + 2 * self.out + sums + 2 * self.biased)
        kept = (*self.reads.sources, *self.bias, self.name, *saved)
        return Work((forward,)), Work((backward,), kept), saved

    def full(self) -> tuple[Work, Work, dict[str, int]]:
        """Save the scores of all heads: 5 a s t b bytes with dropout in 16 bit, else 2."""
        s, x = self.setting, self.shape
        elements = s.microbatch * x.heads * s.sequence * self.keys
        square = elements * s.element_bytes
        saved = {f"{self.name}.probabilities": square}
        extra = 0
        if x.attention_dropout and s.training:
            saved |= {f"{self.name}.mask": elements * MASK_BYTES, f"{self.name}.dropped": square}
            extra = square + elements * MASK_BYTES
        forward = (
            Kernel(self.flops / 2, self.wide + square),  # scores
            Kernel(0.0, 2 * square + extra + self.biased),  # bias, softmax, dropout
            Kernel(self.flops / 2, square + self.out),
        )
        backward = (
            Kernel(self.flops, 2 * square + self.wide + self.out),  # of probabilities and values
            Kernel(0.0, 3 * square + extra + self.biased),
            Kernel(self.flops, 2 * square + self.wide),  # of queries and keys
        )
        return (
            Work(forward, workspace_bytes=square),
            Work(backward, (*self.reads.sources, *saved), workspace_bytes=2 * square),
            saved,
        )
