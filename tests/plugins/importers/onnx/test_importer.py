"""Models of ONNX: work by shapes alone, backward passes as PyTorch has them, files as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

import parplan
from parplan.api import import_model, load_registry
from parplan.cli import main
from parplan.errors import InputError
from parplan.graph import Graph, Kind
from tests.plugins.importers.onnx_models import decoder, node, numbers, save, tensor, weight

BACKWARD = (Kind.BACKWARD, Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT)
SIZES = {"batch": 2, "positions": 8}


def read(path: Path, **options: Any) -> Graph:
    return import_model("onnx", path, options, registry=load_registry())


def flops(graph: Graph, *kinds: Kind) -> float:
    return sum(o.flops for o in graph.operators if o.kind in kinds)


def one(tmp_path: Path, kind: str, reads: list[Any], weights: list[Any], **given: Any) -> Graph:
    """The forward pass of a model of one node."""
    names = [value.name for value in (*reads, *weights)]
    made = tensor("y", element=reads[0].type.tensor_type.elem_type)
    path = save(tmp_path / "one.onnx", [node(kind, names, ["y"], **given)], reads, [made], weights)
    return read(path, workload="inference")


class Block(nn.Module):
    """What `onnx_models.decoder` writes as a block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.q, self.k, self.v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = [
            part(normed).unflatten(-1, (4, -1)).transpose(1, 2)
            for normed in (self.norm(x),)
            for part in (self.q, self.k, self.v)
        ]
        mixed = nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + mixed.transpose(1, 2).flatten(2)
        return x + self.down(nn.functional.gelu(self.up(x)))


class Model(nn.Module):
    """The same model in PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 32)
        self.layers = nn.ModuleList([Block(32) for _ in range(2)])

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        return x @ self.embedding.weight.T


def kept(graph: Graph) -> int:
    index = graph.operator_index
    kinds = {name: graph.operators[at].kind for name, at in index.items()}
    return sum(
        made.bytes
        for made in graph.tensors
        if kinds[made.producer] is Kind.FORWARD
        and any(kinds[name] in BACKWARD for name in made.consumers)
    )


def test_a_model_is_the_one_that_pytorch_traces(tmp_path: Path) -> None:
    """The same operators, work, kept bytes and parameters as by the importer ``torch``."""
    tokens = torch.zeros(2, 8, dtype=torch.long)
    traced = parplan.from_torch(Model(), (tokens,), granularity="operator")
    graph = read(decoder(tmp_path / "m.onnx"), dimensions=SIZES, granularity="operator")
    assert flops(graph, Kind.FORWARD) == flops(traced, Kind.FORWARD) > 0
    assert flops(graph, *BACKWARD) == flops(traced, *BACKWARD)
    assert kept(graph) == kept(traced)
    assert sum(g.count for g in graph.parameters) == sum(g.count for g in traced.parameters)
    assert len(graph.operators) == len(traced.operators)


def test_modules_are_those_of_the_exporter(tmp_path: Path) -> None:
    graph = read(decoder(tmp_path / "m.onnx"), dimensions=SIZES, granularity="layer")
    forward = [o.name for o in graph.operators if o.kind is Kind.FORWARD]
    assert forward == ["embedding:forward", "layers.0:forward", "layers.1:forward", "head:forward"]
    readers = [o.name for o in graph.operators if "embedding.weight" in o.parameters]
    assert {"embedding:forward", "head:forward"} <= set(readers)  # tied: one group, two readers


def test_without_modules_every_node_is_one(tmp_path: Path) -> None:
    path = decoder(tmp_path / "m.onnx", scopes=False)
    graph = read(path, dimensions=SIZES, workload="inference")
    assert "node_layers.0.active:forward" in {o.name for o in graph.operators}


@pytest.mark.parametrize(
    ("kind", "reads", "weights", "given", "expected"),
    [
        ("Conv", [(2, 4, 9, 9)], [(6, 2, 3, 3)], {"group": 2}, 2 * (2 * 6 * 7 * 7) * 2 * 9),
        ("ConvTranspose", [(2, 4, 9, 9)], [(4, 6, 3, 3)], {}, 2 * (2 * 4 * 81) * 6 * 9),
        ("Gemm", [(5, 3)], [(5, 7)], {"transA": 1}, 2 * 3 * 5 * 7),
        ("MatMul", [(3, 4, 5)], [(3, 5, 6)], {}, 2 * 3 * 4 * 5 * 6),
        ("Einsum", [(2, 3, 4), (2, 5, 4)], [], {"equation": "bik, bjk -> bij"}, 2 * 2 * 15 * 4),
        ("Einsum", [(2, 3, 4), (4, 5)], [], {"equation": "...k,kj"}, 2 * 2 * 3 * 4 * 5),
        ("Attention", [(2, 4, 6, 8), (2, 2, 10, 8), (2, 2, 10, 3)], [], {},
         2 * (2 * 4 * 6) * 10 * (8 + 3)),
        ("LSTM", [(5, 2, 3)], [(1, 16, 3), (1, 16, 4)], {"hidden_size": 4}, 2 * 10 * 16 * 7),
        ("Relu", [(5, 2)], [], {}, 0),
    ],
)  # fmt: skip
def test_work_follows_from_shapes(
    tmp_path: Path, kind: str, reads: Any, weights: Any, given: Any, expected: int
) -> None:
    inputs = [tensor(f"x{at}", *shape) for at, shape in enumerate(reads)]
    made = [weight(f"w{at}", *shape) for at, shape in enumerate(weights)]
    assert flops(one(tmp_path, kind, inputs, made, **given), Kind.FORWARD) == expected


def test_constants_and_shapes_are_no_operators(tmp_path: Path) -> None:
    """A reshape by the shape of another tensor, and a mask that is made of constants."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Slice", ["shape", "zero", "one"], ["rows"]),
        node("Concat", ["rows", "rest"], ["wanted"], axis=0),
        node("Reshape", ["x", "wanted"], ["flat"]),
        node("ConstantOfShape", ["rest"], ["mask"]),
        node("MatMul", ["flat", "w"], ["product"]),
        node("Mul", ["product", "mask"], ["y"]),
    ]
    constants = [numbers("zero", 0), numbers("one", 1), numbers("rest", 12), weight("w", 12, 12)]
    path = save(tmp_path / "m.onnx", nodes, [tensor("x", "n", 3, 4)], [tensor("y")], constants)
    graph = read(path, dimensions={"n": 5}, workload="inference")
    assert [o.name for o in graph.operators] == ["node_product:forward", "node_y:forward"]
    assert flops(graph, Kind.FORWARD) == 2 * 5 * 12 * 12


