"""Sizes of a stack of transformer layers, and how it is run."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from parplan.errors import InputError
from parplan.plugins.importers.analytic.expert_parallel import ExpertParallel

STATISTICS_BYTES = 4
"""Of one fp32 statistic per token or row: a norm's, the softmax's log-sum-exp."""

MASK_BYTES = 1
"""Per element of a dropout mask."""


@frozen
class LatentAttention:
    """Attention whose keys and values (and queries) go through a narrow layer.

    DeepSeek-V2 (arXiv 2405.04434, section 2.1).

    Attributes
    ----------
    query_rank
        Width of the layer that queries go through; 0 where they go through none.
    key_value_rank
        Width of the layer that keys and values go through.
    plain_head, rotary_head
        Elements of a query or key head without and with rotary positions; the rotary part of the
        key is one for all heads.
    value_head
        Elements of a value head.
    """

    query_rank: int
    key_value_rank: int
    plain_head: int
    rotary_head: int
    value_head: int


@frozen
class Mixture:
    """A mixture of experts in place of the feed-forward part.

    Attributes
    ----------
    experts, active
        How many there are, and to how many each token goes.
    feed_forward
        Inner width of an expert.
    shared
        Inner width of the part that every token goes through; 0 for none.
    shared_gate
        Whether that part is weighted by a product of its own.
    first, step
        The first layer that has experts, and every how many layers there are some from there on;
        the others are dense.
    router_bias
        Whether each expert has a bias in the choice (loss-free balancing).
    """

    experts: int
    active: int
    feed_forward: int
    shared: int = 0
    shared_gate: bool = False
    first: int = 0
    step: int = 1
    router_bias: bool = False

    def __attrs_post_init__(self) -> None:
        if self.active > self.experts:
            raise InputError(f"{self.active} active experts of {self.experts}")


@frozen
class Shape:
    """A stack of layers by its sizes, with what embeds its tokens and ends it.

    Attributes
    ----------
    vocabulary
        Rows of the table of tokens; 0 where something else makes the first activations.
    positions
        Rows of a learned table of positions; 0 for none.
    rotary
        Whether queries and keys are turned by their positions.
    relative_buckets
        Rows of a learned table of distances, from which one bias of the scores is made for all
        layers (T5); 0 for none.
    causal
        Whether a token attends only to those before it.
    gated
        Whether the feed-forward part has a gate (three matrices instead of two).
    norm_bias, qkv_bias, output_bias, feed_forward_bias
        Which parameters exist; norms with a bias are layer norms, the others RMS norms.
    window
        Positions that a token attends to, where limited.
    tied
        Whether the head uses the embedding's weights.
    attention_dropout, residual_dropout, embedding_dropout, feed_forward_dropout, final_dropout
        Whether training drops out there, which saves masks; the last two are behind the
        feed-forward part's activation and behind the final norm.
    latent
        How keys and values are narrowed; None for heads that are projected at full width.
    mixture
        The experts; None for a dense model.
    """

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    head_size: int
    feed_forward: int
    vocabulary: int
    positions: int = 0
    rotary: bool = True
    relative_buckets: int = 0
    causal: bool = True
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
    feed_forward_dropout: bool = False
    final_dropout: bool = False
    latent: LatentAttention | None = None
    mixture: Mixture | None = None

    def is_mixture(self, layer: int) -> bool:
        """Return whether a layer, counted from 0, has experts."""
        y = self.mixture
        return y is not None and layer >= y.first and (layer - y.first) % y.step == 0

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


@frozen
class Setting:
    """How the model is run; sizes in bytes per element or per parameter.

    Attributes
    ----------
    sequence, microbatch
        Tokens per sequence, and sequences per microbatch.
    target_sequence
        Tokens per sequence of the decoder where an encoder reads ``sequence``; None: as many.
    training
        Whether there are backward passes: what they need is saved, and the head sees all tokens.
        Otherwise the head sees the last token of each sequence.
    flash
        Whether attention keeps no sequence x sequence matrix.
    causal_half
        Count the work of attention for the visible half only, as a causal kernel does it.
    expert_parallel
        Among how many ranks experts are divided, and what exchanging tokens takes.
    expert_branches
        Whether each expert of a layer is a branch of its own, or all of them are one part.
    """

    sequence: int
    microbatch: int = 1
    target_sequence: int | None = None
    training: bool = True
    flash: bool = True
    causal_half: bool = False
    dtype: str = "bf16"
    element_bytes: int = 2
    logit_bytes: int = 4
    weight_bytes: int = 2
    gradient_bytes: int = 2
    optimizer_bytes: int = 12
    expert_parallel: ExpertParallel = field(factory=ExpertParallel)
    expert_branches: bool = False

    @property
    def tokens(self) -> int:
        """Tokens per microbatch (T)."""
        return self.sequence * self.microbatch

    def activation(self, width: int) -> int:
        """Bytes of an activation of that width for all tokens."""
        return self.tokens * width * self.element_bytes


ELEMENT_BYTES: Mapping[str, int] = {"bf16": 2, "fp16": 2, "fp32": 4}
"""Bytes of one activation by number format."""
