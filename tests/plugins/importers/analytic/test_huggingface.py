"""Work, bytes and structure of imported transformers, against published figures and formulas."""

import csv
import json
from itertools import pairwise

import pytest

from parplan.costs import price
from parplan.errors import InputError
from parplan.graph import Kind, Repeat
from parplan.plugins.costs.roofline import Roofline
from parplan.plugins.importers.analytic.huggingface import HuggingFace
from parplan.spec.presets import device_preset
from tests.plugins.importers.work import flops

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 128,
}
GPT2 = {
    "model_type": "gpt2",
    "n_embd": 64,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 128,
    "vocab_size": 1000,
}
CONFIGS = [
    "gpt2",
    "llama-3-70b",
    "llama-3-8b",
    "llama-3.1-405b",
    "llama-3.2-1b",
    "mistral-7b-v0.1",
    "qwen2.5-0.5b",
    "qwen2.5-7b",
]


def saved(graph, module):
    """Tensors of forward passes that a backward pass of a module reads, by name."""
    kinds = {o.name: o.kind for o in graph.operators}
    return {
        t.name: t.bytes
        for t in graph.tensors
        if kinds[t.producer] is Kind.FORWARD
        and any(c.startswith(module) and kinds[c] is not Kind.FORWARD for c in t.consumers)
    }


def tensor(graph, name):
    return graph.tensors[graph.tensor_index[name]]


@pytest.mark.parametrize("name", CONFIGS)
def test_parameter_counts_are_those_published(name, data_dir):
    published = csv.DictReader((data_dir / "configs" / "parameters.csv").read_text().splitlines())
    wanted = {row["config"]: int(row["parameters"]) for row in published}
    path = data_dir / "configs" / f"{name}.json"
    for granularity in ("operator", "block", "layer"):
        graph = HuggingFace().load(path, {"granularity": granularity})
        assert sum(group.count for group in graph.parameters) == wanted[name]
        assert sum(group.bytes for group in graph.parameters) == 16 * wanted[name]


def test_llama_3_70b_takes_the_known_work(data_dir):
    path = data_dir / "configs" / "llama-3-70b.json"
    graph = HuggingFace().load(path, {"sequence": 4096, "granularity": "operator"})
    forward = flops(graph, Kind.FORWARD)
    assert forward / 1e12 == pytest.approx(613.339, abs=5e-4)
    assert flops(graph, Kind.FORWARD, module="layers.7.") / 1e12 == pytest.approx(7.559, abs=5e-4)
    attention = 80 * 4 * 4096**2 * 8192
    assert flops(graph, Kind.BACKWARD_INPUT) == forward + attention
    assert flops(graph, Kind.BACKWARD_WEIGHT) == forward - attention


def test_gated_layer_follows_the_formulas(load):
    h, k, f, s, b = 64, 32, 160, 100, 2
    graph = load(LLAMA, sequence=s, microbatch=b, granularity="layer")
    layer = graph.parameters[graph.parameter_index["layers.1"]]
    assert layer.count == 2 * h * h + 2 * h * k + 3 * h * f + 2 * h
    dense = 2 * s * b * (2 * h * h + 2 * h * k + 3 * h * f)
    square = 4 * s * s * b * h
    assert flops(graph, Kind.FORWARD, module="layers.1") == dense + square
    assert flops(graph, Kind.BACKWARD_INPUT, module="layers.1") == dense + 2 * square
    assert flops(graph, Kind.BACKWARD_WEIGHT, module="layers.1") == dense
    assert flops(graph, Kind.FORWARD, module="head") == 2 * s * b * h * 1000


def test_gpt2_layer_follows_zero_bubble_table_1(load):
    h, s, b = 64, 100, 2
    graph = load(GPT2, sequence=s, microbatch=b, granularity="layer")
    layer = graph.parameters[graph.parameter_index["layers.1"]]
    assert layer.count == 12 * h * h + 13 * h
    sbh = s * b * h
    assert flops(graph, Kind.FORWARD, module="layers.1") == sbh * (24 * h + 4 * s)
    assert flops(graph, Kind.BACKWARD_INPUT, module="layers.1") == sbh * (24 * h + 8 * s)
    assert flops(graph, Kind.BACKWARD_WEIGHT, module="layers.1") == 24 * sbh * h


@pytest.mark.parametrize("granularity", ["operator", "block", "layer"])
@pytest.mark.parametrize("attention", ["full", "flash"])
def test_gpt2_saves_what_korthikanti_lists(load, attention, granularity):
    h, a, s, b = 64, 4, 100, 2
    options = {"attention": attention, "granularity": granularity}
    graph = load(GPT2, sequence=s, microbatch=b, **options)
    # Beyond their list: mean and deviation of two norms, and flash attention's log-sum-exp (fp32).
    beyond = 16 * s * b + (4 * a * s * b if attention == "flash" else 0)
    square = 5 * a * s * s * b if attention == "full" else 0
    assert sum(saved(graph, "layers.1").values()) == 34 * s * b * h + square + beyond


