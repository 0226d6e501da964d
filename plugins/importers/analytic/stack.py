"""A stack of transformer layers: parameters, work and bytes by formula.

Notation of the formulas: T = sequence x microbatch tokens, h hidden size, q = heads x head size,
k = key-value heads x head size, f feed-forward size, a heads, e bytes per activation.
FLOP of a matrix product T x n by n x m is 2 T n m; elementwise work counts bytes only,
and what a kernel computes again (flash attention) is not counted. What is saved follows
Korthikanti et al. (arXiv 2205.05198, section 4), tensor by tensor.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from attrs import frozen

from parplan.differentiation import Layer, Work
from parplan.graph import Kernel
from parplan.plugins.importers.analytic.attention import Reads, attention, bias_bytes
from parplan.plugins.importers.analytic.elementary import (
    activation,
    norm,
    product,
    with_kernel,
    with_mask,
)
from parplan.plugins.importers.analytic.latent_attention import latent_attention, latent_counts
from parplan.plugins.importers.analytic.mixture import mixture_counts, mixture_of_experts
from parplan.plugins.importers.analytic.model import Model
from parplan.plugins.importers.analytic.shape import Setting, Shape


@frozen
class Memory:
    """What every layer of a stack attends to besides its own tokens: an encoder's result.

    Attributes
    ----------
    source
        The tensor.
    width
        Its elements per token.
    sequence
        Its tokens per sequence.
    """

    source: str
    width: int
    sequence: int


@frozen
class Stack:
    """Layers of one shape in a row, in a setting.

    Attributes
    ----------
    prefix
        What its names begin with, e.g. ``"encoder."``.
    memory
        What its layers attend to besides; None for self-attention alone.
    """

    shape: Shape
    setting: Setting
    prefix: str = ""
    memory: Memory | None = None

    def model(self, source: str) -> Model:
        """Return the layers behind ``source``, a tensor of embedded tokens."""
        return Model(tuple(self._layers(source)), self._counts())

    @property
    def result(self) -> str:
        """Name of the tensor that the last layer makes."""
        return self._result(self.shape.layers - 1)

    def _layers(self, source: str) -> Iterator[Layer]:
        if self.shape.relative_buckets:
            yield self._relative_bias()
        for i in range(self.shape.layers):
            path = self._path(i)
            yield from self._attention_block(f"{path}.attention", source)
            middle = f"{path}.attention.output"
            if self.memory is not None:
                yield from self._cross_block(self.memory, f"{path}.cross_attention", middle)
                middle = f"{path}.cross_attention.output"
            if self.shape.is_mixture(i):
                yield from mixture_of_experts(self.shape, self.setting, path, middle)
            else:
                yield from self._feed_forward_block(f"{path}.mlp", middle)
            source = self._result(i)

    def _counts(self) -> dict[str, int]:
        """Parameters of each group."""
        x = self.shape
        counts = {self._bias: x.relative_buckets * x.heads} if x.relative_buckets else {}
        for i in range(x.layers):
            path = self._path(i)
            counts |= self._attention_counts(f"{path}.attention")
            if self.memory is not None:
                counts |= self._cross_counts(self.memory, f"{path}.cross_attention")
            if x.is_mixture(i):
                counts |= mixture_counts(x, self.setting, path)
            else:
                counts |= self._feed_forward_counts(f"{path}.mlp")
        return counts

    def _path(self, layer: int) -> str:
        return f"{self.prefix}layers.{layer}"

    def _result(self, layer: int) -> str:
        last = "sum" if self.shape.is_mixture(layer) else "mlp.down"
        return f"{self._path(layer)}.{last}"

    # -- attention -----------------------------------------------------------------------------

    @property
    def _bias(self) -> str:
        return f"{self.prefix}relative_bias"

    def _relative_bias(self) -> Layer:
        """Return the look-up of a bias of the scores by distance, which all layers read (T5)."""
        x, s = self.shape, self.setting
        size = bias_bytes(x, s)
        count = x.relative_buckets * x.heads
        return Layer(
            name=self._bias,
            module=self._bias,
            reads=(),
            writes={self._bias: size},
            forward=Work((Kernel(0.0, size + count * s.weight_bytes),)),
            backward_weight=Work((Kernel(0.0, size + 2 * count * s.gradient_bytes),)),
            parameters=(self._bias,),
            dtype=s.dtype,
        )

    def _attention_counts(self, path: str) -> dict[str, int]:
        """Parameters: 2h^2+2hk+h for Llama, 4h^2+6h for GPT-2, 4hq+h for T5."""
        x = self.shape
        counts = {f"{path}.norm": x.norm_parameters}
        if x.latent is not None:
            return counts | latent_counts(x, x.latent, path)
        return counts | {
            f"{path}.qkv": self._projection(x.hidden, x.query + 2 * x.key_value, x.qkv_bias),
            f"{path}.output": self._projection(x.query, x.hidden, x.output_bias),
        }

    def _attention_block(self, path: str, source: str) -> Iterator[Layer]:
        """Yield norm, qkv, core and output; the block's input is added to its result."""
        x = self.shape
        yield self._norm(f"{path}.norm", path, source)
        if x.latent is not None:
            yield from latent_attention(x, x.latent, self.setting, path, source)
            return
        qkv = self._product(
            f"{path}.qkv", path, f"{path}.norm", x.hidden, x.query + 2 * x.key_value, x.qkv_bias
        )
        if x.rotary:
            # Rotary embedding, in place: reads and writes queries and keys, both ways.
            turn = Kernel(0.0, 2 * self.setting.activation(x.query + x.key_value))
            qkv = with_kernel(qkv, turn, turn)
        yield qkv
        reads = Reads((f"{path}.qkv",), bias=self._bias if x.relative_buckets else "")
        yield attention(x, self.setting, f"{path}.core", path, reads)
        yield self._output(path, source)

    def _cross_counts(self, memory: Memory, path: str) -> dict[str, int]:
        """Parameters: 4hq+h for T5."""
        x = self.shape
        return {
            f"{path}.norm": x.norm_parameters,
            f"{path}.query": self._projection(x.hidden, x.query, x.qkv_bias),
            f"{path}.key_value": self._projection(memory.width, 2 * x.key_value, x.qkv_bias),
            f"{path}.output": self._projection(x.query, x.hidden, x.output_bias),
        }

    def _cross_block(self, memory: Memory, path: str, source: str) -> Iterator[Layer]:
        """Yield norm, queries, keys and values of the memory, core and output."""
        x, s = self.shape, self.setting
        yield self._norm(f"{path}.norm", path, source)
        yield self._product(f"{path}.query", path, f"{path}.norm", x.hidden, x.query, x.qkv_bias)
        yield self._product(
            f"{path}.key_value",
            path,
            memory.source,
            memory.width,
            2 * x.key_value,
            x.qkv_bias,
            rows=s.microbatch * memory.sequence,
        )
        reads = Reads((f"{path}.query", f"{path}.key_value"), keys=memory.sequence)
        yield attention(x, s, f"{path}.core", path, reads)
        yield self._output(path, source)

    def _output(self, path: str, source: str) -> Layer:
        x = self.shape
        layer = self._product(
            f"{path}.output", path, f"{path}.core", x.query, x.hidden, x.output_bias
        )
        return self._with_residual(layer, source)

    # -- feed-forward --------------------------------------------------------------------------

    @property
    def _up(self) -> str:
        return "gate_up" if self.shape.gated else "up"

    @property
    def _up_width(self) -> int:
        return self.shape.feed_forward * (2 if self.shape.gated else 1)

    def _feed_forward_counts(self, path: str) -> dict[str, int]:
        """Parameters: 3hf+h for Llama, 8h^2+7h for GPT-2."""
        x = self.shape
        return {
            f"{path}.norm": x.norm_parameters,
            f"{path}.{self._up}": self._projection(x.hidden, self._up_width, x.feed_forward_bias),
            f"{path}.down": self._projection(x.feed_forward, x.hidden, x.feed_forward_bias),
        }

    def _feed_forward_block(self, path: str, source: str) -> Iterator[Layer]:
        """Yield norm, up (with the gate), activation and down, added to the block's input."""
        x, s = self.shape, self.setting
        wide, narrow = f"{path}.{self._up}", f"{path}.activation"
        biased = x.feed_forward_bias
        yield self._norm(f"{path}.norm", path, source)
        yield self._product(wide, path, f"{path}.norm", x.hidden, self._up_width, biased)
        inner = activation(s, narrow, path, wide, x.feed_forward, gated=x.gated)
        if x.feed_forward_dropout:
            inner = with_mask(inner, s, x.feed_forward)
        yield inner
        down = self._product(f"{path}.down", path, narrow, x.feed_forward, x.hidden, biased)
        yield self._with_residual(down, source)

    # -- shared --------------------------------------------------------------------------------

    @staticmethod
    def _projection(inner: int, outer: int, bias: bool) -> int:
        """Parameters of a linear layer."""
        return inner * outer + outer * bias

    def _product(
        self,
        name: str,
        module: str,
        source: str,
        inner: int,
        outer: int,
        bias: bool,
        rows: int | None = None,
    ) -> Layer:
        count = self._projection(inner, outer, bias)
        return product(
            self.setting, name, module, source, inner, outer, parameters=count, rows=rows
        )

    def _norm(self, name: str, module: str, source: str) -> Layer:
        x = self.shape
        return norm(self.setting, name, module, source, x.hidden, bias=x.norm_bias, residual=True)

    def _with_residual(self, layer: Layer, source: str) -> Layer:
        """Return the layer with dropout (if any) and the block's input added to its result."""
        x, s = self.shape, self.setting
        layer = attrs.evolve(layer, reads=(*layer.reads, source), residual=(source,))
        layer = with_kernel(layer, Kernel(0.0, 3 * s.activation(x.hidden)))
        return with_mask(layer, s, x.hidden) if x.residual_dropout else layer
