"""T5 and Switch Transformers: parameters, work and branches, against published figures."""

import json
from itertools import pairwise
from pathlib import Path

import networkx as nx
import pytest

from parplan.cli import main
from parplan.costs import price
from parplan.errors import InputError
from parplan.graph import Kind, Repeat
from parplan.plan_files.plan_file import load_plan
from parplan.plugins.costs.roofline import Roofline
from parplan.plugins.importers.analytic.huggingface import HuggingFace
from parplan.spec.presets import device_preset
from tests.plugins.importers.work import flops

TINY = {
    "model_type": "t5",
    "d_model": 64,
    "d_kv": 8,
    "d_ff": 160,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 4,
    "vocab_size": 1000,
}
SWITCH = {
    **TINY,
    "model_type": "switch_transformers",
    "num_layers": 4,
    "num_decoder_layers": 4,
    "num_experts": 4,
    "num_sparse_encoder_layers": 2,
    "num_sparse_decoder_layers": 2,
}
H, Q, F, A, V = 64, 32, 160, 4, 1000


def before(graph, name):
    """Names of the operators that an operator waits for, near and far."""
    index = graph.operator_index[name]
    return {graph.operators[i].name for i in nx.ancestors(graph.digraph, index)}


@pytest.mark.parametrize("granularity", ["operator", "block", "layer"])
def test_t5_base_has_its_published_parameters(examples, granularity):
    options = {"granularity": granularity}
    graph = HuggingFace().load(examples / "models/t5-base.json", options)
    assert sum(group.count for group in graph.parameters) == 222_903_552


def test_t5_v1_1_base_has_its_published_parameters(load):
    """Gated feed-forward of another width, and a head of its own: 247,577,856."""
    base = {"d_model": 768, "d_kv": 64, "d_ff": 2048, "num_layers": 12, "num_heads": 12}
    graph = load(
        {
            **TINY,
            **base,
            "num_decoder_layers": 12,
            "vocab_size": 32128,
            "feed_forward_proj": "gated-gelu",
            "tie_word_embeddings": False,
        }
    )
    assert sum(group.count for group in graph.parameters) == 247_577_856


def test_switch_base_8_is_a_t5_with_more_experts_and_routers(examples):
    graph = HuggingFace().load(examples / "models/switch-base-8.json", {"experts": "branches"})
    total = sum(group.count for group in graph.parameters)
    sparse = 12  # of 24 layers
    assert total == 222_903_552 + sparse * (7 * 2 * 768 * 3072 + 768 * 8)
    assert total == 619_339_008
    experts = {o.module for o in graph.operators if ".experts." in o.module}
    assert len(experts) == sparse * 8
    assert {m.split(".experts.")[0] for m in experts} == {
        f"{part}.layers.{i}" for part in ("encoder", "decoder") for i in range(1, 12, 2)
    }


@pytest.mark.parametrize("granularity", ["operator", "block"])
def test_layers_follow_the_formulas(load, granularity):
    """2 FLOP per weight and token; 4 s t b q for s queries and t keys a sequence."""
    s, t, b = 100, 30, 2
    graph = load(TINY, sequence=s, target_sequence=t, microbatch=b, granularity=granularity)
    own = 2 * b * 4 * H * Q
    feed_forward = 2 * b * 2 * H * F
    square = 4 * b * Q
    encoder = s * (own + feed_forward)
    # Of the cross attention, keys and values are made for the encoder's tokens.
    decoder = t * (own + feed_forward) + (t + s) * own / 2
    for path, dense, pairs in (
        ("encoder.layers.1.", encoder, s * s),
        ("decoder.layers.1.", decoder, t * t + t * s),
    ):
        assert flops(graph, Kind.FORWARD, module=path) == dense + square * pairs
        assert flops(graph, Kind.BACKWARD_INPUT, module=path) == dense + 2 * square * pairs
        assert flops(graph, Kind.BACKWARD_WEIGHT, module=path) == dense
    assert flops(graph, Kind.FORWARD, module="head") == 2 * b * t * H * V