def test_llama_saves_these_tensors(load):
    graph = load(LLAMA, sequence=100, granularity="operator")
    t, path = 100, "layers.1"
    assert saved(graph, "layers.1.") == {
        "layers.0.mlp.down": t * 64 * 2,
        f"{path}.attention.norm": t * 64 * 2,
        f"{path}.attention.norm.statistics": t * 4,
        f"{path}.attention.qkv": t * 128 * 2,
        f"{path}.attention.core": t * 64 * 2,
        f"{path}.attention.core.log_sum_exp": t * 4 * 4,
        f"{path}.attention.output": t * 64 * 2,
        f"{path}.mlp.norm": t * 64 * 2,
        f"{path}.mlp.norm.statistics": t * 4,
        f"{path}.mlp.gate_up": t * 320 * 2,
        f"{path}.mlp.activation": t * 160 * 2,
    }


def test_passes_read_what_they_need_and_no_more(load):
    graph = load(LLAMA, sequence=100, granularity="operator")
    readers = {t.name: set(t.consumers) for t in graph.tensors}
    path = "layers.1.mlp"
    assert readers[f"{path}.norm"] == {f"{path}.gate_up:forward", f"{path}.gate_up:backward-weight"}
    assert readers[f"{path}.gate_up:gradient"] == {
        f"{path}.gate_up:backward-input",
        f"{path}.gate_up:backward-weight",
    }
    # The gradient of the block's result feeds the last product, and past it the norm (residual).
    assert readers[f"{path}.down:gradient"] == {
        f"{path}.down:backward-input",
        f"{path}.down:backward-weight",
        f"{path}.norm:backward-input",
    }
    assert readers["layers.1.attention.output"] == {
        f"{path}.norm:forward",
        f"{path}.norm:backward-input",
        f"{path}.down:forward",
    }
    assert tensor(graph, "layers.1.attention.output:gradient").producer == (
        f"{path}.norm:backward-input"
    )
    assert tensor(graph, "embedding:gradient").consumers == ("embedding:backward-weight",)


def test_logits_are_fp32_and_their_gradient_is_not(load):
    graph = load(LLAMA, sequence=100, microbatch=2)
    assert tensor(graph, "head").bytes == 200 * 1000 * 4
    assert tensor(graph, "head:gradient").bytes == 200 * 1000 * 2
    assert set(tensor(graph, "head").consumers) == {"loss:forward", "loss:backward-input"}


@pytest.mark.parametrize(
    ("granularity", "module", "kinds"),
    [
        ("block", "layers.2.mlp", 4),
        ("layer", "layers.2", 4),
        ("layer", "head", 4),
        ("block", "loss", 2),
        ("block", "embedding", 3),
    ],
)
def test_passes_of_a_module_share_its_path(load, granularity, module, kinds):
    graph = load(LLAMA, granularity=granularity)
    found = [o for o in graph.operators if o.module == module]
    assert len(found) == kinds
    assert {o.name for o in found} == {f"{module}:{o.kind.value}" for o in found}


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        # Forward, two backward passes and optimizer of each layer; then what stands around them.
        # Two embeddings of one table, two biases and norms, head without a group, loss.
        ("t5-base", {"granularity": "layer"}, 24 * 4 + (3 + 2) + 2 * 3 + 2 * 3 + 3 + 2),
        # Attention and feed-forward part; in the decoder a cross attention, too.
        ("t5-base", {}, 12 * 8 + 12 * 12 + 22),
        # Patches with a norm, two norms, two projections, a table, the loss with its scale.
        ("clip-vit-base-patch32", {"granularity": "layer"}, 24 * 4 + 4 + 2 * 3 + 2 * 4 + 3 + 3),
        # 23 of 24 layers see, 32 speak; patches, projector, table, merge, norm, head, loss.
        ("llava-1.5-7b", {"granularity": "layer"}, 55 * 4 + 4 + 4 + 3 + 2 + 3 + 4 + 2),
        # Attention, router, dispatch and combine (two passes), experts, and the sum (no pass back).
        ("mixtral-8x7b", {"experts": "branches"}, 32 * (4 + 4 + 2 + 8 * 4 + 2 + 1) + 12),
        ("mixtral-8x7b", {}, 32 * (4 + 4 + 2 + 4 + 2 + 1) + 12),
        ("switch-base-8", {"experts": "branches"}, 6 * 8 + 6 * 45 + 6 * 12 + 6 * 49 + 22),
    ],
)
def test_published_models_have_these_operators(name, options, count, examples):
    graph = HuggingFace().load(examples / f"models/{name}.json", options)
    assert len(graph.operators) == count


