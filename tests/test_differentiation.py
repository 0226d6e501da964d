import pytest

from parplan.differentiation import Layer, Update, Work, inference_graph, training_graph
from parplan.graph import Kernel, Kind, ParameterGroup, Repeat


def layer(name, reads=(), size=8, *, weights=True, **fields):
    return Layer(
        name=name,
        module=name,
        reads=reads,
        writes={name: size},
        forward=Work((Kernel(1.0, 1.0),)),
        backward_input=fields.pop("backward_input", Work((Kernel(2.0, 1.0),), reads)),
        backward_weight=Work((Kernel(4.0, 1.0),), reads) if weights else None,
        parameters=(name,) if weights else (),
        **fields,
    )


def training(layers, *, split=True):
    groups = [ParameterGroup(name, 1) for x in layers for name in x.parameters]
    updates = [Update(g.name, (g.name,), Work((Kernel(0.0, 1.0),))) for g in groups]
    return training_graph("g", layers, groups, updates, split=lambda _: split)


def readers(graph):
    return {t.name: set(t.consumers) for t in graph.tensors}


def test_a_chain_goes_forward_backward_and_updates():
    graph = training([layer("a", backward_input=None), layer("b", ("a",))])
    assert [o.name for o in graph.operators] == [
        "a:forward",
        "b:forward",
        "b:backward-input",
        "b:backward-weight",
        "a:backward-weight",
        "a:optimizer",
        "b:optimizer",
    ]
    assert readers(graph) == {
        "a": {"b:forward", "b:backward-input", "b:backward-weight"},
        "b": set(),
        "a:gradient": {"a:backward-weight"},
        # Nothing else says that these come after their own forward pass.
        "b:backward-input:start": {"b:backward-input"},
        "b:backward-weight:start": {"b:backward-weight"},
        "b:backward-weight:done": {"b:optimizer"},
        "a:backward-weight:done": {"a:optimizer"},
    }
    assert graph.operators[-1].repeat is Repeat.STEP


def test_whole_backward_is_the_sum_of_its_parts():
    graph = training([layer("a", backward_input=None), layer("b", ("a",))], split=False)
    whole = graph.operators[graph.operator_index["b:backward"]]
    assert (whole.kind, whole.flops, len(whole.kernels)) == (Kind.BACKWARD, 6.0, 2)
    assert graph.operator_index.keys() >= {"a:backward", "b:optimizer"}


def test_each_reader_contributes_to_a_gradient():
    graph = training([layer("a"), layer("b", ("a",)), layer("c", ("a",)), layer("d", ("b", "c"))])
    found = readers(graph)
    for part in ("a:gradient:b", "a:gradient:c"):
        assert found[part] == {"a:backward-input", "a:backward-weight"}
    assert found["b:gradient"] == {"b:backward-input", "b:backward-weight"}


def test_a_residual_connection_hands_the_gradient_on():
    inner = layer("b", ("a",))
    joined = layer("c", ("b", "a"), residual=("a",))
    found = readers(training([layer("a"), inner, joined, layer("d", ("c",))]))
    # The gradient of c serves c, and past it b, which adds it to its own part.
    assert found["c:gradient"] == {"c:backward-input", "c:backward-weight", "b:backward-input"}
    assert found["a:gradient"] == {"a:backward-input", "a:backward-weight"}


def test_a_residual_without_another_reader_reaches_the_producer():
    joined = layer("c", ("b", "a"), residual=("a",))
    layers = [layer("a"), layer("b"), joined, layer("d", ("c",))]
    found = readers(training(layers))
    assert {"a:backward-input", "a:backward-weight"} < found["c:gradient"]
    assert "a:gradient" not in found


def test_layers_without_weights_update_nothing():
    graph = training([layer("a"), layer("b", ("a",), weights=False)])
    assert [o.name for o in graph.operators if o.kind is Kind.OPTIMIZER] == ["a:optimizer"]
    kinds = {o.kind for o in graph.operators if o.module == "b"}
    assert kinds == {Kind.FORWARD, Kind.BACKWARD_INPUT}


def test_a_gradient_may_differ_in_size():
    last = layer("b", ("a",), gradient_bytes={"a": 3})
    graph = training([layer("a"), last])
    assert graph.tensors[graph.tensor_index["a:gradient"]].bytes == 3


@pytest.mark.parametrize("split", [True, False])
def test_measured_seconds_add_up(split):
    timed = Layer(
        "a",
        "a",
        (),
        {"a": 1},
        Work(seconds={"v100": 1.0}),
        Work(seconds={"v100": 2.0}, workspace_bytes=5),
        Work(seconds={"v100": 3.0}, workspace_bytes=7),
        source="a profile",
    )
    graph = training([timed], split=split)
    backward = [o.modes[0] for o in graph.operators if o.kind is not Kind.FORWARD]
    assert sum(mode.seconds["v100"] for mode in backward) == 5.0
    assert max(mode.workspace_bytes for mode in backward) == 7
    assert {mode.source for mode in backward} == {"a profile"}


def test_inference_keeps_the_forward_passes():
    groups = [ParameterGroup("a"), ParameterGroup("b")]
    graph = inference_graph("g", [layer("a"), layer("b", ("a",))], groups)
    assert [o.name for o in graph.operators] == ["a:forward", "b:forward"]
    assert readers(graph) == {"a": {"b:forward"}, "b": set()}
