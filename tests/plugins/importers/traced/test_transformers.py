"""Models made by transformers agree with what the analytic importer says of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import parplan
from parplan.errors import InputError
from parplan.graph import Graph, Kind

LLAMA: Mapping[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
}
MIXTRAL: Mapping[str, Any] = {
    **LLAMA,
    "architectures": ["MixtralForCausalLM"],
    "model_type": "mixtral",
    "num_experts_per_tok": 2,
    "num_hidden_layers": 1,
    "num_local_experts": 4,
}
T5: Mapping[str, Any] = {
    "architectures": ["T5ForConditionalGeneration"],
    "model_type": "t5",
    "d_ff": 128,
    "d_kv": 16,
    "d_model": 64,
    "feed_forward_proj": "relu",
    "n_positions": 64,
    "num_heads": 4,
    "num_layers": 1,
    "tie_word_embeddings": True,
    "vocab_size": 500,
}
CLIP: Mapping[str, Any] = {
    "architectures": ["CLIPModel"],
    "model_type": "clip",
    "projection_dim": 32,
    "text_config": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "max_position_embeddings": 16,
        "num_attention_heads": 4,
        "num_hidden_layers": 1,
        "vocab_size": 1000,
    },
    "vision_config": {
        "hidden_size": 64,
        "image_size": 32,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "num_channels": 3,
        "num_hidden_layers": 1,
        "patch_size": 8,
    },
}


VISION: Mapping[str, Any] = CLIP["vision_config"]
LLAVA: Mapping[str, Any] = {
    "architectures": ["LlavaForConditionalGeneration"],
    "model_type": "llava",
    "image_token_index": 999,
    "text_config": LLAMA,
    "vision_config": {**VISION, "model_type": "clip_vision_model", "num_hidden_layers": 2},
}
QWEN2_VL: Mapping[str, Any] = {
    **LLAMA,
    "architectures": ["Qwen2VLForConditionalGeneration"],
    "model_type": "qwen2_vl",
    "num_hidden_layers": 1,
    "image_token_id": 999,
    "vision_start_token_id": 998,
    "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
    "vision_config": {
        "depth": 1,
        "embed_dim": 64,
        "hidden_size": 64,
        "image_size": 56,
        "in_chans": 3,
        "mlp_ratio": 2,
        "num_heads": 4,
        "patch_size": 14,
    },
}
WHISPER: Mapping[str, Any] = {
    "architectures": ["WhisperForConditionalGeneration"],
    "model_type": "whisper",
    "d_model": 64,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 128,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "encoder_layers": 1,
    "max_source_positions": 50,
    "max_target_positions": 32,
    "pad_token_id": 0,
    "vocab_size": 500,
}


def load(folder: Path, kind: str, config: Mapping[str, Any], **options: Any) -> Graph:
    path = folder / "tiny.json"
    path.write_text(json.dumps(config))
    return parplan.import_model(kind, path, options)


def flops(graph: Graph, *kinds: Kind) -> float:
    return sum(o.flops for o in graph.operators if o.kind in kinds)


def parameters(graph: Graph) -> int:
    return sum(group.count for group in graph.parameters)


BACKWARD = (Kind.BACKWARD, Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT)


@pytest.mark.parametrize("config", [LLAMA, MIXTRAL, T5], ids=["llama", "mixtral", "t5"])
def test_a_model_has_the_work_that_the_analytic_importer_says(
    tmp_path: Path, config: Mapping[str, Any]
) -> None:
    made = load(tmp_path, "transformers", config)
    written = load(tmp_path, "huggingface", config)
    assert parameters(made) == parameters(written)
    assert flops(made, Kind.FORWARD) == flops(written, Kind.FORWARD)
    assert flops(made, *BACKWARD) == flops(written, *BACKWARD)


def test_layers_have_the_paths_of_their_modules(tmp_path: Path) -> None:
    made = load(tmp_path, "transformers", LLAMA, granularity="layer")
    layers = {f"model.layers.{at}" for at in range(3)}
    assert {o.module for o in made.operators} == {
        "model.embed_tokens", *layers, "model.norm", "lm_head"
    }  # fmt: skip
    written = load(tmp_path, "huggingface", LLAMA, granularity="layer")
    for kind in (Kind.FORWARD, Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT):
        ours, theirs = (
            next(o.flops for o in graph.operators if o.name == f"{path}layers.1:{kind.value}")
            for graph, path in ((made, "model."), (written, ""))
        )
        assert ours == theirs


def test_clip_is_two_towers(tmp_path: Path) -> None:
    made = load(tmp_path, "transformers", CLIP, microbatch=2, granularity="layer")
    written = load(tmp_path, "huggingface", CLIP, microbatch=2)
    assert parameters(made) == parameters(written)
    assert flops(made, Kind.FORWARD) == flops(written, Kind.FORWARD)
    assert flops(made, *BACKWARD) == flops(written, *BACKWARD)
    starts = {made.operators[n].module for n in made.topological_order if not made.inputs[n]}
    assert any(name.startswith("vision_model") for name in starts)
    assert any(name.startswith("text_model") for name in starts)


def test_a_model_that_asks_for_the_sizes_of_images_is_told(tmp_path: Path) -> None:
    """Qwen2-VL reads how many patches an image has, and where it stands among the tokens."""
    made = load(tmp_path, "transformers", QWEN2_VL, microbatch=2)
    written = load(tmp_path, "huggingface", QWEN2_VL, microbatch=2)
    assert parameters(made) == parameters(written)
    assert flops(made, Kind.FORWARD) == flops(written, Kind.FORWARD)
    assert flops(made, *BACKWARD) == flops(written, *BACKWARD)
    larger = load(tmp_path, "transformers", QWEN2_VL, microbatch=2, image_size=112)
    assert flops(larger, Kind.FORWARD) > flops(made, Kind.FORWARD)
    for wrong, reason in ((60, "cannot be divided"), (560, "no room for text")):
        with pytest.raises(InputError, match=reason):
            load(tmp_path, "transformers", QWEN2_VL, image_size=wrong)


def test_llava_runs_a_layer_that_nothing_reads(tmp_path: Path) -> None:
    """The analytic importer leaves it out; everything else is the same, the gradients too."""
    made = load(tmp_path, "transformers", LLAVA, granularity="layer")
    written = load(tmp_path, "huggingface", LLAVA)
    (unread,) = {o.module for o in made.operators if o.module.endswith("encoder.layers.1")}
    extra = sum(o.flops for o in made.operators if o.module == unread)
    assert flops(made, *BACKWARD) == flops(written, *BACKWARD) > 0
    assert flops(made, Kind.FORWARD) == flops(written, Kind.FORWARD) + extra
    assert {o.kind for o in made.operators if o.module == unread} == {Kind.FORWARD}


def test_sound_is_read_as_spectra(tmp_path: Path) -> None:
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    made = load(tmp_path, "transformers", WHISPER, granularity="layer")
    options = {key: value for key, value in WHISPER.items() if key != "architectures"}
    model = WhisperForConditionalGeneration(WhisperConfig(**options))
    # The head and the table of tokens are one; positions of the encoder are not trained.
    assert parameters(made) == sum(p.numel() for p in model.parameters())
    modules = {operator.module for operator in made.operators}
    assert {"model.encoder.layers.0", "model.decoder.layers.0"} <= modules


def test_autograd_runs_what_the_rules_say(tmp_path: Path) -> None:
    rules = load(tmp_path, "transformers", MIXTRAL)
    joint = load(tmp_path, "transformers", MIXTRAL, joint=True)
    for kind in (Kind.FORWARD, Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT):
        assert flops(joint, kind) == flops(rules, kind)
    assert joint.parameters == rules.parameters


def test_without_training_there_is_no_backward_pass(tmp_path: Path) -> None:
    made = load(tmp_path, "transformers", LLAMA, workload="inference")
    assert {o.kind for o in made.operators} == {Kind.FORWARD}
    assert all(group.bytes == group.weight_bytes for group in made.parameters)


@pytest.mark.parametrize(
    ("change", "options", "reason"),
    [
        ({"model_type": "lama"}, {}, "did you mean 'llama'"),
        ({"model_type": None}, {}, "missing or no text"),
        ({"architectures": ["NoSuchModel"]}, {}, "no model 'NoSuchModel'"),
        ({"hidden_size": "wide"}, {}, "refuses it"),
        ({"pad_token_id": 5000}, {}, "cannot make the model"),
        ({}, {"sequence": 4096}, "does not fit the model's 128 positions"),
        ({}, {"dtype": "int4"}, "is no format"),
    ],
)
def test_what_cannot_be_made_is_one_error_that_names_the_file(
    tmp_path: Path, change: dict[str, Any], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        load(tmp_path, "transformers", {**LLAMA, **change}, **options)


def test_code_that_a_configuration_names_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')\n")
    own = {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"}
    made = load(tmp_path, "transformers", {**LLAMA, "auto_map": own})
    assert parameters(made) == parameters(load(tmp_path, "huggingface", LLAMA))
