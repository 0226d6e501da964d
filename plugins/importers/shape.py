"""Sizes of a decoder-only transformer, and how it is run."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

STATISTICS_BYTES = 4
"""Of one fp32 statistic per token or row: a norm's, the softmax's log-sum-exp."""

MASK_BYTES = 1
"""Per element of a dropout mask."""


@frozen
class Shape:
    """A decoder-only model by its sizes.

    Attributes
    ----------
    positions
        Rows of a learned table of positions; 0 for rotary embeddings.
    gated
        Whether the feed-forward part has a gate (three matrices instead of two).
    norm_bias, qkv_bias, output_bias, feed_forward_bias
        Which parameters exist; norms with a bias are layer norms, the others RMS norms.
    window
        Positions that a token attends to, where limited.
    tied
        Whether the head uses the embedding's weights.
    attention_dropout, residual_dropout, embedding_dropout
        Whether training drops out there, which saves masks.
    """

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    head_size: int
    feed_forward: int
    vocabulary: int
    positions: int = 0
    gated: bool = True
    norm_bias: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    feed_forward_bias: bool = False
    window: int | None = None
    tied: bool = False
    attention_dropout: bool = False
    residual_dropout: bool = False
    embedding_dropout: bool = False

    @property
    def query(self) -> int:
        """Width of all query heads (q)."""
        return self.heads * self.head_size

    @property
    def key_value(self) -> int:
        """Width of all key heads, and of all value heads (k)."""
        return self.key_value_heads * self.head_size

    @property
    def norm_parameters(self) -> int:
        """Parameters of one norm."""
        return self.hidden * (2 if self.norm_bias else 1)

    @property
    def norm_statistics(self) -> int:
        """Bytes of statistics that a norm saves per token: mean and deviation, or the latter."""
        return STATISTICS_BYTES * (2 if self.norm_bias else 1)


@frozen
class Setting:
    """How the model is run; sizes in bytes per element or per parameter.

    Attributes
    ----------
    sequence, microbatch
        Tokens per sequence, and sequences per microbatch.
    training
        Whether there are backward passes: what they need is saved, and the head sees all tokens.
        Otherwise the head sees the last token of each sequence.
    flash
        Whether attention keeps no sequence x sequence matrix.
    causal_half
        Count the work of attention for the visible half only, as a causal kernel does it.
    """

    sequence: int
    microbatch: int = 1
    training: bool = True
    flash: bool = True
    causal_half: bool = False
    dtype: str = "bf16"
    element_bytes: int = 2
    logit_bytes: int = 4
    weight_bytes: int = 2
    gradient_bytes: int = 2
    optimizer_bytes: int = 12

    @property
    def tokens(self) -> int:
        """Tokens per microbatch (T)."""
        return self.sequence * self.microbatch

    def activation(self, width: int) -> int:
        """Bytes of an activation of that width for all tokens."""
        return self.tokens * width * self.element_bytes


ELEMENT_BYTES: Mapping[str, int] = {"bf16": 2, "fp16": 2, "fp32": 4}
"""Bytes of one activation by number format."""
