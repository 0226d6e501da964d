"""The modes that recomputation adds."""

from __future__ import annotations

import attrs
import pytest

from parplan.errors import InputError
from parplan.graph import Graph, Kind, Mode, Operator, Tensor
from parplan.plugins.strategies.recompute import Recompute
from tests.examples import block


def test_both_modes_of_forward_and_backward() -> None:
    graph = Recompute().apply(block(2).graph, {})
    forward = {m.name: m for m in graph.operators[graph.operator_index["layers.1:forward"]].modes}
    assert forward["keep"].writes is None
    assert forward["recompute"].writes == {"layers.1:forward>": 1}
    backward = {m.name: m for m in graph.operators[graph.operator_index["layers.1:backward"]].modes}
    assert backward["keep"].reads == ("layers.1.saved", "loss>")
    assert backward["recompute"].reads == ("loss>", "layers.0:forward>")
    assert backward["recompute"].seconds == {"*": 3.0}
    assert backward["recompute"].flops == 3.0
    assert backward["recompute"].workspace_bytes == 4
    assert graph.tensors[graph.tensor_index["layers.0:forward>"]].consumers == (
        "layers.1:forward",
        "layers.1:backward",
    )


def test_only_the_blocks_that_are_meant() -> None:
    graph = Recompute(blocks=("layers.1",)).apply(block(2).graph, {})
    modes = {o.name: len(o.modes) for o in graph.operators}
    assert modes == {
        "layers.0:forward": 1,
        "layers.1:forward": 2,
        "loss": 1,
        "layers.0:backward": 1,
        "layers.1:backward": 2,
    }


def test_seconds_that_a_cost_model_fills_later_stay_open() -> None:
    graph = block(1).graph
    bare = tuple(attrs.evolve(o, modes=()) for o in graph.operators)
    made = Recompute().apply(attrs.evolve(graph, operators=bare), {})
    assert [(m.name, m.seconds, m.flops) for m in made.operators[2].modes] == [
        ("keep", {}, None),
        ("recompute", {}, 3.0),
    ]


def test_modes_of_other_strategies_are_doubled() -> None:
    graph = block(1).graph
    modes = (Mode(seconds={"*": 1.0}), Mode("tensor-2", devices=2, seconds={"*": 0.5}))
    sharded = tuple(attrs.evolve(o, modes=modes) for o in graph.operators)
    made = Recompute().apply(attrs.evolve(graph, operators=sharded), {})
    assert [(m.name, m.devices, m.seconds["*"]) for m in made.operators[2].modes] == [
        ("keep", 1, 1.0),
        ("recompute", 1, 2.0),
        ("tensor-2/keep", 2, 0.5),
        ("tensor-2/recompute", 2, 1.0),
    ]


def test_durations_of_other_devices_cannot_be_added() -> None:
    graph = block(1).graph
    other = attrs.evolve(graph.operators[2], modes=(Mode(seconds={"slow": 1.0}),))
    fast = attrs.evolve(graph.operators[0], modes=(Mode(seconds={"fast": 1.0}),))
    with pytest.raises(InputError, match="seconds for other device kinds"):
        Recompute().apply(attrs.evolve(graph, operators=(fast, graph.operators[1], other)), {})


def test_a_forward_pass_that_only_backward_passes_need_is_not_computed_later_instead() -> None:
    graph = block(1).graph
    alone = attrs.evolve(graph, tensors=graph.tensors[:1])
    assert alone.tensors[0].name == "layers.0.saved"
    with pytest.raises(InputError, match="has saved tensors"):
        Recompute().apply(alone, {})


def test_a_model_without_saved_tensors_is_told() -> None:
    graph = Graph(
        "plain",
        (Operator("a"), Operator("b", Kind.FORWARD)),
        (Tensor("t", "a", ("b",), 1),),
    )
    with pytest.raises(InputError, match="has saved tensors"):
        Recompute().apply(graph, {})
