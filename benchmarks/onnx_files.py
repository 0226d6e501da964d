"""Llama models as ONNX files of any size: nodes as PyTorch's exporter writes them, no weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from attrs import field, frozen
from onnx import TensorProto, helper

SCOPES = "pkg.torch.onnx.name_scopes"
OPSET = 23


def write_llama(path: Path, config: Mapping[str, Any]) -> None:
    """Write the model of a configuration of Llama, in bf16, up to its loss.

    The dimensions ``batch`` and ``sequence`` are left open. Positions are not rotated.
    """
    made = _Llama(config)
    made.all()
    tokens = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("tokens", "labels")
    ]
    loss = helper.make_tensor_value_info("loss", TensorProto.BFLOAT16, [])
    graph = helper.make_graph(made.nodes, "llama", tokens, [loss], made.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    path.write_bytes(model.SerializeToString())


@frozen
class _Llama:
    """The nodes and weights of a model, as far as it has been written."""

    config: Mapping[str, Any]
    nodes: list[Any] = field(factory=list)
    weights: list[Any] = field(factory=list)

    def all(self) -> None:
        """Write everything."""
        width, words = self.config["hidden_size"], self.config["vocab_size"]
        table = self._weight("model.embed_tokens.weight", words, width)
        x = self._node("Gather", [table, "tokens"], "embedded", "model.embed_tokens")
        for at in range(self.config["num_hidden_layers"]):
            x = self._layer(x, f"model.layers.{at}")
        logits = self._linear(self._norm(x, "model.norm"), "lm_head", words, width)
        for name, shape in (("rows", [-1, words]), ("row", [-1])):
            self.weights.append(helper.make_tensor(name, TensorProto.INT64, [len(shape)], shape))
        flat = self._node("Reshape", [logits, "rows"], "flat", "lm_head")
        labels = self._node("Reshape", ["labels", "row"], "flat_labels", "lm_head")
        self._node("SoftmaxCrossEntropyLoss", [flat, labels], "loss", "lm_head")

    def _layer(self, x: str, name: str) -> str:
        """Write a layer; return the name of what it makes."""
        width, inner = self.config["hidden_size"], self.config["intermediate_size"]
        heads, pairs = self.config["num_attention_heads"], self.config["num_key_value_heads"]
        source = self._norm(x, f"{name}.input_layernorm")
        part = width // heads
        sizes = {"q_proj": width, "k_proj": pairs * part, "v_proj": pairs * part}
        attention = f"{name}.self_attn"
        parts = [
            self._linear(source, f"{attention}.{projection}", size, width)
            for projection, size in sizes.items()
        ]
        mixed = self._node(
            *("Attention", parts, f"{name}.mixed", attention),
            q_num_heads=heads,
            kv_num_heads=pairs,
            is_causal=1,
        )
        back = self._linear(mixed, f"{attention}.o_proj", width, width)
        x = self._node("Add", [x, back], f"{name}.middle", name)
        source = self._norm(x, f"{name}.post_attention_layernorm")
        gate = self._linear(source, f"{name}.mlp.gate_proj", inner, width)
        up = self._linear(source, f"{name}.mlp.up_proj", inner, width)
        risen = self._node("Sigmoid", [gate], f"{name}.risen", f"{name}.mlp")
        gated = self._node("Mul", [gate, risen], f"{name}.gated", f"{name}.mlp")
        both = self._node("Mul", [gated, up], f"{name}.both", f"{name}.mlp")
        down = self._linear(both, f"{name}.mlp.down_proj", width, inner)
        return self._node("Add", [x, down], f"{name}.sum", name)

    def _norm(self, x: str, name: str) -> str:
        weight = self._weight(f"{name}.weight", self.config["hidden_size"])
        return self._node("RMSNormalization", [x, weight], f"{name}.out", name)

    def _linear(self, x: str, name: str, rows: int, columns: int) -> str:
        """Write a product with the transpose of a weight of rows x columns."""
        weight = self._weight(f"{name}.weight", rows, columns)
        turned = self._node("Transpose", [weight], f"{name}.turned", name, perm=[1, 0])
        return self._node("MatMul", [x, turned], f"{name}.out", name)

    def _weight(self, name: str, *shape: int) -> str:
        made = onnx.TensorProto(name=name, data_type=TensorProto.BFLOAT16, dims=shape)
        made.data_location = onnx.TensorProto.EXTERNAL
        entry = made.external_data.add()
        entry.key, entry.value = "location", "absent.bin"
        self.weights.append(made)
        return name

    def _node(self, kind: str, reads: list[str], makes: str, module: str, **given: Any) -> str:
        made = helper.make_node(kind, reads, [makes], name=f"node_{makes}", **given)
        parts = module.split(".")
        scopes = ["", *(".".join(parts[: at + 1]) for at in range(len(parts))), makes]
        helper.set_metadata_props(made, {SCOPES: repr(scopes)})
        self.nodes.append(made)
        return makes
