"""Configurations of models that see: CLIP, and language models with a vision tower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from parplan.plugins.importers.analytic.config import Config
from parplan.plugins.importers.analytic.contrastive import Contrastive
from parplan.plugins.importers.analytic.decoder_configs import DECODERS, read_decoder
from parplan.plugins.importers.analytic.ends import Patches
from parplan.plugins.importers.analytic.projectors import Merged, Projected
from parplan.plugins.importers.analytic.shape import Shape
from parplan.plugins.importers.analytic.vision import PatchTower, VisionTower
from parplan.plugins.importers.analytic.vision_language import VisionLanguage
from parplan.spec.structuring import did_you_mean

QWEN2_VL_IMAGE = 448
"""Pixels along a side of an image where a Qwen2-VL's configuration names no size."""

LLAMA_7B: Mapping[str, Any] = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 32000,
    "max_position_embeddings": 2048,
}
"""What transformers takes for a Llama that does not say; LLaVA's configurations do not."""


def read_clip(config: Config) -> Contrastive:
    """Return a CLIP model."""
    text = config.part("text_config", "clip_text_model")
    positions = text.size("max_position_embeddings", 77)
    tokens = attrs.evolve(
        _shape(text), causal=True, vocabulary=text.size("vocab_size"), positions=positions
    )
    vision = _vision(config.part("vision_config", "clip_vision_model"))
    return Contrastive(tokens, vision, config.size("projection_dim", 512), positions)


def read_llava(config: Config) -> VisionLanguage:
    """Return a LLaVA 1.5: layers of the vision tower that nothing reads are left out.

    The features are those behind the layer ``vision_feature_layer``, counted from the last one.
    """
    vision = _vision(config.part("vision_config", "clip_vision_model"))
    layer = config.value("vision_feature_layer", int, -2)
    used = vision.shape.layers + 1 + layer if layer < 0 else layer
    if not 1 <= used <= vision.shape.layers:
        raise config.error(
            f"{layer} is no layer of a vision tower of {vision.shape.layers}",
            "vision_feature_layer",
        )
    strategy = config.text("vision_feature_select_strategy", "default")
    if strategy not in ("default", "full"):
        raise config.error(
            f"'{strategy}' is not known; known: 'default', 'full'",
            "vision_feature_select_strategy",
        )
    language = config.part("text_config", "llama", LLAMA_7B)
    if language.kind not in DECODERS:
        raise language.error(
            f"'{language.kind}' is not known; {did_you_mean(language.kind, DECODERS)}",
            "model_type",
        )
    tower = attrs.evolve(vision, shape=attrs.evolve(vision.shape, layers=used))
    return VisionLanguage(read_decoder(language), Projected(tower, strategy == "full"))


def read_qwen2_vl(config: Config) -> VisionLanguage:
    """Return a Qwen2-VL; it takes images of any size, and a configuration may name one."""
    vision = config.part("vision_config", "qwen2_vl_vision_model")
    patch, side = vision.size("patch_size", 14), vision.size("spatial_merge_size", 2)
    image = vision.size("image_size", QWEN2_VL_IMAGE)
    if image % (patch * side):
        raise vision.error(f"{image} cannot be divided by {side} patches of {patch}", "image_size")
    hidden, heads = vision.size("embed_dim"), vision.size("num_heads")
    shape = Shape(
        hidden=hidden,
        layers=vision.size("depth"),
        heads=heads,
        key_value_heads=heads,
        head_size=vision.head_size("embed_dim", heads),
        feed_forward=hidden * vision.size("mlp_ratio", 4),
        vocabulary=0,
        causal=False,
        gated=False,
        norm_bias=True,
        qkv_bias=True,
        output_bias=True,
        feed_forward_bias=True,
    )
    channels = vision.size("in_channels", 3) * vision.size("temporal_patch_size", 2)
    tower = PatchTower(shape, Patches(image, patch, channels))
    language = read_decoder(attrs.evolve(config, kind="qwen2"))
    return VisionLanguage(language, Merged(tower, side))


def _vision(config: Config) -> VisionTower:
    image, patch = config.size("image_size", 224), config.size("patch_size", 32)
    if image % patch:
        raise config.error(f"{image} cannot be divided by patches of {patch}", "image_size")
    patches = Patches(image, patch, config.size("num_channels", 3))
    return VisionTower(_shape(config), patches)


def _shape(config: Config) -> Shape:
    """Return a stack of CLIP: layer norms and biases everywhere."""
    heads = config.size("num_attention_heads")
    return Shape(
        hidden=config.size("hidden_size"),
        layers=config.size("num_hidden_layers"),
        heads=heads,
        key_value_heads=heads,
        head_size=config.head_size("hidden_size", heads),
        feed_forward=config.size("intermediate_size"),
        vocabulary=0,
        rotary=False,
        causal=False,
        gated=False,
        norm_bias=True,
        qkv_bias=True,
        output_bias=True,
        feed_forward_bias=True,
        attention_dropout=config.is_dropped("attention_dropout", 0.0),
    )
