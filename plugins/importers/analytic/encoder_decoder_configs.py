"""Configurations of encoder-decoder models: T5 and Switch Transformers."""

from __future__ import annotations

import attrs

from parplan.plugins.importers.analytic.config import Config
from parplan.plugins.importers.analytic.encoder_decoder import EncoderDecoder
from parplan.plugins.importers.analytic.shape import Mixture, Shape

LONGEST = 512
"""Tokens that both were trained with: relative positions set no limit of their own."""

FEED_FORWARD = {"relu": False, "gated-gelu": True, "gated-silu": True}
"""Known values of ``feed_forward_proj``, and whether there is a gate (T5 v1.1)."""


def read_t5(config: Config) -> EncoderDecoder:
    """Return a T5 or a T5 v1.1."""
    encoder = _shape(config, config.size("num_layers"), causal=False)
    decoder = _shape(config, config.size("num_decoder_layers", encoder.layers), causal=True)
    return EncoderDecoder(encoder, decoder, config.size("n_positions", LONGEST))


def read_switch(config: Config) -> EncoderDecoder:
    """Return a Switch Transformer: a T5 with one active expert in every so many layers."""
    dense = read_t5(config)
    encoder = _mixture(config, dense.tokens.layers, "num_sparse_encoder_layers")
    decoder = _mixture(config, dense.decoder.layers, "num_sparse_decoder_layers")
    return attrs.evolve(
        dense,
        tokens=attrs.evolve(dense.tokens, mixture=encoder),
        decoder=attrs.evolve(dense.decoder, mixture=decoder),
    )


def _shape(config: Config, layers: int, *, causal: bool) -> Shape:
    """Return encoder or decoder; dropout is on unless set to 0, as in transformers."""
    kind = config.text("feed_forward_proj", "relu")
    if kind not in FEED_FORWARD:
        known = ", ".join(f"'{name}'" for name in FEED_FORWARD)
        raise config.error(f"'{kind}' is not known; known: {known}", "feed_forward_proj")
    heads = config.size("num_heads")
    drops = config.is_dropped("dropout_rate", 0.1)
    return Shape(
        hidden=config.size("d_model"),
        layers=layers,
        heads=heads,
        key_value_heads=heads,
        head_size=config.size("d_kv"),
        feed_forward=config.size("d_ff"),
        vocabulary=config.size("vocab_size"),
        rotary=False,
        relative_buckets=config.size("relative_attention_num_buckets", 32),
        causal=causal,
        gated=FEED_FORWARD[kind],
        tied=config.value("tie_word_embeddings", bool, True),
        attention_dropout=drops,
        residual_dropout=drops,
        embedding_dropout=drops,
        feed_forward_dropout=drops,
        final_dropout=drops,
    )


def _mixture(config: Config, layers: int, sparse: str) -> Mixture:
    """Return the experts of every n-th layer, the second of each n (the first where n is 1)."""
    count = config.size(sparse)
    step = max(1, layers // count)
    return Mixture(
        experts=config.size("num_experts"),
        active=1,
        feed_forward=config.size("d_ff"),
        first=min(1, step - 1),
        step=step,
        router_bias=config.value("router_bias", bool, False),
    )