def test_frozen_weights_and_statistics_get_no_gradient(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", ["x", "first"], ["a"]),
        node("BatchNormalization", ["a", "scale", "bias", "mean", "variance"], ["b"]),
        node("MatMul", ["b", "second"], ["y"]),
    ]
    sizes = {"first": (4, 6), "second": (6, 2)}
    weights = [weight(name, *shape) for name, shape in sizes.items()]
    weights += [weight(name, 6) for name in ("scale", "bias", "mean", "variance")]
    path = save(tmp_path / "m.onnx", nodes, [tensor("x", 3, 4)], [tensor("y")], weights)
    graph = read(path, frozen=["first"], granularity="operator")
    groups = {group.name: group for group in graph.parameters}
    assert set(groups) == {"first", "scale", "bias", "second"}
    assert groups["first"].gradient_bytes == 0 == groups["first"].optimizer_bytes
    assert groups["second"].gradient_bytes == 4 * 6 * 2
    assert flops(graph, *BACKWARD) == 2 * (2 * 3 * 6 * 2)


@pytest.mark.parametrize("opset", [7, 11, 12, 17, 21, 25])
def test_every_version_of_the_operators_means_the_same(tmp_path: Path, opset: int) -> None:
    """What was an attribute became an input: axes in version 13, bounds in 11, ratios in 12."""
    axes = {} if opset >= 13 else {"axes": [0]}
    bounds = {} if opset >= 11 else {"min": 0.0, "max": 1.0}
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Unsqueeze", ["a"] if axes else ["a", "axis"], ["b"], **axes),
        node("ReduceSum", ["b"] if axes else ["b", "axis"], ["c"], keepdims=0, **axes),
        node("Softmax", ["c"], ["d"], axis=1),
        node("Dropout", ["d"], ["e", "mask"], **({"ratio": 0.1} if opset < 12 else {})),
        node("Clip", ["e"] if bounds else ["e", "low", "high"], ["y"], **bounds),
    ]
    weights = [weight("w", 8, 8), numbers("axis", 0)]
    weights += [helper.make_tensor(n, TensorProto.FLOAT, [], [0.0]) for n in ("low", "high")]
    path = save(tmp_path / "m.onnx", nodes, [tensor("x", 2, 8)], [tensor("y")], weights, opset)
    graph = read(path, granularity="operator")
    forward = [o.name for o in graph.operators if o.kind is Kind.FORWARD]
    assert forward == [
        "node_a.matmul:forward", "node_c.sum:forward", "node_d.softmax:forward",
        "node_y.clamp:forward",
    ]  # fmt: skip
    assert flops(graph, Kind.FORWARD) == 2 * 2 * 8 * 8
    assert [group.name for group in graph.parameters] == ["w"]


