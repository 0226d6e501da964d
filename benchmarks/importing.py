"""Family import: real models traced on PyTorch's device ``meta``, and read from ONNX files.

The value is the seconds from the configuration or file to the graph, in a process of its own (the
row's ``peak_mib`` is its memory). The details have the number of operators, and parameters and FLOP
beside those of the analytic importer ``huggingface``, which knows nothing of PyTorch. Cases
``-joint`` have their backward passes traced by autograd.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.architectures import run_architectures
from benchmarks.cases import Case, Context, Outcome
from benchmarks.onnx_files import write_llama
from parplan.api import import_model, load_registry
from parplan.graph import Graph, Kind

BACKWARD = (Kind.BACKWARD, Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT)

LLAMA: Mapping[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "max_position_embeddings": 8192,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "vocab_size": 128256,
}
LLAMA_8B: Mapping[str, Any] = {
    **LLAMA,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
}
LLAMA_70B: Mapping[str, Any] = {
    **LLAMA,
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
}
TINY: Mapping[str, Any] = {
    **LLAMA,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "vocab_size": 1000,
}
MIXTRAL: Mapping[str, Any] = {
    "architectures": ["MixtralForCausalLM"],
    "model_type": "mixtral",
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "tie_word_embeddings": False,
    "vocab_size": 32000,
}
CLIP: Mapping[str, Any] = {
    "architectures": ["CLIPModel"],
    "model_type": "clip",
    "projection_dim": 512,
    "text_config": {
        "hidden_size": 512,
        "intermediate_size": 2048,
        "max_position_embeddings": 77,
        "num_attention_heads": 8,
        "num_hidden_layers": 12,
        "vocab_size": 49408,
    },
    "vision_config": {
        "hidden_size": 768,
        "image_size": 224,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "num_channels": 3,
        "num_hidden_layers": 12,
        "patch_size": 32,
    },
}
QWEN2_VL_7B: Mapping[str, Any] = {
    "architectures": ["Qwen2VLForConditionalGeneration"],
    "model_type": "qwen2_vl",
    "hidden_act": "silu",
    "hidden_size": 3584,
    "image_token_id": 151655,
    "intermediate_size": 18944,
    "max_position_embeddings": 32768,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "tie_word_embeddings": False,
    "vision_config": {
        "depth": 32,
        "embed_dim": 1280,
        "hidden_size": 3584,
        "in_chans": 3,
        "mlp_ratio": 4,
        "num_heads": 16,
        "patch_size": 14,
    },
    "vocab_size": 152064,
}


def cases(data: Path | None = None) -> tuple[Case, ...]:
    """Return one case per model; the first is the short one."""
    del data
    models: tuple[tuple[str, Mapping[str, Any], Mapping[str, Any]], ...] = (
        ("llama-tiny", TINY, {"sequence": 128}),
        ("llama-3-8b", LLAMA_8B, {"sequence": 4096}),
        ("llama-3-70b", LLAMA_70B, {"sequence": 4096}),
        ("mixtral-8x7b", MIXTRAL, {"sequence": 4096}),
        ("clip-vit-base-patch32", CLIP, {"microbatch": 64}),
        ("qwen2-vl-7b", QWEN2_VL_7B, {"sequence": 4096}),
        ("llama-3-8b-joint", LLAMA_8B, {"sequence": 4096, "joint": True}),
        ("llama-3-70b-joint", LLAMA_70B, {"sequence": 4096, "joint": True}),
    )
    files = (("llama-tiny", TINY, 128), ("llama-3-8b", LLAMA_8B, 4096))
    return (
        *(
            Case(
                f"import/{name}",
                partial(_run, config, options),
                time_limit_s=600.0 if "joint" in options else 180.0,
                short=name == "llama-tiny",
            )
            for name, config, options in models
        ),
        *(
            Case(
                f"import/{name}-onnx",
                partial(_run_onnx, config, sequence),
                time_limit_s=180.0,
                short=name == "llama-tiny",
            )
            for name, config, sequence in files
        ),
        Case("import/architectures", run_architectures, time_limit_s=600.0),
    )


def _run(config: Mapping[str, Any], options: Mapping[str, Any], context: Context) -> Outcome:
    del context
    with tempfile.TemporaryDirectory() as folder:
        path = _saved(config, Path(folder))
        analytic = {key: value for key, value in options.items() if key != "joint"}
        return _compared("transformers", path, options, path, analytic)


def _run_onnx(config: Mapping[str, Any], sequence: int, context: Context) -> Outcome:
    del context
    with tempfile.TemporaryDirectory() as folder:
        path = _saved(config, Path(folder))
        model = path.with_suffix(".onnx")
        write_llama(model, config)
        sizes = {"dimensions": {"batch": 1, "sequence": sequence}}
        return _compared("onnx", model, sizes, path, {"sequence": sequence})


def _saved(config: Mapping[str, Any], folder: Path) -> Path:
    """Write a configuration, and return its path."""
    path = folder / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def _compared(
    kind: str,
    model: Path,
    options: Mapping[str, Any],
    config: Path,
    analytic_options: Mapping[str, Any],
) -> Outcome:
    """Import a model, and its configuration by the analytic importer."""
    registry = load_registry()
    started = time.perf_counter()
    chosen = {**options, "granularity": "operator"}
    graph = import_model(kind, model, chosen, registry=registry)
    seconds = time.perf_counter() - started
    analytic = import_model("huggingface", config, dict(analytic_options), registry=registry)
    traced, written = _figures(graph), _figures(analytic)
    return Outcome(
        value=seconds,
        details={
            "unit": "s",
            "operators": len(graph.operators),
            **traced,
            **{f"analytic_{key}": value for key, value in written.items()},
        },
    )


def _figures(graph: Graph) -> dict[str, float]:
    """Return what two importers of one model should agree on."""
    kinds = dict.fromkeys(Kind, 0.0)
    for operator in graph.operators:
        kinds[operator.kind] += operator.flops
    return {
        "parameters": sum(group.count for group in graph.parameters),
        "forward_flops": kinds[Kind.FORWARD],
        "backward_flops": sum(kinds[kind] for kind in BACKWARD),
    }
