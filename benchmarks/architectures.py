"""Case import/architectures: small models of transformers' own classes, one for each architecture.

The value is how many become a graph with work and with exactly the parameters that the model has
and reads; the details say of each how many operators it has, or the one line of what hinders it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from benchmarks.cases import Context, Outcome
from parplan.api import import_model, load_registry
from parplan.errors import InputError
from parplan.graph import Kind
from parplan.registry import Registry

SEQUENCE = 64

ENCODER: Mapping[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "max_position_embeddings": 128,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "vocab_size": 256,
}
DECODER: Mapping[str, Any] = {**ENCODER, "num_key_value_heads": 2}
WIDE_HEADS: Mapping[str, Any] = {**DECODER, "head_dim": 16}
VISION: Mapping[str, Any] = {
    "hidden_size": 64,
    "image_size": 32,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "patch_size": 8,
}
LATENT: Mapping[str, Any] = {
    **DECODER,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 16,
    "moe_intermediate_size": 64,
    "n_group": 2,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "num_key_value_heads": 4,
    "q_lora_rank": 32,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "topk_group": 1,
    "v_head_dim": 16,
}
STATES: Mapping[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "state_size": 8,
    "vocab_size": 256,
}
SEQUENCES: Mapping[str, Any] = {
    "d_model": 64,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 128,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "encoder_layers": 2,
    "pad_token_id": 0,
    "vocab_size": 256,
}
MROPE: Mapping[str, Any] = {"type": "mrope", "mrope_section": [2, 3, 3]}
IMAGE_TOKENS: Mapping[str, Any] = {
    "image_token_id": 255,
    "text_config": {**DECODER, "rope_scaling": MROPE},
    "video_token_id": 254,
    "vision_end_token_id": 252,
    "vision_start_token_id": 253,
}
GRID: Mapping[str, Any] = {"depth": 2, "hidden_size": 64, "image_size": 56, "num_heads": 4}

MODELS: Mapping[str, Mapping[str, Any]] = {
    "BartForConditionalGeneration": {**SEQUENCES, "max_position_embeddings": 128},
    "BertForMaskedLM": ENCODER,
    "BloomForCausalLM": {"hidden_size": 64, "n_head": 4, "n_layer": 2, "vocab_size": 256},
    "CLIPModel": {"text_config": ENCODER, "vision_config": VISION},
    "CohereForCausalLM": DECODER,
    "ConvNextForImageClassification": {
        "depths": [1, 1, 1, 1], "hidden_sizes": [16, 32, 32, 64], "image_size": 32
    },
    "DebertaForMaskedLM": ENCODER,
    "DebertaV2ForMaskedLM": {
        **ENCODER, "pos_att_type": ["p2c", "c2p"], "position_buckets": 32,
        "relative_attention": True, "share_att_key": True,
    },
    "DeepseekV3ForCausalLM": LATENT,
    "Dinov2ForImageClassification": VISION,
    "FalconForCausalLM": {
        "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 256
    },
    "GPT2LMHeadModel": {
        "n_embd": 64, "n_head": 4, "n_layer": 2, "n_positions": 128, "vocab_size": 256
    },
    "GPTNeoXForCausalLM": ENCODER,
    "Gemma2ForCausalLM": WIDE_HEADS,
    "Gemma3ForCausalLM": WIDE_HEADS,
    "Gemma3ForConditionalGeneration": {
        "image_token_index": 255, "mm_tokens_per_image": 4, "text_config": WIDE_HEADS,
        "vision_config": VISION,
    },
    "Glm4ForCausalLM": WIDE_HEADS,
    "GptOssForCausalLM": {**WIDE_HEADS, "num_experts_per_tok": 2, "num_local_experts": 4},
    "GraniteForCausalLM": DECODER,
    "Idefics3ForConditionalGeneration": {
        "image_token_id": 255, "scale_factor": 2, "vision_config": VISION,
        "text_config": {**DECODER, "model_type": "llama"},
    },
    "LlamaForCausalLM": DECODER,
    "LlavaForConditionalGeneration": {
        "image_token_index": 255,
        "text_config": {**DECODER, "model_type": "llama"},
        "vision_config": {**VISION, "model_type": "clip_vision_model"},
    },
    "Mamba2ForCausalLM": {
        **STATES, "chunk_size": 16, "head_dim": 16, "n_groups": 2, "num_heads": 8
    },
    "MambaForCausalLM": STATES,
    "MistralForCausalLM": DECODER,
    "MixtralForCausalLM": {**DECODER, "num_local_experts": 4},
    "ModernBertForMaskedLM": ENCODER,
    "OPTForCausalLM": {**ENCODER, "ffn_dim": 128, "word_embed_proj_dim": 64},
    "Olmo2ForCausalLM": DECODER,
    "PaliGemmaForConditionalGeneration": {
        "image_token_index": 255, "projection_dim": 64,
        "text_config": {**WIDE_HEADS, "model_type": "gemma"},
        "vision_config": {
            **VISION, "model_type": "siglip_vision_model", "projection_dim": 64
        },
    },
    "Phi3ForCausalLM": DECODER,
    "PhiForCausalLM": DECODER,
    "Qwen2ForCausalLM": DECODER,
    "Qwen2VLForConditionalGeneration": {
        **IMAGE_TOKENS, "vision_config": {**GRID, "embed_dim": 64, "mlp_ratio": 2}
    },
    "Qwen2_5_VLForConditionalGeneration": {
        **IMAGE_TOKENS,
        "vision_config": {
            **GRID, "fullatt_block_indexes": [1], "intermediate_size": 128, "out_hidden_size": 64
        },
    },
    "Qwen3ForCausalLM": WIDE_HEADS,
    "Qwen3MoeForCausalLM": {
        **WIDE_HEADS, "moe_intermediate_size": 64, "num_experts": 4, "num_experts_per_tok": 2
    },
    "ResNetForImageClassification": {
        "depths": [1, 1], "embedding_size": 16, "hidden_sizes": [16, 32]
    },
    "RobertaForMaskedLM": ENCODER,
    "SiglipModel": {"text_config": {**ENCODER, "projection_size": 64}, "vision_config": VISION},
    "Starcoder2ForCausalLM": DECODER,
    "SwinForImageClassification": {
        "depths": [2, 2], "embed_dim": 32, "image_size": 32, "num_heads": [2, 4], "patch_size": 4,
        "window_size": 4,
    },
    "T5ForConditionalGeneration": {
        "d_ff": 128, "d_kv": 16, "d_model": 64, "num_heads": 4, "num_layers": 2, "vocab_size": 256
    },
    "ViTForImageClassification": VISION,
    "Wav2Vec2ForCTC": {
        **ENCODER, "conv_dim": [32, 32], "conv_kernel": [10, 3], "conv_stride": [5, 2]
    },
    "WhisperForConditionalGeneration": {
        **SEQUENCES, "max_source_positions": 100, "max_target_positions": 64
    },
}  # fmt: skip
"""Sizes by the class of a model."""


@frozen
class Imported:
    """What became of a model.

    Attributes
    ----------
    operators, flops
        Of its graph; 0 without one.
    missing
        Its parameters that are not in the graph.
    error
        What hinders it; empty for a graph.
    """

    operators: int = 0
    flops: float = 0.0
    missing: int = 0
    error: str = ""

    @property
    def remark(self) -> str:
        """What stands in a table."""
        if self.error:
            return self.error
        unread = f", but for {self.missing:,} parameters that nothing reads" if self.missing else ""
        return f"{self.operators:,} operators{unread}"


def run_architectures(context: Context) -> Outcome:
    """Import every model, and count those that become a graph."""
    del context
    done = dict(imported())
    made = [one for one in done.values() if one.flops > 0]
    return Outcome(
        value=float(len(made)),
        reference=float(len(done)),
        details={"unit": "models", "models": {name: one.remark for name, one in done.items()}},
    )


def imported() -> Iterator[tuple[str, Imported]]:
    """Yield the models by class, each with what became of it."""
    registry = load_registry()
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            yield name, _imported(name, Path(folder) / "config.json", registry)


def _imported(name: str, path: Path, registry: Registry) -> Imported:
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    kind = getattr(transformers, name)
    config = kind.config_class(**MODELS[name])
    values = {**config.to_dict(), "architectures": [name], "model_type": config.model_type}
    path.write_text(json.dumps(values, default=str), encoding="utf-8")
    try:
        graph = import_model("transformers", path, {"sequence": SEQUENCE}, registry=registry)
    except InputError as error:
        return Imported(error=str(error).partition(": ")[2])
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in kind(config).parameters())
    return Imported(
        len(graph.operators),
        sum(o.flops for o in graph.operators if o.kind is Kind.FORWARD),
        parameters - sum(group.count for group in graph.parameters),
    )
