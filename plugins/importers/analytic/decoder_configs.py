"""Configurations of decoder-only models, as shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from parplan.plugins.importers.analytic.config import Config
from parplan.plugins.importers.analytic.decoder_only import DecoderOnly
from parplan.plugins.importers.analytic.shape import LatentAttention, Mixture, Shape

UNLIMITED = 2**62
"""Tokens of a sequence where a configuration names no limit."""


def read_decoder(config: Config) -> DecoderOnly:
    """Return the model of a configuration whose ``model_type`` is one of ``DECODERS``."""
    positions = config.value("max_position_embeddings", int, UNLIMITED)
    longest = config.value("n_positions", int, positions)
    return DecoderOnly(DECODERS[config.kind](config), longest)


def _llama(config: Config) -> Shape:
    bias = config.value("attention_bias", bool, False)
    return _gated(config, qkv_bias=bias, output_bias=bias)


def _mistral(config: Config) -> Shape:
    return _gated(config, window=_window(config))


def _qwen2(config: Config) -> Shape:
    windowed = config.value("use_sliding_window", bool, False)
    return _gated(config, qkv_bias=True, window=_window(config) if windowed else None)


def _gated(
    config: Config,
    *,
    qkv_bias: bool = False,
    output_bias: bool = False,
    window: int | None = None,
) -> Shape:
    """Return the shape of a decoder with gated feed-forward and rotary positions."""
    heads = config.size("num_attention_heads")
    return Shape(
        hidden=config.size("hidden_size"),
        layers=config.size("num_hidden_layers"),
        heads=heads,
        key_value_heads=config.size("num_key_value_heads", heads),
        head_size=config.head_size("hidden_size", heads),
        feed_forward=config.size("intermediate_size"),
        vocabulary=config.size("vocab_size"),
        qkv_bias=qkv_bias,
        output_bias=output_bias,
        feed_forward_bias=config.value("mlp_bias", bool, False),
        window=window,
        tied=config.value("tie_word_embeddings", bool, False),
        attention_dropout=config.is_dropped("attention_dropout", 0.0),
    )


def _gpt2(config: Config) -> Shape:
    """Return the shape of a GPT-2; dropout is on unless set to 0, as in transformers."""
    hidden, heads = config.size("n_embd"), config.size("n_head")
    return Shape(
        hidden=hidden,
        layers=config.size("n_layer"),
        heads=heads,
        key_value_heads=heads,
        head_size=config.head_size("n_embd", heads),
        feed_forward=config.size("n_inner", 4 * hidden),
        vocabulary=config.size("vocab_size"),
        positions=config.size("n_positions"),
        rotary=False,
        gated=False,
        norm_bias=True,
        qkv_bias=True,
        output_bias=True,
        feed_forward_bias=True,
        tied=config.value("tie_word_embeddings", bool, True),
        attention_dropout=config.is_dropped("attn_pdrop", 0.1),
        residual_dropout=config.is_dropped("resid_pdrop", 0.1),
        embedding_dropout=config.is_dropped("embd_pdrop", 0.1),
    )


def _mixtral(config: Config) -> Shape:
    """Return the shape of a Mixtral: experts in every layer, nothing shared."""
    mixture = Mixture(
        experts=config.size("num_local_experts"),
        active=config.size("num_experts_per_tok"),
        feed_forward=config.size("intermediate_size"),
    )
    return attrs.evolve(_gated(config, window=_window(config)), mixture=mixture)


def _qwen2_moe(config: Config) -> Shape:
    """Return the shape of a Qwen2-MoE with experts in every layer."""
    if config.size("decoder_sparse_step", 1) != 1 or config.values.get("mlp_only_layers"):
        raise config.error(
            "layers with and without experts in turn are not known; 'decoder_sparse_step' must be "
            "1 and 'mlp_only_layers' empty",
            "decoder_sparse_step",
        )
    mixture = Mixture(
        experts=config.size("num_experts"),
        active=config.size("num_experts_per_tok"),
        feed_forward=config.size("moe_intermediate_size"),
        shared=config.size("shared_expert_intermediate_size"),
        shared_gate=True,
    )
    return attrs.evolve(_qwen2(config), mixture=mixture)


def _deepseek_v3(config: Config) -> Shape:
    """Return the shape of a DeepSeek-V3; modules that predict further tokens are left out."""
    if config.size("moe_layer_freq", 1) != 1:
        raise config.error(
            "layers with and without experts in turn are not known", "moe_layer_freq"
        )
    heads, inner = config.size("num_attention_heads"), config.size("moe_intermediate_size")
    latent = LatentAttention(
        query_rank=config.value("q_lora_rank", int, 0),
        key_value_rank=config.size("kv_lora_rank"),
        plain_head=config.size("qk_nope_head_dim"),
        rotary_head=config.size("qk_rope_head_dim"),
        value_head=config.size("v_head_dim"),
    )
    mixture = Mixture(
        experts=config.size("n_routed_experts"),
        active=config.size("num_experts_per_tok"),
        feed_forward=inner,
        shared=inner * config.value("n_shared_experts", int, 0),
        first=config.value("first_k_dense_replace", int, 0),
        router_bias=True,
    )
    return Shape(
        hidden=config.size("hidden_size"),
        layers=config.size("num_hidden_layers"),
        heads=heads,
        key_value_heads=heads,
        head_size=latent.value_head,
        feed_forward=config.size("intermediate_size"),
        vocabulary=config.size("vocab_size"),
        tied=config.value("tie_word_embeddings", bool, False),
        latent=latent,
        mixture=mixture,
    )


def _window(config: Config) -> int | None:
    return None if config.values.get("sliding_window") is None else config.size("sliding_window")


DECODERS: Mapping[str, Callable[[Config], Shape]] = {
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "gpt2": _gpt2,
    "mixtral": _mixtral,
    "qwen2_moe": _qwen2_moe,
    "deepseek_v3": _deepseek_v3,
}
"""Known values of ``model_type`` of decoder-only models."""
