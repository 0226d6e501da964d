"""PipeDream profiles: nothing measured is lost, gradients flow where they should."""

import re

import networkx as nx
import pytest

from parplan.costs import price
from parplan.errors import InputError
from parplan.graph import Kind, Repeat
from parplan.plugins.costs.measured import Measured
from parplan.plugins.costs.roofline import Roofline
from parplan.plugins.importers.pipedream.importer import PipeDream
from parplan.plugins.importers.pipedream.profile import read_profile
from parplan.spec.presets import device_preset

PROFILES = {
    "image_classification": [
        "alexnet",
        "inception_v3",
        "nasnetalarge",
        "resnet101",
        "resnet18",
        "resnet50",
        "resnext101",
        "resnext50",
        "squeezenet1_0",
        "vgg16",
    ],
    "translation": ["gnmt"],
}
CASES = [(family, name) for family, names in PROFILES.items() for name in names]
MODELS = (Measured(), Roofline())


def line(name, description, forward, backward, activations, parameters=0):
    return (
        f"{name} -- {description} -- forward_compute_time={forward}, "
        f"backward_compute_time={backward}, activation_size={activations}, "
        f"parameter_size={parameters}\n"
    )


TINY = (
    line("n1", "Input", 0, 0, 100)
    + line("n2", "Linear(in_features=25, out_features=10, bias=True)", 1, 2, 40, 1040)
    + line("n3", "LSTM(10, 10)", 3, 4, "[40.0; 8.0]", 800)
    + line("n4", "__getitem__(0)", 0, 0, 40)
    + line("n5", "__getitem__(1)", 0, 0, 8)
    + line("n6", "Add(inplace)", 0, 0, 40)
    + line("n7", "ReLU(inplace)", 1, 1, 40)
    + "\tn1 -- n2\n\tn2 -- n3\n\tn3 -- n4\n\tn3 -- n5\n\tn4 -- n6\n\tn2 -- n6\n\tn6 -- n7\n"
)


@pytest.fixture
def load(tmp_path):
    def call(text=TINY, **options):
        path = tmp_path / "tiny.txt"
        path.write_text(text)
        return PipeDream().load(path, options)

    return call


def tensors(graph):
    return {t.name: t for t in graph.tensors}


def seconds(graph, *kinds):
    return sum(o.modes[0].seconds["v100"] for o in graph.operators if o.kind in kinds)


@pytest.mark.parametrize("backward", ["whole", "split"])
@pytest.mark.parametrize(("family", "name"), CASES)
def test_published_profiles_keep_every_second_byte_and_edge(family, name, backward, data_dir):
    path = data_dir / "pipedream" / "profiler" / family / "profiles" / name / "graph.txt"
    text = path.read_text()

    def total(key):
        return sum(float(value) for value in re.findall(rf"{key}=([0-9.]+)", text))

    graph = PipeDream().load(path, {"backward": backward})
    assert graph.name == name
    assert seconds(graph, Kind.FORWARD) == pytest.approx(total("forward_compute_time") / 1e3)
    kinds = (Kind.BACKWARD, Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT)
    assert seconds(graph, *kinds) == pytest.approx(total("backward_compute_time") / 1e3)
    assert sum(g.weight_bytes for g in graph.parameters) == total("parameter_size")
    forward = {o.name for o in graph.operators if o.kind is Kind.FORWARD}
    edges = {(t.producer, c) for t in graph.tensors for c in t.consumers if c in forward}
    labels = {n.name: f"{n.label}:forward" for n in read_profile(path)}
    written = set(re.findall(r"^\t(\S+) -- (\S+)$", text, re.MULTILINE))
    assert edges == {(labels[a], labels[b]) for a, b in written}
    # Each group is updated, after every backward pass that makes its gradient.
    updated = [p for o in graph.operators if o.kind is Kind.OPTIMIZER for p in o.parameters]
    assert sorted(updated) == sorted(group.name for group in graph.parameters)


@pytest.mark.parametrize(("family", "name"), CASES)
def test_published_profiles_can_be_priced_on_v100_and_scaled(family, name, data_dir):
    path = data_dir / "pipedream" / "profiler" / family / "profiles" / name / "graph.txt"
    graph = price(PipeDream().load(path, {}), [device_preset("v100")], MODELS)
    assert all("v100" in o.modes[0].seconds for o in graph.operators)
    devices = [device_preset("v100"), device_preset("a100")]
    graph = price(PipeDream().load(path, {}), devices, (Measured(scale=True), Roofline()))
    assert all(set(o.modes[0].seconds) == {"v100", "a100-80gb"} for o in graph.operators)


def test_passes_of_a_small_profile(load):
    graph = load()
    names = {o.name for o in graph.operators}
    assert "n1.Input:backward" not in names  # nothing to learn before the first weights
    assert "n5.__getitem__:backward" not in names  # a result that nobody uses
    found = tensors(graph)
    # One tensor per element of a tuple, read by the node that picks it.
    assert found["n3.LSTM.0"].consumers == ("n4.__getitem__:forward",)
    assert (found["n3.LSTM.1"].bytes, found["n3.LSTM.1"].consumers) == (
        8,
        ("n5.__getitem__:forward",),
    )
    # n2's result has two readers: each sends its part of the gradient.
    assert found["n2.Linear:gradient:n6.Add"].consumers == ("n2.Linear:backward",)
    assert found["n2.Linear:gradient:n3.LSTM"].consumers == ("n2.Linear:backward",)
    # Kept: inputs of what took time; the result of what worked in place; nothing for views.
    assert set(found["n2.Linear"].consumers) == {
        "n3.LSTM:forward",
        "n6.Add:forward",
        "n3.LSTM:backward",
    }
    assert found["n6.Add"].consumers == ("n7.ReLU:forward",)
    assert found["n7.ReLU"].consumers == ("n7.ReLU:backward",)
    optimizer = graph.operators[graph.operator_index["n3.LSTM:optimizer"]]
    assert optimizer.repeat is Repeat.STEP
    assert optimizer.modes[0].seconds == {}
    assert found["n3.LSTM:backward:done"].consumers == ("n3.LSTM:optimizer",)