@pytest.mark.parametrize("backward", ["split", "whole"])
@pytest.mark.parametrize("granularity", ["operator", "block", "layer"])
def test_each_module_has_an_optimizer_after_all_of_its_gradients(load, backward, granularity):
    graph = load(LLAMA, backward=backward, granularity=granularity)
    for index in graph.with_kind(Kind.OPTIMIZER):
        operator = graph.operators[index]
        assert operator.repeat is Repeat.STEP
        inputs = [graph.tensors[t] for t in graph.inputs[index]]
        assert all(t.bytes == 0 for t in inputs)
        makers = {t.producer for t in inputs}
        reading = {o.name for o in graph.operators if set(o.parameters) & set(operator.parameters)}
        backward_kinds = (Kind.BACKWARD, Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT)
        passes = {o.name for o in graph.operators if o.kind in backward_kinds} & reading
        assert makers <= passes
        assert makers >= {n for n in passes if not n.endswith(":backward-input")}
        assert makers
    every = [g for i in graph.with_kind(Kind.OPTIMIZER) for g in graph.operators[i].parameters]
    assert sorted(every) == sorted(g.name for g in graph.parameters)


def test_a_tied_head_shares_the_group_of_the_embedding(load):
    graph = load({**LLAMA, "tie_word_embeddings": True}, granularity="layer")
    readers = {o.name for o in graph.operators if "embedding" in o.parameters}
    assert {"embedding:forward", "head:forward", "head:backward-weight"} < readers
    assert "head:optimizer" not in graph.operator_index
    index = graph.operator_index["embedding:optimizer"]
    makers = {graph.tensors[t].producer for t in graph.inputs[index]}
    assert makers == {"embedding:backward-weight", "head:backward-weight"}


