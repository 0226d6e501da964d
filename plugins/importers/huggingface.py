"""Hugging Face ``config.json``: decoder-only transformers with analytic work and bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import attrs
from attrs import field, frozen

from parplan.contracts import Importer
from parplan.differentiation import Backward, Passes, inference_graph, training_graph
from parplan.errors import InputError
from parplan.files import read_bytes
from parplan.graph import Graph
from parplan.patterns import matching_modules
from parplan.plugins.importers.expert_parallel import ExpertParallel
from parplan.plugins.importers.granularity import join_modules
from parplan.plugins.importers.shape import (
    ELEMENT_BYTES,
    LatentAttention,
    Mixture,
    Setting,
    Shape,
)
from parplan.plugins.importers.transformer import Decoder
from parplan.structuring import did_you_mean, structure

MAXIMUM_BYTES = 2**20
DEFAULT_SEQUENCE = 4096

T = TypeVar("T", int, bool)


class Granularity(StrEnum):
    """What one operator is: a product or norm, a module (half a layer, or less), or a layer."""

    OPERATOR = "operator"
    BLOCK = "block"
    LAYER = "layer"


class Attention(StrEnum):
    """Whether sequence x sequence matrices are kept for the backward pass."""

    FLASH = "flash"
    FULL = "full"


class NumberFormat(StrEnum):
    """Format of activations and arithmetic."""

    BF16 = "bf16"
    FP16 = "fp16"
    FP32 = "fp32"


@frozen
class HuggingFaceOptions:
    """How the model of a ``config.json`` is run.

    Attributes
    ----------
    sequence
        Tokens per sequence; by default the model's maximum, at most 4096.
    microbatch
        Sequences per microbatch.
    workload
        ``inference`` has forward passes alone, and logits of the last token (prefill).
    whole_backward
        Modules (names or patterns) whose backward is one pass where the others' is split: PyTorch's
        pipelines do not split that of their first stage.
    causal_half
        Count attention for the half that a causal mask leaves; by default it counts in full.
    weight_bytes, gradient_bytes, optimizer_bytes
        Per parameter; by default mixed-precision Adam: bf16 weights and gradients, fp32 master
        weights and two moments (ZeRO, 2 + 2 + 12).
    logit_bytes
        Per element of the logits; fp32 by default.
    expert_parallel
        For a mixture of experts: among how many ranks its experts are divided, and what the
        exchange of tokens takes.
    """

    sequence: int | None = None
    microbatch: int = 1
    workload: Passes = Passes.TRAINING
    granularity: Granularity = Granularity.BLOCK
    backward: Backward = Backward.SPLIT
    whole_backward: tuple[str, ...] = ()
    attention: Attention = Attention.FLASH
    causal_half: bool = False
    dtype: NumberFormat = NumberFormat.BF16
    weight_bytes: int = 2
    gradient_bytes: int = 2
    optimizer_bytes: int = 12
    logit_bytes: int = 4
    expert_parallel: ExpertParallel = field(factory=ExpertParallel)

    def __attrs_post_init__(self) -> None:
        for what in ("sequence", "microbatch", "weight_bytes", "logit_bytes"):
            value = getattr(self, what)
            if value is not None and value < 1:
                raise InputError(f"{what} is {value}; it must be at least 1")
        for what in ("gradient_bytes", "optimizer_bytes"):
            if getattr(self, what) < 0:
                raise InputError(f"{what} is {getattr(self, what)}; it cannot be negative")

    def setting(self, longest: int) -> Setting:
        """Return how the layers are to be made, for a model that takes ``longest`` tokens."""
        return Setting(
            sequence=self.sequence or min(longest, DEFAULT_SEQUENCE),
            microbatch=self.microbatch,
            training=self.workload is Passes.TRAINING,
            flash=self.attention is Attention.FLASH,
            causal_half=self.causal_half,
            dtype=self.dtype.value,
            element_bytes=ELEMENT_BYTES[self.dtype],
            logit_bytes=self.logit_bytes,
            weight_bytes=self.weight_bytes,
            gradient_bytes=self.gradient_bytes,
            optimizer_bytes=self.optimizer_bytes,
            expert_parallel=self.expert_parallel,
        )


class HuggingFace(Importer):
    """Reads the ``config.json`` of a Llama, Mistral, Qwen2, GPT-2, Mixtral or DeepSeek-V3 model.

    Embedding, final norm, head, loss and the optimizer of each module are operators of their own.
    Tied embeddings are one parameter group, read by embedding and head.
    """

    name: ClassVar[str] = "huggingface"
    options: ClassVar[type] = HuggingFaceOptions

    def load(self, path: Path, options: Mapping[str, Any]) -> Graph:
        """Return the graph of a model; InputError names the file, and the key at fault."""
        chosen = structure(dict(options), HuggingFaceOptions, key="model.options")
        config = read_config(path)
        try:
            shape = read_shape(config)
            longest = int(_get(config, ("n_positions", "max_position_embeddings"), int, 2**62))
            setting = chosen.setting(longest)
            if shape.positions and setting.sequence > shape.positions:
                raise InputError(
                    f"a sequence of {setting.sequence} tokens does not fit the model's "
                    f"{shape.positions} learned positions; lower model.options.sequence",
                    key="n_positions",
                )
            _check_experts(shape, chosen)
        except InputError as error:
            raise error.located(file=str(path)) from None
        return model_graph(_title(config, path), shape, setting, chosen)


def _check_experts(shape: Shape, options: HuggingFaceOptions) -> None:
    """Raise InputError where expert parallelism is asked for in vain, or would be hidden."""
    group = options.expert_parallel
    if group.degree == 1:
        return
    if shape.mixture is None:
        raise InputError("the model has no experts to divide", key="model.options.expert_parallel")
    group.local_experts(shape.mixture.experts)
    if options.granularity is Granularity.LAYER:
        raise InputError(
            "an operator that is a whole layer would hide the exchange of tokens in it; choose "
            "'block' or 'operator'",
            key="model.options.granularity",
        )


def model_graph(name: str, shape: Shape, setting: Setting, options: HuggingFaceOptions) -> Graph:
    """Return the graph of a shape in a setting, in the chosen granularity."""
    decoder = Decoder(shape, setting)
    layers, groups = list(decoder.layers()), tuple(decoder.parameters())
    if setting.training:
        whole = _whole(options, [layer.module for layer in layers])
        graph = training_graph(
            name,
            layers,
            groups,
            list(decoder.updates()),
            split=lambda layer: layer.module not in whole,
        )
    else:
        graph = inference_graph(name, layers, groups)
    depth = {Granularity.LAYER: 2, Granularity.BLOCK: 3}.get(options.granularity)
    if depth is None:
        return graph
    return join_modules(graph, lambda module: ".".join(module.split(".")[:depth]))


def _whole(options: HuggingFaceOptions, modules: Sequence[str]) -> frozenset[str]:
    """Return the modules whose backward is one pass; InputError if a pattern means none."""
    if options.backward is Backward.WHOLE:
        return frozenset(modules)
    key = "model.options.whole_backward"
    return frozenset(
        m for pattern in options.whole_backward for m in matching_modules(pattern, modules, key=key)
    )


def read_config(path: Path) -> dict[str, Any]:
    """Return the content of a ``config.json``."""
    try:
        config = json.loads(read_bytes(path, MAXIMUM_BYTES))
    except ValueError as error:
        line = getattr(error, "lineno", None)
        raise InputError(f"is not JSON: {error}", file=str(path), line=line) from None
    if not isinstance(config, dict):
        raise InputError("is not a JSON object of settings", file=str(path))
    return config


def read_shape(config: Mapping[str, Any]) -> Shape:
    """Return the shape that a configuration describes.

    Raises
    ------
    InputError
        For a ``model_type`` that is not known, and for a key that is missing or of a wrong type.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise InputError(f"is missing or no text; known: {', '.join(MODELS)}", key="model_type")
    if kind not in MODELS:
        raise InputError(f"'{kind}' is not known; {did_you_mean(kind, MODELS)}", key="model_type")
    return MODELS[kind](config)


