"""Small models of ONNX, made node by node; their weights are absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

SCOPES = "pkg.torch.onnx.name_scopes"
OPSET = 23


def node(kind: str, reads: list[str], makes: list[str], module: str = "", **given: Any) -> Any:
    """Return a node as PyTorch's exporter writes it, with the modules that it stands in."""
    made = helper.make_node(kind, reads, makes, name=f"node_{makes[0]}", **given)
    if module:
        parts = module.split(".")
        scopes = ["", *(".".join(parts[: at + 1]) for at in range(len(parts))), makes[0]]
        helper.set_metadata_props(made, {SCOPES: repr(scopes)})
    return made


def weight(name: str, *shape: int, element: int = TensorProto.FLOAT) -> Any:
    """Return an initializer whose values are in a file that is not there."""
    made = onnx.TensorProto(name=name, data_type=element, dims=shape)
    made.data_location = onnx.TensorProto.EXTERNAL
    entry = made.external_data.add()
    entry.key, entry.value = "location", "absent.bin"
    return made


def numbers(name: str, *values: int) -> Any:
    """Return a constant of whole numbers."""
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


def tensor(name: str, *shape: int | str | None, element: int = TensorProto.FLOAT) -> Any:
    """Return the description of an input or output; without sizes its shape is not told."""
    return helper.make_tensor_value_info(name, element, list(shape) or None)


def save(
    path: Path,
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    weights: list[Any],
    opset: int = OPSET,
) -> Path:
    """Write a model, and return its path."""
    graph = helper.make_graph(nodes, "main_graph", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("my.own", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    path.write_bytes(model.SerializeToString())
    return path


def decoder(
    path: Path,
    *,
    layers: int = 2,
    width: int = 32,
    words: int = 50,
    open_sizes: bool = True,
    scopes: bool = True,
) -> Path:
    """Write blocks of attention and feed-forward between a tied embedding and head."""
    nodes: list[Any] = []
    weights = [weight("embedding.weight", words, width), numbers("swap", 1, 0)]

    def add(kind: str, reads: list[str], makes: str, module: str, **given: Any) -> str:
        nodes.append(node(kind, reads, [makes], module if scopes else "", **given))
        return makes

    def linear(source: str, name: str, columns: int, rows: int, module: str) -> str:
        weights.append(weight(f"{name}.weight", rows, columns))
        return add("MatMul", [source, f"{name}.weight"], f"{name}.out", module)

    x = add("Gather", ["embedding.weight", "tokens"], "embedded", "embedding")
    for at in range(layers):
        name = f"layers.{at}"
        weights.append(weight(f"{name}.norm.weight", width))
        normed = add(
            "RMSNormalization", [x, f"{name}.norm.weight"], f"{name}.normed", f"{name}.norm"
        )
        heads = [
            linear(normed, f"{name}.attention.{part}", width, width, f"{name}.attention.{part}")
            for part in "qkv"
        ]
        mixed = add(
            *("Attention", heads, f"{name}.mixed", f"{name}.attention"),
            q_num_heads=4,
            kv_num_heads=4,
            is_causal=1,
        )
        x = add("Add", [x, mixed], f"{name}.middle", name)
        up = linear(x, f"{name}.mlp.up", 4 * width, width, f"{name}.mlp.up")
        active = add("Gelu", [up], f"{name}.active", f"{name}.mlp")
        down = linear(active, f"{name}.mlp.down", width, 4 * width, f"{name}.mlp.down")
        x = add("Add", [x, down], f"{name}.sum", name)
    head = add("Transpose", ["embedding.weight"], "head.swapped", "head", perm=[1, 0])
    add("MatMul", [x, head], "logits", "head")
    sizes: tuple[int | str, ...] = ("batch", "positions") if open_sizes else (2, 8)
    return save(
        path,
        nodes,
        [tensor("tokens", *sizes, element=TensorProto.INT64)],
        [tensor("logits")],
        weights,
    )