@pytest.mark.parametrize("backward", ["split", "whole"])
@pytest.mark.parametrize("config", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_granularity_changes_neither_work_nor_time_nor_memory(load, config, backward):
    devices = [device_preset("h100")]
    figures = []
    for granularity in ("operator", "block", "layer"):
        graph = load(config, granularity=granularity, backward=backward)
        priced = price(graph, devices, [Roofline()])
        figures.append(
            (
                sum(o.flops for o in graph.operators),
                sum(o.bytes_touched for o in graph.operators),
                sum(o.modes[0].seconds["h100"] for o in priced.operators),
                sum(g.bytes for g in graph.parameters),
                sum(saved(graph, "").values()),
            )
        )
    for finer, coarser in pairwise(figures):
        assert finer == pytest.approx(coarser, rel=1e-12)


def test_inner_tensors_become_workspace(load):
    graph = load(LLAMA, sequence=100, workload="inference", granularity="layer")
    layer = graph.operators[graph.operator_index["layers.1:forward"]]
    # The most at once: the attention's result, gate and up, and the activation.
    assert layer.modes[0].workspace_bytes == 100 * (64 + 320 + 160) * 2


def test_inference_has_forward_passes_alone_and_logits_of_the_last_token(load):
    graph = load(LLAMA, sequence=100, microbatch=3, workload="inference")
    assert {o.kind for o in graph.operators} == {Kind.FORWARD}
    assert sum(g.gradient_bytes + g.optimizer_bytes for g in graph.parameters) == 0
    assert tensor(graph, "head").bytes == 3 * 1000 * 4
    assert not saved(graph, "")


def test_a_causal_kernel_does_half_and_a_window_limits_attention(load):
    def core(graph):
        name = "layers.0.attention.core:forward"
        return graph.operators[graph.operator_index[name]].flops

    mistral = {**LLAMA, "model_type": "mistral", "sliding_window": 50}
    full = core(load(LLAMA, sequence=100, granularity="operator"))
    assert core(load(LLAMA, sequence=100, granularity="operator", causal_half=True)) == full / 2
    assert core(load(mistral, sequence=100, granularity="operator")) == full / 2
    half = core(load(mistral, sequence=100, granularity="operator", causal_half=True))
    # Tokens 1..50 see 1..50 positions (halves counted), the others 50 each.
    assert half == full * (100 * 50 - 50**2 / 2) / 100**2


@pytest.mark.parametrize("name", CONFIGS)
def test_every_published_shape_can_be_priced(name, data_dir):
    graph = HuggingFace().load(data_dir / "configs" / f"{name}.json", {"granularity": "layer"})
    priced = price(graph, [device_preset("h100"), device_preset("a100")], [Roofline()])
    assert all(set(o.modes[0].seconds) == {"h100", "a100-80gb"} for o in priced.operators)


@pytest.fixture(scope="module")
def megatron(data_dir, tmp_path_factory):
    """Graphs of the models that Megatron-LM was measured with on A100s, with the measurements."""
    text = (data_dir / "megatron" / "iteration_times.csv").read_text()
    rows = [r for r in csv.DictReader(text.splitlines()) if r["mode"] == "selective+sp"]
    found = {}
    for row in rows:
        config = {
            "model_type": "gpt2",
            "n_embd": int(row["hidden"]),
            "n_layer": int(row["layers"]),
            "n_head": int(row["heads"]),
            "n_positions": int(row["seq"]),
            "vocab_size": int(row["vocab"]),
        }
        path = tmp_path_factory.mktemp("megatron") / f"{row['model']}.json"
        path.write_text(json.dumps(config))
        options = {"sequence": int(row["seq"]), "granularity": "layer", "gradient_bytes": 4}
        found[row["model"]] = (HuggingFace().load(path, options), row)
    return found


@pytest.mark.parametrize(
    ("model", "published"),
    [
        ("megatron-22B", 0.415),
        ("gpt3-175B", 0.514),
        ("turing-530B", 0.560),
        ("megatron-1T", 0.563),
    ],
)
def test_work_gives_the_published_utilization(megatron, model, published):
    """Model FLOPs utilization of Megatron-LM on A100: arXiv 2205.05198, table 5."""
    graph, row = megatron[model]
    work = sum(o.flops for o in graph.operators) * int(row["global_batch"])
    reached = work / (float(row["iteration_s"]) * int(row["gpus"]) * 312e12)
    assert reached == pytest.approx(published, abs=0.002)


@pytest.mark.parametrize("model", ["megatron-22B", "gpt3-175B", "turing-530B", "megatron-1T"])
def test_state_is_as_large_as_published(megatron, model):
    """Weights, fp32 gradients and optimizer, evenly shared out: 0.1 to 1.5% above theirs."""
    graph, row = megatron[model]
    ways = int(row["tensor_parallel"]) * int(row["pipeline_parallel"])
    state = sum(group.bytes for group in graph.parameters) / ways / 2**30
    assert state == pytest.approx(float(row["params_optimizer_gib"]), rel=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "lama"}, "model_type: 'lama' is not known; did you mean 'llama'"),
        ({"model_type": None}, "model_type: is missing or no text; known: llama, mistral"),
        ({"hidden_size": None}, "hidden_size: is missing; a 'llama' model needs it"),
        ({"hidden_size": "64"}, "hidden_size: '64' is not of type int"),
        ({"hidden_size": 62}, "hidden_size: 62 cannot be divided by 4 heads"),
        ({"vocab_size": 0}, "vocab_size: 0 must be at least 1"),
        ({"attention_dropout": 2}, "attention_dropout: 2 is no probability"),
    ],
)
def test_a_bad_configuration_names_file_and_key(load, change, message):
    with pytest.raises(InputError, match=message) as error:
        load({**LLAMA, **change})
    assert error.value.file.endswith("tiny.json")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sequense": 5}, r"model.options.sequense: .*did you mean 'sequence'"),
        ({"sequence": 0}, r"model.options.*sequence is 0; it must be at least 1"),
        ({"granularity": "op"}, r"model.options.granularity: .*operator"),
    ],
)
def test_a_bad_option_names_its_key(load, options, message):
    with pytest.raises(InputError, match=message):
        load(LLAMA, **options)


def test_learned_positions_limit_the_sequence(load):
    with pytest.raises(InputError, match="200 tokens does not fit the model's 128 learned"):
        load(GPT2, sequence=200)


def test_a_file_that_is_no_json_object_is_refused(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"model_type":\n oops')
    with pytest.raises(InputError, match="is not JSON") as error:
        HuggingFace().load(path, {})
    assert error.value.line == 2
    path.write_text("[]")
    with pytest.raises(InputError, match="is not a JSON object"):
        HuggingFace().load(path, {})


@pytest.mark.parametrize("granularity", ["operator", "block", "layer"])
def test_modules_of_a_first_stage_have_one_backward_pass(load, granularity):
    split = load(LLAMA, granularity=granularity)
    graph = load(LLAMA, granularity=granularity, whole_backward=["embedding", "layers.0"])
    kinds = {kind: {o.module for o in graph.operators if o.kind is kind} for kind in Kind}
    first = {o.module for o in graph.operators if o.module.startswith(("embedding", "layers.0"))}
    apart = kinds[Kind.BACKWARD_INPUT] | kinds[Kind.BACKWARD_WEIGHT]
    assert kinds[Kind.BACKWARD]
    assert kinds[Kind.BACKWARD] <= first
    assert not apart & first
    backwards = (Kind.BACKWARD, Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT)
    assert flops(graph, *backwards) == flops(split, *backwards)
    assert saved(graph, "layers.1") == saved(split, "layers.1")
    with pytest.raises(InputError, match=r"no module matches 'layers\.9'"):
        load(LLAMA, whole_backward=["layers.9"])