def _llama(config: Mapping[str, Any]) -> Shape:
    bias = _get(config, ("attention_bias",), bool, False)
    return _gated(config, qkv_bias=bias, output_bias=bias)


def _mistral(config: Mapping[str, Any]) -> Shape:
    return _gated(config, window=_window(config))


def _qwen2(config: Mapping[str, Any]) -> Shape:
    windowed = _get(config, ("use_sliding_window",), bool, False)
    return _gated(config, qkv_bias=True, window=_window(config) if windowed else None)


def _gated(
    config: Mapping[str, Any],
    *,
    qkv_bias: bool = False,
    output_bias: bool = False,
    window: int | None = None,
) -> Shape:
    """Return the shape of a decoder with gated feed-forward and rotary positions."""
    hidden = _size(config, "hidden_size")
    heads = _size(config, "num_attention_heads")
    return Shape(
        hidden=hidden,
        layers=_size(config, "num_hidden_layers"),
        heads=heads,
        key_value_heads=_size(config, "num_key_value_heads", heads),
        head_size=_head_size(config, hidden, heads),
        feed_forward=_size(config, "intermediate_size"),
        vocabulary=_size(config, "vocab_size"),
        qkv_bias=qkv_bias,
        output_bias=output_bias,
        feed_forward_bias=_get(config, ("mlp_bias",), bool, False),
        window=window,
        tied=_get(config, ("tie_word_embeddings",), bool, False),
        attention_dropout=_probability(config, "attention_dropout", 0.0),
    )


def _gpt2(config: Mapping[str, Any]) -> Shape:
    """Return the shape of a GPT-2; dropout is on unless set to 0, as in transformers."""
    hidden, heads = _size(config, "n_embd"), _size(config, "n_head")
    return Shape(
        hidden=hidden,
        layers=_size(config, "n_layer"),
        heads=heads,
        key_value_heads=heads,
        head_size=_head_size(config, hidden, heads),
        feed_forward=_size(config, "n_inner", 4 * hidden),
        vocabulary=_size(config, "vocab_size"),
        positions=_size(config, "n_positions"),
        gated=False,
        norm_bias=True,
        qkv_bias=True,
        output_bias=True,
        feed_forward_bias=True,
        tied=_get(config, ("tie_word_embeddings",), bool, True),
        attention_dropout=_probability(config, "attn_pdrop", 0.1),
        residual_dropout=_probability(config, "resid_pdrop", 0.1),
        embedding_dropout=_probability(config, "embd_pdrop", 0.1),
    )