def test_backward_comes_after_forward(load):
    for backward in ("whole", "split"):
        graph = load(backward=backward)
        for operator in graph.operators:
            if operator.kind is not Kind.FORWARD:
                source = graph.operator_index[f"{operator.module}:forward"]
                target = graph.operator_index[operator.name]
                assert nx.has_path(graph.digraph, source, target)


def test_split_shares_out_the_backward_time_where_there_are_weights(load):
    graph = load(backward="split", weight_share=0.25)
    at = {o.name: o.modes[0].seconds.get("v100") for o in graph.operators}
    assert at["n3.LSTM:backward-input"] == pytest.approx(3e-3)
    assert at["n3.LSTM:backward-weight"] == pytest.approx(1e-3)
    assert at["n7.ReLU:backward-input"] == pytest.approx(1e-3)
    assert "n7.ReLU:backward-weight" not in at
    # Nobody needs the gradient of the input: the first layer's time is all for its weights.
    assert at["n2.Linear:backward-weight"] == pytest.approx(2e-3)
    assert "n2.Linear:backward-input" not in at


def test_microbatch_scale_holds_for_times_and_activations_only(load):
    half = load(microbatch_scale=0.5)
    assert seconds(half, Kind.FORWARD) == pytest.approx(2.5e-3)
    assert tensors(half)["n2.Linear"].bytes == 20
    assert half.parameters[0].weight_bytes == 1040
    assert half.operators[1].flops == load().operators[1].flops / 2


def test_work_of_dense_nodes_is_known(load):
    graph = load()
    flops = {o.name: o.flops for o in graph.operators}
    assert flops["n2.Linear:forward"] == 2 * 25 * 10
    assert flops["n3.LSTM:forward"] == 2 * 4 * (10 + 10) * 10
    assert flops["n3.LSTM:backward"] == 2 * flops["n3.LSTM:forward"]
    assert flops["n7.ReLU:forward"] == 0


def test_resnet_50_takes_four_billion_multiply_adds_per_image(examples):
    """Published: about 4.1 x 10^9 multiply-adds per image (torchvision); the batch is 128."""
    graph = PipeDream().load(examples / "profiles" / "resnet50" / "graph.txt", {})
    work = sum(o.flops for o in graph.operators if o.kind is Kind.FORWARD)
    assert work / 2 / 128 == pytest.approx(4.1e9, rel=0.01)


def test_inference_is_the_forward_passes(load):
    graph = load(workload="inference")
    assert {o.kind for o in graph.operators} == {Kind.FORWARD}
    assert [g.bytes for g in graph.parameters] == [1040, 800]


def test_weights_gradients_and_momentum_are_resident(load):
    assert load().parameters[0].bytes == 3 * 1040
    assert load(optimizer_bytes_per_weight_byte=2).parameters[0].bytes == 4 * 1040
    bare = load(optimizer=False)
    assert bare.parameters[0].bytes == 2 * 1040
    assert not list(bare.with_kind(Kind.OPTIMIZER))


def test_seconds_name_profile_and_device(load):
    graph = load(device_kind="p100")
    mode = graph.operators[0].modes[0]
    assert mode.seconds == {"p100": 0.0}
    assert mode.source == "PipeDream profile tiny, measured on p100"


@pytest.mark.parametrize(
    ("text", "number", "message"),
    [
        ("node1 -- Input\n", 1, "is neither a node .* nor an edge"),
        (line("a", "X", "fast", 0, 0), 1, "forward_compute_time: 'fast' is no number"),
        (line("a", "X", 0, -1, 0), 1, "backward_compute_time: '-1' is no number from 0 up"),
        (line("a", "X", 0, 0, "[1; nan]"), 1, "activation_size: 'nan' is no number"),
        (line("a", "X", 0, 0, 0) * 2, 2, "'a' is defined in line 1 too"),
        (line("a", "X", 0, 0, 0) + "\ta -- b\n", 2, "the edge names 'b', which is no node"),
        (line("a", "X", 0, 0, 0) + "\ta -- a\n", 1, "has a cycle: a -> a"),
        ("\n", None, "has no nodes"),
    ],
)
def test_a_bad_profile_names_file_and_line(load, text, number, message):
    with pytest.raises(InputError, match=message) as error:
        load(text)
    assert error.value.line == number
    assert error.value.file.endswith("tiny.txt")


@pytest.mark.parametrize(
    "options",
    [
        {"weight_share": 0},
        {"microbatch_scale": 0},
        {"device_kind": ""},
        {"optimizer_bytes_per_weight_byte": -1},
        {"backwards": "whole"},
    ],
)
def test_a_bad_option_is_refused(load, options):
    with pytest.raises(InputError, match=next(iter(options))):
        load(**options)
