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
from parplan.plugins.importers.elementary import activation, norm, product, with_kernel
from parplan.plugins.importers.latent_attention import latent_attention, latent_counts
from parplan.plugins.importers.mixture import mixture_counts, mixture_of_experts
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
            path = f"layers.{i}"
            yield from self._attention_block(f"{path}.attention", source)
            middle = f"{path}.attention.output"
            if self.shape.is_mixture(i):
                yield from mixture_of_experts(self.shape, self.setting, path, middle)
                source = f"{path}.sum"
            else:
                yield from self._feed_forward_block(f"{path}.mlp", middle)
                source = f"{path}.mlp.down"
        yield self._norm("final_norm", "final_norm", source)
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
            path = f"layers.{i}"
            counts |= self._attention_counts(f"{path}.attention")
            if x.is_mixture(i):
                counts |= mixture_counts(x, s, path)
            else:
                counts |= self._feed_forward_counts(f"{path}.mlp")
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

    def _attention_counts(self, path: str) -> dict[str, int]:
        """Parameters: 2h^2+2hk+h for Llama, 4h^2+6h for GPT-2."""
        x = self.shape
        norm = {f"{path}.norm": x.norm_parameters}
        if x.latent is not None:
            return norm | latent_counts(x, x.latent, path)
        wide = x.query + 2 * x.key_value
        return norm | {
            f"{path}.qkv": x.hidden * wide + wide * x.qkv_bias,
            f"{path}.output": x.query * x.hidden + x.hidden * x.output_bias,
        }

    def _feed_forward_counts(self, path: str) -> dict[str, int]:
        """Parameters: 3hf+h for Llama, 8h^2+7h for GPT-2."""
        x = self.shape
        inner = x.feed_forward
        up = 2 * inner if x.gated else inner
        return {
            f"{path}.norm": x.norm_parameters,
            f"{path}.{self._up}": x.hidden * up + up * x.feed_forward_bias,
            f"{path}.down": inner * x.hidden + x.hidden * x.feed_forward_bias,
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
        if x.latent is not None:
            yield from latent_attention(x, x.latent, self.setting, path, source)
            return
        wide = x.query + 2 * x.key_value
        biased = x.hidden * wide + wide * x.qkv_bias
        qkv = product(
            self.setting, f"{path}.qkv", path, f"{path}.norm", x.hidden, wide, parameters=biased
        )
        if not x.positions:
            # Rotary embedding, in place: reads and writes queries and keys, both ways.
            turn = Kernel(0.0, 2 * self._bytes(x.query + x.key_value))
            qkv = with_kernel(qkv, turn, turn)
        yield qkv
        yield attention(x, self.setting, f"{path}.core", path, f"{path}.qkv")
        count = x.query * x.hidden + x.hidden * x.output_bias
        output = product(
            self.setting,
            f"{path}.output",
            path,
            f"{path}.core",
            x.query,
            x.hidden,
            parameters=count,
        )
        yield self._with_residual(output, source)

    def _feed_forward_block(self, path: str, source: str) -> Iterator[Layer]:
        """Yield norm, up (with the gate), activation and down, added to the block's input."""
        x, s = self.shape, self.setting
        inner = x.feed_forward
        up = 2 * inner if x.gated else inner
        yield self._norm(f"{path}.norm", path, source, residual=True)
        count = x.hidden * up + up * x.feed_forward_bias
        wide, narrow = f"{path}.{self._up}", f"{path}.activation"
        yield product(s, wide, path, f"{path}.norm", x.hidden, up, parameters=count)
        yield activation(s, narrow, path, wide, inner, gated=x.gated)
        count = inner * x.hidden + x.hidden * x.feed_forward_bias
        down = product(s, f"{path}.down", path, narrow, inner, x.hidden, parameters=count)
        yield self._with_residual(down, source)

    def _norm(self, name: str, module: str, source: str, *, residual: bool = False) -> Layer:
        x = self.shape
        return norm(
            self.setting, name, module, source, x.hidden, bias=x.norm_bias, residual=residual
        )

    def _with_residual(self, layer: Layer, source: str) -> Layer:
        """Return the layer with dropout (if any) and the block's input added to its result."""
        s = self.setting
        size = self._bytes(self.shape.hidden)
        layer = attrs.evolve(layer, reads=(*layer.reads, source), residual=(source,))
        if not (self.shape.residual_dropout and s.training):
            return with_kernel(layer, Kernel(0.0, 3 * size))
        mask, masked = f"{layer.name}.mask", s.tokens * self.shape.hidden * MASK_BYTES
        layer = with_kernel(layer, Kernel(0.0, 3 * size + masked), Kernel(0.0, 2 * size + masked))
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
        layer = product(s, "head", "head", "final_norm", x.hidden, x.vocabulary)
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
