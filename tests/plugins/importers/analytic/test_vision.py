"""CLIP and LLaVA: parameters, work and towers, against published figures."""

import json
from itertools import pairwise

import networkx as nx
import pytest

from parplan.costs import price
from parplan.errors import InputError
from parplan.graph import Kind
from parplan.plugins.costs.roofline import Roofline
from parplan.plugins.importers.analytic.huggingface import HuggingFace
from parplan.spec.presets import device_preset
from tests.plugins.importers.work import flops

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "vocab_size": 500,
    "max_position_embeddings": 20,
}
VISION = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
CLIP = {
    "model_type": "clip",
    "projection_dim": 16,
    "text_config": TEXT,
    "vision_config": VISION,
}
LLAVA = {
    "model_type": "llava",
    "vision_config": VISION,
    "text_config": {**TEXT, "model_type": "llama", "max_position_embeddings": 128},
}
QWEN2_VL_7B = {
    "model_type": "qwen2_vl",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": False,
    "vision_config": {
        "depth": 32,
        "embed_dim": 1280,
        "mlp_ratio": 4,
        "num_heads": 16,
        "hidden_size": 3584,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
}
PATCHES = 16


def before(graph, name):
    """Modules that an operator waits for, near and far."""
    index = graph.operator_index[name]
    return {graph.operators[i].module for i in nx.ancestors(graph.digraph, index)}


@pytest.mark.parametrize("granularity", ["operator", "block", "layer"])
def test_clip_has_its_published_parameters(examples, granularity):
    path = examples / "models/clip-vit-base-patch32.json"
    graph = HuggingFace().load(path, {"granularity": granularity})
    assert sum(group.count for group in graph.parameters) == 151_277_313


def test_llava_has_its_published_parameters_but_for_a_layer_that_nothing_reads(examples):
    graph = HuggingFace().load(examples / "models/llava-1.5-7b.json", {})
    # The last layer of the vision tower and the norm behind it: features are taken before them.
    layer = 4 * 1024**2 + 2 * 1024 * 4096 + 9 * 1024 + 4096
    unused = layer + 2 * 1024
    assert sum(group.count for group in graph.parameters) == 7_063_427_072 - unused
    towers = {o.module.split(".")[2] for o in graph.operators if "vision.layers" in o.module}
    assert towers == {str(i) for i in range(23)}


def test_a_configuration_of_llava_may_leave_out_what_every_llama_7b_has(load, examples):
    path = examples / "models/llava-1.5-7b.json"
    config = json.loads(path.read_text())
    config["text_config"] = {"max_position_embeddings": 4096, "vocab_size": 32064}
    counts = [
        sum(g.count for g in graph.parameters)
        for graph in (load(config), HuggingFace().load(path, {}))
    ]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("granularity", ["operator", "block", "layer"])
def test_towers_know_nothing_of_each_other_before_the_loss(load, granularity):
    graph = load(CLIP, granularity=granularity)
    for tower, other in (("vision", "text"), ("text", "vision")):
        modules = before(graph, f"{tower}.projection:forward")
        assert modules
        assert not any(module.startswith(other) for module in modules)
    # Each backward pass waits for the loss, and so for both towers.
    for tower in ("vision", "text"):
        modules = before(graph, f"{tower}.embedding:backward-weight")
        assert {"loss", "vision.projection", "text.projection"} <= modules
        other = "text" if tower == "vision" else "vision"
        passes = [
            graph.operators[i]
            for i in nx.ancestors(
                graph.digraph, graph.operator_index[f"{tower}.embedding:backward-weight"]
            )
        ]
        assert not [o for o in passes if o.module.startswith(other) and o.kind is not Kind.FORWARD]


def test_clip_follows_the_formulas(load):
    """A layer as GPT-2's, for patches and a class token; one vector per image and text."""
    b, s = 3, 20
    graph = load(CLIP, microbatch=b, granularity="operator")
    for path, tokens, h, f in (
        ("vision.layers.1", PATCHES + 1, 64, 128),
        ("text.layers.1", s, 32, 96),
    ):
        dense, square = 2 * b * tokens * (4 * h * h + 2 * h * f), 4 * tokens**2 * b * h
        assert flops(graph, Kind.FORWARD, module=path) == dense + square
        assert flops(graph, Kind.BACKWARD_INPUT, module=path) == dense + 2 * square
        assert flops(graph, Kind.BACKWARD_WEIGHT, module=path) == dense
    patches = 2 * b * PATCHES * 3 * 8 * 8 * 64
    assert flops(graph, Kind.FORWARD, module="vision.embedding") == patches
    assert flops(graph, Kind.BACKWARD_WEIGHT, module="vision.embedding") == patches
    assert flops(graph, Kind.BACKWARD_INPUT, module="vision.embedding") == 0
    assert flops(graph, Kind.FORWARD, module="vision.projection") == 2 * b * 64 * 16
    assert flops(graph, Kind.FORWARD, module="loss") == 2 * b * b * 16
    assert flops(graph, Kind.BACKWARD_INPUT, module="loss") == 4 * b * b * 16


def test_the_vision_tower_has_no_causal_mask(load):
    full, half = load(CLIP), load(CLIP, causal_half=True)
    assert flops(full, Kind.FORWARD, module="vision") == flops(half, Kind.FORWARD, module="vision")
    assert flops(full, Kind.FORWARD, module="text") > flops(half, Kind.FORWARD, module="text")


def test_an_image_takes_the_place_of_tokens(load):
    s = 100
    graph = load(LLAVA, sequence=s)
    tensors = {t.name: t.bytes for t in graph.tensors}
    assert tensors["embedding"] == (s - PATCHES) * 32 * 2
    assert tensors["projector.down"] == PATCHES * 32 * 2
    assert tensors["merge"] == s * 32 * 2
    # Features come from behind the last layer but one, and go through two products.
    assert flops(graph, Kind.FORWARD, module="projector") == 2 * PATCHES * (64 * 32 + 32 * 32)
    assert not any(m.startswith("vision.layers.1") for m in before(graph, "loss:forward"))
    # The table of tokens and the tower stand side by side.
    assert before(graph, "projector:forward") == {"vision.embedding", "vision.layers.0.attention",
                                                  "vision.layers.0.mlp"}  # fmt: skip


def test_qwen2_vl_has_its_published_parameters_and_joins_neighbouring_patches(load):
    graph = load(QWEN2_VL_7B, sequence=1024, granularity="operator")
    assert sum(group.count for group in graph.parameters) == 8_291_375_616
    patches, tokens, h = 32 * 32, 16 * 16, 1280
    tensors = {t.name: t.bytes for t in graph.tensors}
    assert tensors["projector.norm"] == patches * h * 2
    assert tensors["projector.up"] == tokens * 4 * h * 2
    assert tensors["projector.down"] == tokens * 3584 * 2
    assert tensors["embedding"] == (1024 - tokens) * 3584 * 2
    assert flops(graph, Kind.FORWARD, module="vision.embedding") == 2 * patches * 6 * 14 * 14 * h
    layer = 2 * patches * 12 * h * h + 4 * patches**2 * h
    assert flops(graph, Kind.FORWARD, module="vision.layers.7") == layer


@pytest.mark.parametrize("config", [CLIP, LLAVA], ids=["clip", "llava"])
@pytest.mark.parametrize("backward", ["split", "whole"])
def test_granularity_changes_neither_work_nor_time_nor_memory(load, config, backward):
    figures = []
    for granularity in ("operator", "block", "layer"):
        graph = load(config, granularity=granularity, backward=backward)
        priced = price(graph, [device_preset("h100")], [Roofline()])
        figures.append(
            (
                sum(o.flops for o in graph.operators),
                sum(o.bytes_touched for o in graph.operators),
                sum(o.modes[0].seconds["h100"] for o in priced.operators),
                sum(g.bytes for g in graph.parameters),
            )
        )
    for finer, coarser in pairwise(figures):
        assert finer == pytest.approx(coarser, rel=1e-12)


def test_inference_ends_with_the_logits(load):
    graph = load(CLIP, workload="inference", microbatch=4)
    assert {o.kind for o in graph.operators} == {Kind.FORWARD}
    assert next(t.bytes for t in graph.tensors if t.name == "logits") == 4 * 4 * 4
    assert "head:forward" in load(LLAVA, workload="inference").operator_index


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (CLIP, {"text_config": None}, "text_config: is missing; a 'clip' model needs it"),
        (CLIP, {"vision_config": 3}, "vision_config: is no object of settings"),
        (
            CLIP,
            {"vision_config": {**VISION, "hidden_size": None}},
            r"vision_config\.hidden_size: is missing; a 'clip_vision_model' model needs it",
        ),
        (
            CLIP,
            {"vision_config": {**VISION, "patch_size": 7}},
            r"vision_config\.image_size: 32 cannot be divided by patches of 7",
        ),
        (
            QWEN2_VL_7B,
            {"vision_config": {**QWEN2_VL_7B["vision_config"], "image_size": 224 + 14}},
            r"vision_config\.image_size: 238 cannot be divided by 2 patches of 14",
        ),
        (LLAVA, {"vision_feature_layer": -3}, "vision_feature_layer: -3 is no layer"),
        (
            LLAVA,
            {"text_config": {"model_type": "lama"}},
            r"text_config\.model_type: 'lama' is not known; did you mean 'llama'",
        ),
    ],
)
def test_a_bad_configuration_names_the_key(load, config, change, message):
    with pytest.raises(InputError, match=message):
        load({**config, **change})


def test_a_sequence_without_room_for_the_image_is_refused(load):
    with pytest.raises(InputError, match="16 tokens has no room for text behind the 16"):
        load(LLAVA, sequence=16)
