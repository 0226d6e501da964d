"""Layers of a decoder-only transformer: parameters, work and bytes by formula.

Notation of the formulas: T = sequence x microbatch tokens, h hidden size, q = heads x head size,
k = key-value heads x head size, f feed-forward size, V vocabulary, a heads, e bytes per activation.
FLOP of a matrix product T x n by n x m is 2 T n m; elementwise work counts bytes only,
and what a kernel computes again (flash attention) is not counted. What is saved follows
Korthikanti et al. (arXiv 2205.05198, section 4), tensor by tensor.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from attrs import frozen

from parplan.differentiation import Layer, Update, Work
from parplan.graph import Kernel, ParameterGroup
from parplan.plugins.importers.attention import attention
from parplan.plugins.importers.shape import MASK_BYTES, STATISTICS_BYTES, Setting, Shape


@frozen
class Decoder:
    """A shape in a setting: gives the layers, parameter groups and updates."""

    shape: Shape
    setting: Setting

    def layers(self) -> Iterator[Layer]:
        """Yield every layer, producers first."""
        yield self._embedding()
        source = "embedding"
        for i in range(self.shape.layers):
            yield from self._attention_block(f"layers.{i}.attention", source)
            middle = f"layers.{i}.attention.output"
            yield from self._feed_forward_block(f"layers.{i}.mlp", middle)
            source = f"layers.{i}.mlp.down"
        yield self._norm("final_norm", "final_norm", source, residual=False)
        yield self._head()
        if self.setting.training:
            yield self._loss()

    def parameters(self) -> Iterator[ParameterGroup]:
        """Yield every parameter group; a tied head has none of its own."""
        x, s = self.shape, self.setting
        counts = {"embedding": x.vocabulary * x.hidden}
        if x.positions:
            counts["embedding.positions"] = x.positions * x.hidden
        for i in range(x.layers):
            counts |= self._layer_counts(f"layers.{i}")
        counts["final_norm"] = x.norm_parameters
        if not x.tied:
            counts["head"] = x.vocabulary * x.hidden
        for name, count in counts.items():
            yield ParameterGroup(
                name,
                weight_bytes=count * s.weight_bytes,
                gradient_bytes=count * s.gradient_bytes if s.training else 0,
                optimizer_bytes=count * s.optimizer_bytes if s.training else 0,
                count=count,
            )

    def updates(self) -> Iterator[Update]:
        """Yield one optimizer step per module: it reads gradients and states, writes weights."""
        s = self.setting
        modules: dict[str, list[ParameterGroup]] = {}
        for group in self.parameters():
            parts = group.name.split(".")
            path = ".".join(parts[:3]) if parts[0] == "layers" else parts[0]
            modules.setdefault(path, []).append(group)
        moved = s.gradient_bytes + 2 * s.optimizer_bytes + s.weight_bytes
        for module, groups in modules.items():
            count = sum(group.count for group in groups)
            work = Work((Kernel(0.0, count * moved),))
            yield Update(module, tuple(group.name for group in groups), work)

    # -- parts ---------------------------------------------------------------------------------

    def _layer_counts(self, path: str) -> dict[str, int]:
        """Parameters of one layer: 2h^2+2hk+3hf+2h for Llama, 12h^2+13h for GPT-2."""
        x = self.shape
        wide, inner = x.query + 2 * x.key_value, x.feed_forward
        up = 2 * inner if x.gated else inner
        return {
            f"{path}.attention.norm": x.norm_parameters,
            f"{path}.attention.qkv": x.hidden * wide + wide * x.qkv_bias,
            f"{path}.attention.output": x.query * x.hidden + x.hidden * x.output_bias,
            f"{path}.mlp.norm": x.norm_parameters,
            f"{path}.mlp.{self._up}": x.hidden * up + up * x.feed_forward_bias,
            f"{path}.mlp.down": inner * x.hidden + x.hidden * x.feed_forward_bias,
        }

    @property
    def _up(self) -> str:
        return "gate_up" if self.shape.gated else "up"

    def _bytes(self, width: int) -> int:
        return self.setting.activation(width)

    def _attention_block(self, path: str, source: str) -> Iterator[Layer]:
        """Yield norm, qkv, core and output; the block's input is added to its result."""
        x = self.shape
        yield self._norm(f"{path}.norm", path, source, residual=True)
        wide = x.query + 2 * x.key_value
        biased = x.hidden * wide + wide * x.qkv_bias
        qkv = self._product(f"{path}.qkv", path, f"{path}.norm", x.hidden, wide, biased)
        if not x.positions:
            # Rotary embedding, in place: reads and writes queries and keys, both ways.
            turn = Kernel(0.0, 2 * self._bytes(x.query + x.key_value))
            qkv = _with_kernel(qkv, turn, turn)
        yield qkv
        yield attention(x, self.setting, f"{path}.core", path, f"{path}.qkv")
        count = x.query * x.hidden + x.hidden * x.output_bias
        output = self._product(f"{path}.output", path, f"{path}.core", x.query, x.hidden, count)
        yield self._with_residual(output, source)

    def _feed_forward_block(self, path: str, source: str) -> Iterator[Layer]:
        """Yield norm, up (with the gate), activation and down, added to the block's input."""
        x = self.shape
        inner = x.feed_forward
        up = 2 * inner if x.gated else inner
        yield self._norm(f"{path}.norm", path, source, residual=True)
        count = x.hidden * up + up * x.feed_forward_bias
        yield self._product(f"{path}.{self._up}", path, f"{path}.norm", x.hidden, up, count)
        yield Layer(
            name=f"{path}.activation",
            module=path,
            reads=(f"{path}.{self._up}",),
            writes={f"{path}.activation": self._bytes(inner)},
            forward=Work((Kernel(0.0, self._bytes(up + inner)),)),
            backward_input=Work(
                (Kernel(0.0, self._bytes(2 * up + inner)),), (f"{path}.{self._up}",)
            ),
            dtype=self.setting.dtype,
        )
        count = inner * x.hidden + x.hidden * x.feed_forward_bias
        down = self._product(f"{path}.down", path, f"{path}.activation", inner, x.hidden, count)
        yield self._with_residual(down, source)

    def _norm(self, name: str, module: str, source: str, *, residual: bool) -> Layer:
        """Return a norm; its backward pass makes its weights' gradient, and adds the residual's."""
        x, s = self.shape, self.setting
        size = self._bytes(x.hidden)
        statistics = {f"{name}.statistics": s.tokens * x.norm_statistics} if s.training else {}
        weights = x.norm_parameters * s.weight_bytes
        moved = (4 if residual else 3) * size + weights + 2 * x.norm_parameters * s.gradient_bytes
        return Layer(
            name=name,
            module=module,
            reads=(source,),
            writes={name: size, **statistics},
            forward=Work((Kernel(0.0, 2 * size + weights),)),
            backward_input=Work((Kernel(0.0, moved),), (source, *statistics)),
            parameters=(name,),
            dtype=s.dtype,
        )

    def _product(
        self, name: str, module: str, source: str, inner: int, outer: int, count: int
    ) -> Layer:
        """Return a linear layer: 2 T n m FLOP in each pass; the weight pass reads the input."""
        s = self.setting
        flops = 2.0 * s.tokens * inner * outer
        moved = self._bytes(inner + outer)
        dense = Kernel(flops, moved + count * s.weight_bytes)
        weight = Kernel(flops, moved + 2 * count * s.gradient_bytes)
        return Layer(
            name=name,
            module=module,
            reads=(source,),
            writes={name: self._bytes(outer)},
            forward=Work((dense,)),
            backward_input=Work((dense,)),
            backward_weight=Work((weight,), (source,)),
            parameters=(name,),
            dtype=s.dtype,
        )

    def _with_residual(self, layer: Layer, source: str) -> Layer:
        """Return the layer with dropout (if any) and the block's input added to its result."""
        s = self.setting
        size = self._bytes(self.shape.hidden)
        layer = attrs.evolve(layer, reads=(*layer.reads, source), residual=(source,))
        if not (self.shape.residual_dropout and s.training):
            return _with_kernel(layer, Kernel(0.0, 3 * size))
        mask, masked = f"{layer.name}.mask", s.tokens * self.shape.hidden * MASK_BYTES
        layer = _with_kernel(layer, Kernel(0.0, 3 * size + masked), Kernel(0.0, 2 * size + masked))
        inputs, weights = layer.backward_input, layer.backward_weight
        assert inputs is not None  # a product has both passes
        assert weights is not None
        return attrs.evolve(
            layer,
            writes={**layer.writes, mask: masked},
            backward_input=attrs.evolve(inputs, saved=(*inputs.saved, mask)),
            backward_weight=attrs.evolve(weights, saved=(*weights.saved, mask)),
        )

    # -- ends ----------------------------------------------------------------------------------

    def _embedding(self) -> Layer:
        """Return the look-up of rows; the backward pass adds into the rows of the gradient.

        Token numbers and labels are inputs of a few bytes per token and not counted.
        """
        x, s = self.shape, self.setting
        size = self._bytes(x.hidden)
        rows = s.tokens * x.hidden * s.weight_bytes * (2 if x.positions else 1)
        dropped = s.tokens * x.hidden * MASK_BYTES if x.embedding_dropout and s.training else 0
        mask = {"embedding.mask": dropped} if dropped else {}
        update = size + dropped + 2 * s.tokens * x.hidden * s.gradient_bytes
        return Layer(
            name="embedding",
            module="embedding",
            reads=(),
            writes={"embedding": size, **mask},
            forward=Work((Kernel(0.0, rows + size + dropped),)),
            backward_weight=Work((Kernel(0.0, update),), tuple(mask)),
            parameters=("embedding", "embedding.positions") if x.positions else ("embedding",),
            dtype=s.dtype,
        )

    def _head(self) -> Layer:
        """Return the product with the vocabulary: 2 T h V FLOP, logits in fp32."""
        x, s = self.shape, self.setting
        tokens = s.tokens if s.training else s.microbatch
        count = x.vocabulary * x.hidden
        layer = self._product("head", "head", "final_norm", x.hidden, x.vocabulary, count)
        logits = tokens * x.vocabulary * s.logit_bytes
        flops = 2.0 * tokens * x.hidden * x.vocabulary
        moved = tokens * x.hidden * s.element_bytes + logits + count * s.weight_bytes
        return attrs.evolve(
            layer,
            writes={"head": logits},
            forward=Work((Kernel(flops, moved),)),
            parameters=("embedding",) if x.tied else ("head",),
        )

    def _loss(self) -> Layer:
        """Return the cross-entropy; the gradient of the logits has the model's dtype."""
        x, s = self.shape, self.setting
        logits = s.tokens * x.vocabulary * s.logit_bytes
        gradient = self._bytes(x.vocabulary)
        return Layer(
            name="loss",
            module="loss",
            reads=("head",),
            writes={"loss.log_sum_exp": s.tokens * STATISTICS_BYTES},
            forward=Work((Kernel(0.0, logits),)),
            backward_input=Work((Kernel(0.0, logits + gradient),), ("head", "loss.log_sum_exp")),
            gradient_bytes={"head": gradient},
            dtype=s.dtype,
        )


def _with_kernel(layer: Layer, forward: Kernel, backward: Kernel | None = None) -> Layer:
    """Return the layer with another kernel after its forward and before its backward-input pass."""
    first = attrs.evolve(layer.forward, kernels=(*layer.forward.kernels, forward))
    inputs = layer.backward_input
    if backward is not None and inputs is not None:
        inputs = attrs.evolve(inputs, kernels=(backward, *inputs.kernels))
    return attrs.evolve(layer, forward=first, backward_input=inputs)