@pytest.mark.parametrize(
    ("granularity", "experts", "count"),
    [
        # T5: two embeddings and biases (forward, weights, optimizer), two final norms (forward,
        # backward, optimizer), loss (forward, backward), head (forward and two backward passes).
        ("layer", "together", 2 * 3 + 2 * 3 + 2 * 3 + 2 + 3 - 1 + 5 * 4),
        ("block", "together", 2 * 3 + 2 * 3 + 2 * 3 + 2 + 3 - 1 + 2 * 2 * 4 + 3 * 3 * 4),
    ],
)
def test_operators_are_these(load, granularity, experts, count):
    graph = load(TINY, granularity=granularity)
    # Two embeddings share one table, whose optimizer is that of the first.
    assert len(graph.operators) == count


def test_a_plan_of_a_small_t5_is_made_and_checked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t5.json").write_text(json.dumps(TINY))
    spec = {
        "model": {
            "kind": "huggingface",
            "file": "t5.json",
            "options": {"sequence": 64, "granularity": "layer", "tied": "replicas"},
        },
        "cluster": {
            "devices": [
                {"preset": "a100-sxm-40gb", "name": "a", "node": "one"},
                {"preset": "l40s", "name": "l", "node": "one"},
            ],
            "intra": {"preset": "pcie4-x16"},
        },
        "workload": {"kind": "training", "microbatches": 3},
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    options = ["-o", "plan.json", "--solver", "list", "--time-limit", "1", "-q"]
    assert main(["plan", "spec.json", *options]) == 0
    assert main(["check", "plan.json"]) == 0
    graph = load_plan(Path("plan.json")).schedule.problem.graph
    assert {o.name for o in graph.operators} >= {"decoder.layers.2:backward-weight", "loss:forward"}


def test_a_causal_mask_halves_the_decoder_alone(load):
    def core(graph, path):
        return flops(graph, Kind.FORWARD, module=path)

    full = load(TINY, sequence=100, granularity="operator")
    half = load(TINY, sequence=100, granularity="operator", causal_half=True)
    pairs = 4 * 100 * 100 * Q
    assert core(full, "encoder") == core(half, "encoder")
    assert core(full, "decoder") - core(half, "decoder") == 3 * pairs / 2


def test_every_decoder_layer_reads_the_encoders_result(load):
    graph = load(TINY, granularity="operator")
    result = graph.tensors[graph.tensor_index["encoder.final_norm"]]
    readers = {f"decoder.layers.{i}.cross_attention.key_value" for i in range(3)}
    assert {c.partition(":")[0] for c in result.consumers} == readers
    # Its gradient has a part from each of them, and all of these reach the encoder.
    parts = {
        t.producer for t in graph.tensors if "encoder.final_norm:backward-input" in t.consumers
    }
    assert {f"{reader}:backward-input" for reader in readers} < parts
    # The first layers of both stand side by side; the decoder waits from its cross attention on.
    first = before(graph, "decoder.layers.0.attention.output:forward")
    assert not any(name.startswith("encoder") for name in first)
    later = before(graph, "decoder.layers.0.cross_attention.core:forward")
    assert "encoder.layers.1.mlp.down:forward" in later


def test_one_bias_of_distances_serves_all_layers_of_a_stack(load):
    graph = load(TINY, sequence=100, target_sequence=30, microbatch=2, granularity="operator")
    for part, layers, length in (("encoder", 2, 100), ("decoder", 3, 30)):
        bias = graph.tensors[graph.tensor_index[f"{part}.relative_bias"]]
        assert bias.bytes == A * length**2 * 2  # the same for all sequences
        forward = {c for c in bias.consumers if c.endswith(":forward")}
        assert forward == {f"{part}.layers.{i}.attention.core:forward" for i in range(layers)}
        backward = before(graph, f"{part}.relative_bias:backward-weight")
        assert f"{part}.layers.0.attention.core:backward-input" in backward


def test_a_tied_table_is_read_by_both_embeddings_and_the_head(load):
    graph = load(TINY)
    readers = {o.module for o in graph.operators if "shared" in o.parameters}
    assert readers == {"encoder.embedding", "decoder.embedding", "head"}
    apart = load({**TINY, "tie_word_embeddings": False})
    assert next(o for o in apart.operators if o.module == "head").parameters == ("head",)


@pytest.mark.parametrize("granularity", ["operator", "block", "layer"])
def test_copies_of_a_tied_table_exchange_gradients_once_per_step(load, granularity):
    graph = load(TINY, tied="replicas", granularity=granularity)
    copies = {
        "encoder.embedding": "shared",
        "decoder.embedding": "decoder.embedding.shared",
        "head": "head.shared",
    }
    for module, group in copies.items():
        assert {o.module for o in graph.operators if group in o.parameters} == {module}
        assert graph.parameters[graph.parameter_index[group]].count == V * H
        sent = next(t for t in graph.tensors if t.name == f"{group}:gradient")
        assert sent.bytes == V * H * 2
        assert set(sent.consumers) == {f"{other}:optimizer" for other in copies if other != module}
        sender = graph.operators[graph.operator_index[sent.producer]]
        assert (sender.module, sender.kind, sender.repeat) == (
            module,
            Kind.COLLECTIVE,
            Repeat.STEP,
        )
        index = graph.operator_index[sent.producer]
        assert {graph.tensors[t].producer for t in graph.inputs[index]} == {
            f"{module}:backward-weight"
        }
    total = sum(group.count for group in load(TINY).parameters)
    assert sum(group.count for group in graph.parameters) == total + 2 * V * H


def test_experts_are_branches_between_dispatch_and_combine(load):
    together = load(SWITCH, sequence=50)
    graph = load(SWITCH, sequence=50, experts="branches")
    path = "encoder.layers.1"
    experts = [f"{path}.experts.{e}:forward" for e in range(4)]
    sent = {t.consumers[0]: t.bytes for t in graph.tensors if t.name.startswith(f"{path}.disp")
            and t.producer == f"{path}.dispatch:forward" and t.consumers[0] in experts}  # fmt: skip
    # 50 tokens for 4 experts: two of them have one more.
    assert [sent[e] for e in experts] == [n * H * 2 for n in (13, 13, 12, 12)]
    for expert in experts:
        others = set(experts) - {expert}
        assert not others & before(graph, expert)
    assert set(experts) < before(graph, f"{path}.combine:forward")
    # The same work, and the same bytes of weights and of what experts make, in all.
    for figure in (
        lambda g: sum(o.flops for o in g.operators),
        lambda g: sum(group.bytes for group in g.parameters),
        lambda g: sum(t.bytes for t in g.tensors if t.producer.startswith(f"{path}.experts")),
    ):
        assert figure(together) == figure(graph)


@pytest.mark.parametrize("backward", ["split", "whole"])
@pytest.mark.parametrize("attention", ["flash", "full"])
@pytest.mark.parametrize("config", [TINY, SWITCH], ids=["t5", "switch"])
def test_granularity_changes_neither_work_nor_time_nor_memory(load, config, attention, backward):
    figures = []
    for granularity in ("operator", "block", "layer"):
        options = {"granularity": granularity, "attention": attention, "backward": backward}
        graph = load(config, sequence=40, tied="replicas", **options)
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


def test_scores_with_their_dropout_are_kept_where_they_are_asked_for(load):
    """5 a s t b bytes of each attention (Korthikanti et al. 2022), keys of the encoder or not."""
    s, t, b = 40, 30, 2
    graph = load(TINY, sequence=s, target_sequence=t, microbatch=b, attention="full",
                 granularity="operator")  # fmt: skip
    for name, pairs in {
        "encoder.layers.0.attention": s * s,
        "decoder.layers.0.attention": t * t,
        "decoder.layers.0.cross_attention": t * s,
    }.items():
        kept = [x.bytes for x in graph.tensors if x.name.startswith(f"{name}.core.")
                and x.producer == f"{name}.core:forward"]  # fmt: skip
        assert sum(kept) == 5 * A * pairs * b


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_kv": None}, "d_kv: is missing; a 't5' model needs it"),
        ({"feed_forward_proj": "swish"}, "feed_forward_proj: 'swish' is not known; known: 'relu'"),
        ({"model_type": "bart"}, "model_type: 'bart' is not known; .*known.* t5"),
    ],
)
def test_a_bad_configuration_names_the_key(load, change, message):
    with pytest.raises(InputError, match=message):
        load({**TINY, **change})


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (TINY, {"experts": "branches"}, "the model has no experts"),
        (SWITCH, {"experts": "branches", "granularity": "layer"}, "would hide the branches"),
        (
            SWITCH,
            {"experts": "branches", "expert_parallel": {"degree": 2, "bandwidth": 1e9}},
            "choose one of the two",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(load, config, options, message):
    with pytest.raises(InputError, match=message):
        load(config, **options)