def _mixtral(config: Mapping[str, Any]) -> Shape:
    """Return the shape of a Mixtral: experts in every layer, nothing shared."""
    mixture = Mixture(
        experts=_size(config, "num_local_experts"),
        active=_size(config, "num_experts_per_tok"),
        feed_forward=_size(config, "intermediate_size"),
    )
    return attrs.evolve(_gated(config, window=_window(config)), mixture=mixture)


def _qwen2_moe(config: Mapping[str, Any]) -> Shape:
    """Return the shape of a Qwen2-MoE with experts in every layer."""
    if _size(config, "decoder_sparse_step", 1) != 1 or config.get("mlp_only_layers"):
        raise InputError(
            "layers with and without experts in turn are not known; 'decoder_sparse_step' must be "
            "1 and 'mlp_only_layers' empty",
            key="decoder_sparse_step",
        )
    mixture = Mixture(
        experts=_size(config, "num_experts"),
        active=_size(config, "num_experts_per_tok"),
        feed_forward=_size(config, "moe_intermediate_size"),
        shared=_size(config, "shared_expert_intermediate_size"),
        shared_gate=True,
    )
    return attrs.evolve(_qwen2(config), mixture=mixture)


def _deepseek_v3(config: Mapping[str, Any]) -> Shape:
    """Return the shape of a DeepSeek-V3; modules that predict further tokens are left out."""
    if _size(config, "moe_layer_freq", 1) != 1:
        raise InputError(
            "layers with and without experts in turn are not known", key="moe_layer_freq"
        )
    hidden, heads = _size(config, "hidden_size"), _size(config, "num_attention_heads")
    inner = _size(config, "moe_intermediate_size")
    latent = LatentAttention(
        query_rank=_get(config, ("q_lora_rank",), int, 0),
        key_value_rank=_size(config, "kv_lora_rank"),
        plain_head=_size(config, "qk_nope_head_dim"),
        rotary_head=_size(config, "qk_rope_head_dim"),
        value_head=_size(config, "v_head_dim"),
    )
    mixture = Mixture(
        experts=_size(config, "n_routed_experts"),
        active=_size(config, "num_experts_per_tok"),
        feed_forward=inner,
        shared=inner * _get(config, ("n_shared_experts",), int, 0),
        first=_get(config, ("first_k_dense_replace",), int, 0),
        router_bias=True,
    )
    return Shape(
        hidden=hidden,
        layers=_size(config, "num_hidden_layers"),
        heads=heads,
        key_value_heads=heads,
        head_size=latent.value_head,
        feed_forward=_size(config, "intermediate_size"),
        vocabulary=_size(config, "vocab_size"),
        tied=_get(config, ("tie_word_embeddings",), bool, False),
        latent=latent,
        mixture=mixture,
    )


MODELS: Mapping[str, Callable[[Mapping[str, Any]], Shape]] = {
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "gpt2": _gpt2,
    "mixtral": _mixtral,
    "qwen2_moe": _qwen2_moe,
    "deepseek_v3": _deepseek_v3,
}
"""Known values of ``model_type``."""


def _get(config: Mapping[str, Any], keys: tuple[str, ...], kind: type[T], default: T) -> T:
    """Return the first of some keys that is set; null counts as not set."""
    for key in keys:
        value = config.get(key)
        if value is not None:
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise InputError(f"{value!r} is not of type {kind.__name__}", key=key)
            return value
    return default


def _size(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    """Return a whole number above zero."""
    value = _get(config, (key,), int, -1 if default is None else default)
    if value == -1 and config.get(key) is None:
        raise InputError(f"is missing; a '{config['model_type']}' model needs it", key=key)
    if value < 1:
        raise InputError(f"{value} must be at least 1", key=key)
    return value


def _probability(config: Mapping[str, Any], key: str, default: float) -> bool:
    """Return whether a dropout probability is above zero."""
    value = config.get(key)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise InputError(f"{value!r} is no probability", key=key)
    return value > 0


def _head_size(config: Mapping[str, Any], hidden: int, heads: int) -> int:
    if config.get("head_dim") is None and hidden % heads:
        raise InputError(f"{hidden} cannot be divided by {heads} heads", key="hidden_size")
    return _size(config, "head_dim", hidden // heads)


def _window(config: Mapping[str, Any]) -> int | None:
    return None if config.get("sliding_window") is None else _size(config, "sliding_window")


def _title(config: Mapping[str, Any], path: Path) -> str:
    """Return a name for the model: the file's, or the folder's for a plain ``config.json``."""
    return path.resolve().parent.name if path.name == "config.json" else path.stem