def test_scales_of_numbers_are_not_trained(tmp_path: Path) -> None:
    """Weights of four bits, their scales by blocks, and the sizes that a resize reads."""
    nodes = [
        node("DequantizeLinear", ["packed", "scales"], ["wide"], axis=0, block_size=4),
        node("MatMul", ["x", "wide"], ["a"]),
        node("MatMul", ["a", "w"], ["b"]),
        node("Resize", ["b", "", "factors"], ["y"]),
    ]
    weights = [
        weight("packed", 8, 4, element=TensorProto.INT4),
        weight("scales", 2, 4),
        weight("w", 4, 4),
        helper.make_tensor("factors", TensorProto.FLOAT, [2], [1.0, 2.0]),
    ]
    path = save(tmp_path / "m.onnx", nodes, [tensor("x", 2, 8)], [tensor("y")], weights)
    groups = {group.name: group for group in read(path, granularity="operator").parameters}
    assert {name: group.weight_bytes for name, group in groups.items()} == {
        "packed": 16, "scales": 32, "w": 64
    }  # fmt: skip
    assert [name for name, group in groups.items() if group.gradient_bytes] == ["w"]


def test_weights_may_be_larger_than_any_file(tmp_path: Path) -> None:
    """Of 64 GiB, which are not there."""
    graph = one(tmp_path, "MatMul", [tensor("x", 1, 2**17)], [weight("w", 2**17, 2**17)])
    assert sum(group.weight_bytes for group in graph.parameters) == 2**36


def test_bytes_follow_the_element_type(tmp_path: Path) -> None:
    half = [tensor("x", 3, 4, element=TensorProto.FLOAT16)]
    graph = one(tmp_path, "MatMul", half, [weight("w", 4, 5, element=TensorProto.FLOAT16)])
    (operator,) = graph.operators
    assert operator.dtype == "fp16"
    assert operator.bytes_touched == 2 * (12 + 20 + 15)


def test_the_command_reads_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = decoder(tmp_path / "m.onnx")
    out = tmp_path / "m.json"
    sizes = "dimensions={batch: 2, positions: 8}"
    assert main(["import", "onnx", str(path), "--set", sizes, "-o", str(out)]) == 0
    assert "operators" in capsys.readouterr().out
    assert main(["import", "onnx", str(path)]) == 2
    assert "batch, positions" in capsys.readouterr().err


def test_what_is_no_model_is_one_clear_error(tmp_path: Path) -> None:
    content = decoder(tmp_path / "m.onnx").read_bytes()
    for number, bad in enumerate(
        (b"", b"{}", b"\0" * 99, content[:-1], content[: len(content) // 2])
    ):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(bad)
        with pytest.raises(InputError, match="no ONNX file"):
            read(path, dimensions=SIZES)


def test_a_name_that_is_no_text_is_one_clear_error(tmp_path: Path) -> None:
    path = decoder(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes().replace(b"logits", b"log\xffts"))
    with pytest.raises(InputError, match="no text"):
        read(path, dimensions=SIZES)


def test_faults_name_the_node(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [node("Identity", ["x"], ["inner"])], "branch", [], [tensor("inner", 2)]
    )
    cases = [
        (node("If", ["c"], ["y"], then_branch=branch, else_branch=branch), "depends on data"),
        (node("NonZero", ["x"], ["y"]), "depends on data"),
        (node("Relu", ["z"], ["y"]), "reads 'z', which nothing"),
        (node("Magic", ["x"], ["y"], domain="my.own"), "'my.own.Magic', whose work is not known"),
        (node("Relu", ["x"], ["x"]), "makes 'x', which is there already"),
        (node("FusedMatMul", ["x", "x"], ["y"], domain="com.microsoft"), "ONNX Runtime joins"),
        (node("SimplifiedLayerNormalization", ["x", "x"], ["y"]), "ONNX Runtime joins"),
        (node("Scan", ["x"], ["y"], body=branch, num_scan_inputs=1), "depends on data"),
    ]
    inputs = [tensor("x", 2), helper.make_tensor_value_info("c", TensorProto.BOOL, [])]
    for number, (bad, message) in enumerate(cases):
        path = save(tmp_path / f"{number}.onnx", [bad], inputs, [tensor("y")], [])
        with pytest.raises(InputError, match=message) as caught:
            read(path)
        assert "node_" in str(caught.value)


def test_sizes_are_asked_for_and_checked(tmp_path: Path) -> None:
    path = decoder(tmp_path / "m.onnx")
    for sizes, message in (
        ({}, "batch, positions"),
        ({"batch": 2}, "open: positions"),
        ({**SIZES, "bach": 2}, "did you mean 'batch'"),
        ({**SIZES, "batch": 0}, "at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            read(path, dimensions=sizes)
