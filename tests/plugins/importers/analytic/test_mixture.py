"""Mixtures of experts and latent attention: parameters, work, bytes and passes in closed form."""

import json
from itertools import pairwise

import pytest

from benchmarks.mixture import DEEPSEEK_V3
from parplan.costs import price
from parplan.errors import InputError
from parplan.graph import Kind
from parplan.plugins.costs.measured import Measured
from parplan.plugins.costs.roofline import Roofline
from parplan.plugins.importers.analytic.expert_parallel import ExpertParallel
from parplan.plugins.importers.analytic.huggingface import HuggingFace
from parplan.spec.presets import device_preset

MIXTRAL_8X7B = {
    "model_type": "mixtral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "vocab_size": 32000,
    "max_position_embeddings": 32768,
}
QWEN15_MOE_A27B = {
    "model_type": "qwen2_moe",
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "moe_intermediate_size": 1408,
    "shared_expert_intermediate_size": 5632,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "num_experts": 60,
    "num_experts_per_tok": 4,
    "vocab_size": 151936,
    "max_position_embeddings": 8192,
}
TINY = {
    **DEEPSEEK_V3,
    "hidden_size": 64,
    "intermediate_size": 96,
    "moe_intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "q_lora_rank": 24,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "n_routed_experts": 16,
    "num_experts_per_tok": 4,
    "first_k_dense_replace": 1,
    "vocab_size": 500,
    "max_position_embeddings": 128,
}
GROUP = {"degree": 8, "bandwidth": 1e9, "latency_s": 1e-6}
BACKWARD = (Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT)


@pytest.fixture
def load(tmp_path):
    def call(config, **options):
        path = tmp_path / "model.json"
        path.write_text(json.dumps(config))
        return HuggingFace().load(path, options)

    return call


def operator(graph, name):
    return graph.operators[graph.operator_index[name]]


def flops(graph, kind, module):
    return sum(o.flops for o in graph.operators if o.kind is kind and o.module.startswith(module))


@pytest.mark.parametrize(
    ("config", "total", "active"),
    [
        # README_WEIGHTS of DeepSeek-V3: 671 B in all; 36.6 B active with the head, 37.6 B with
        # the embedding too.
        (DEEPSEEK_V3, 671_026_419_200, 37.6e9),
        (MIXTRAL_8X7B, 46_702_792_704, 12.9e9),
        (QWEN15_MOE_A27B, 14_315_784_192, 2.7e9),
    ],
    ids=["deepseek-v3", "mixtral-8x7b", "qwen1.5-moe-a2.7b"],
)
def test_parameter_counts_are_those_published(load, config, total, active):
    graph = load(config, granularity="operator")
    assert sum(group.count for group in graph.parameters) == total
    experts = sum(g.count for g in graph.parameters if ".experts." in g.name)
    share = config["num_experts_per_tok"] / config.get(
        "n_routed_experts", config.get("num_local_experts", config.get("num_experts"))
    )
    assert total - experts * (1 - share) == pytest.approx(active, rel=0.01)


def test_latent_attention_follows_its_formulas(load):
    h, a, s, b = 64, 4, 100, 2
    graph = load(TINY, sequence=s, microbatch=b)
    weights = h * 24 + 24 * a * 12 + h * (16 + 4) + 16 * a * (8 + 8) + a * 8 * h
    count = sum(g.count for g in graph.parameters if g.name == "layers.1.attention")
    assert count == weights + h + 24 + 16
    dense = 2 * s * b * weights
    square = 2 * s * s * b * a * (12 + 8)
    assert flops(graph, Kind.FORWARD, "layers.1.attention") == dense + square
    assert flops(graph, Kind.BACKWARD_INPUT, "layers.1.attention") == dense + 2 * square
    assert flops(graph, Kind.BACKWARD_WEIGHT, "layers.1.attention") == dense


@pytest.mark.parametrize("group", [{}, GROUP], ids=["one rank", "eight ranks"])
def test_experts_of_a_rank_take_as_much_work_in_any_group(load, group):
    h, f, k, s = 64, 32, 4, 100
    graph = load(TINY, sequence=s, expert_parallel=group)
    for kind in (Kind.FORWARD, *BACKWARD):
        assert flops(graph, kind, "layers.1.experts") == 2 * (s * k) * 3 * h * f
        assert flops(graph, kind, "layers.1.shared") == 2 * s * 3 * h * f
        assert flops(graph, kind, "layers.1.router") == 2 * s * h * 16
    held = next(g.count for g in graph.parameters if g.name == "layers.1.experts")
    assert held == 3 * h * f * 16 / group.get("degree", 1)


