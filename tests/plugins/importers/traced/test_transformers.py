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