def test_an_exchange_takes_the_formula_of_an_all_to_all_on_the_collective_engine(load):
    group = {**GROUP, "dispatch": "fp8", "copies": 3}
    graph = load(TINY, sequence=100, expert_parallel=group)
    tokens = 100 * 3 * 64 * 7 / 8 / 1e9
    there, back = 7e-6 + tokens * (1 + 4 / 128), 7e-6 + tokens * 2
    for name, seconds in {
        "dispatch:forward": there,
        "combine:forward": back,
        "combine:backward-input": there,
        "dispatch:backward-input": back,
    }.items():
        (mode,) = operator(graph, f"layers.1.{name}").modes
        assert mode.seconds == {"*": pytest.approx(seconds)}
        assert mode.engines == ("collective",)
        assert "all-to-all of 8 ranks" in mode.source
    engines = {o.modes[0].engines for o in graph.operators if "dispatch" not in o.module}
    assert engines == {("compute",), ("collective",)}


def test_exchanged_tensors_have_the_bytes_of_their_format(load):
    group = {**GROUP, "dispatch": "fp8"}
    graph = load(TINY, sequence=100, granularity="operator", expert_parallel=group)
    rows = 100 * 4 * 64
    sizes = {t.name: t.bytes for t in graph.tensors}
    assert sizes["layers.1.dispatch"] == rows * 33 / 32
    assert sizes["layers.1.dispatch:gradient"] == rows * 2
    assert sizes["layers.1.experts.down"] == rows * 2
    assert sizes["layers.1.experts.down:gradient"] == rows * 33 / 32
    assert sizes["layers.1.combine"] == 100 * 64 * 2


def test_the_shared_part_needs_no_exchange_and_sums_hand_gradients_on(load):
    graph = load(TINY, expert_parallel=GROUP)
    readers = {t.name: set(t.consumers) for t in graph.tensors}
    ancestors = set(_before(graph, "layers.1.shared:forward"))
    assert not {n for n in ancestors if n.startswith(("layers.1.dispatch", "layers.1.combine"))}
    # The result of a layer feeds the next attention; its gradient goes to each part of the sum.
    assert readers["layers.1.sum:gradient"] == {
        "layers.1.combine:backward-input",
        "layers.1.shared:backward-input",
        "layers.1.shared:backward-weight",
        "layers.1.router:backward-input",
    }
    assert "layers.1.sum:backward-input" not in graph.operator_index


def _before(graph, name):
    index = graph.operator_index[name]
    for t in graph.inputs[index]:
        producer = graph.tensors[t].producer
        yield producer
        yield from _before(graph, producer)


@pytest.mark.parametrize("config", [TINY, {**TINY, "q_lora_rank": None, "n_shared_experts": 0}])
@pytest.mark.parametrize("backward", ["split", "whole"])
def test_granularity_changes_neither_work_nor_time_nor_memory(load, config, backward):
    figures = []
    for granularity in ("operator", "block"):
        graph = load(config, granularity=granularity, backward=backward, expert_parallel=GROUP)
        priced = price(graph, [device_preset("h100")], [Measured(), Roofline()])
        seconds = {
            engine: sum(
                o.modes[0].seconds["h100"]
                for o in priced.operators
                if o.modes[0].engines == (engine,)
            )
            for engine in ("compute", "collective")
        }
        figures.append((*seconds.values(), sum(g.bytes for g in graph.parameters)))
    for finer, coarser in pairwise(figures):
        assert finer == pytest.approx(coarser, rel=1e-12)
        assert min(finer) > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"expert_parallel": {"degree": 8}}, "a group of 8 ranks exchanges tokens; give"),
        ({"expert_parallel": {**GROUP, "degree": 7}}, "16 experts cannot be divided among 7 ranks"),
        ({"expert_parallel": GROUP, "granularity": "layer"}, "would hide the exchange"),
        ({"expert_parallel": {**GROUP, "dispatch": "fp7"}}, "expert_parallel.dispatch"),
        ({"attention": "full"}, "keeps no sequence x sequence matrix"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(load, options, message):
    with pytest.raises(InputError, match=message):
        load(TINY, **options)


def test_a_dense_model_has_no_experts_to_divide(load):
    llama = {k: v for k, v in MIXTRAL_8X7B.items() if "experts" not in k}
    with pytest.raises(InputError, match="no experts to divide"):
        load({**llama, "model_type": "llama"}, expert_parallel=GROUP)


def test_one_rank_exchanges_nothing():
    assert ExpertParallel().exchange_seconds(1e9) == 0.0
