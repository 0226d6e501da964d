"""From the graph of an ONNX model, with all shapes known, to calls of operators on tensors.

Modules are those that PyTorch's exporters leave behind: the names of scopes in a node's metadata,
or paths in the names of nodes (``/layers.3/mlp/MatMul``). A model that tells none has a module for
each node.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import field, frozen

from parplan.errors import InputError
from parplan.plugins.importers.onnx.nodes import integer_of, label, module_of, own_name, text_of
from parplan.plugins.importers.onnx.work import Attribute, rule
from parplan.plugins.importers.traced.program import (
    Argument,
    Call,
    Given,
    Meta,
    Program,
    Reference,
    Source,
)

DTYPES: Mapping[int, str] = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
    21: "uint4",
    22: "int4",
    23: "float4_e2m1fn",
    24: "float8_e8m0fnu",
}
"""Element types by their number in the file (``TensorProto.DataType``)."""

QUANTIZED = ("int4", "int8", "uint4", "uint8")
"""Whole numbers that stand for weights."""

RESULTS_OF_SHAPES = ("Shape", "Size", "Constant")
"""Operators whose results are known once all shapes are."""

SETTINGS: Mapping[str, slice] = {
    "BatchNormalization": slice(3, 5),  # statistics, gathered and not trained
    "Resize": slice(1, 4),
    "Upsample": slice(1, 2),
}
"""Inputs that say what an operator does, and are no weights."""

SCALES: Mapping[str, slice] = {
    "DequantizeLinear": slice(1, 3),
    "QuantizeLinear": slice(1, 3),
}
"""Inputs that are as many as weights, but belong to their number format and are not trained."""


def onnx_program(model: Any, frozen_weights: frozenset[str]) -> Program:
    """Return the program of an ``onnx.ModelProto`` with inferred shapes.

    Parameters
    ----------
    frozen_weights
        Names of the initializers that are not trained, among those that otherwise would be.

    Raises
    ------
    InputError
        Naming the node or tensor: control flow, a shape or type
        that is not known, a tensor that nothing makes, a graph that is not in order.
    """
    reader = _Reader(model.graph, frozen_weights)
    reader.take_given()
    for node in model.graph.node:
        reader.take(node)
    outputs = tuple(value.name for value in model.graph.output)
    for name in outputs:
        if name not in reader.tensors:
            raise InputError(f"nothing makes the output '{name}'")
    return Program(
        kind=model.graph.name or "model",
        given=reader.given,
        tensors=reader.tensors,
        calls=tuple(reader.calls),
        outputs=outputs,
    )


def node_modules(model: Any) -> Mapping[str, str]:
    """Return the module of each node of an ``onnx.ModelProto`` by the node's name.

    As in the program: a model that tells no modules has one for each node.
    """
    found = {node.name: module_of(node) for node in model.graph.node if node.name}
    return found if any(found.values()) else {name: name for name in found}


@frozen
class _Reader:
    """Goes through the nodes of a graph, and knows the tensors that are there by then."""

    graph: Any
    frozen_weights: frozenset[str]
    types: dict[str, Any] = field(init=False)
    read: frozenset[str] = field(init=False)
    settings: frozenset[str] = field(init=False)
    scales: frozenset[str] = field(init=False)
    tells_modules: bool = field(init=False)
    given: dict[str, Given] = field(factory=dict)
    tensors: dict[str, Meta] = field(factory=dict)
    calls: list[Call] = field(factory=list)

    @types.default
    def _(self) -> dict[str, Any]:
        values = (*self.graph.value_info, *self.graph.output, *self.graph.input)
        return {value.name: value.type for value in values}

    @read.default
    def _(self) -> frozenset[str]:
        ends = (value.name for value in self.graph.output)
        return frozenset((*ends, *(name for node in self.graph.node for name in node.input)))

    @settings.default
    def _(self) -> frozenset[str]:
        return frozenset(_read_as(SETTINGS, self.graph))

    @scales.default
    def _(self) -> frozenset[str]:
        return frozenset(_read_as(SCALES, self.graph))

    @tells_modules.default
    def _(self) -> bool:
        return any(module_of(node) for node in self.graph.node)

    def take_given(self) -> None:
        """Know the tensors that no node makes."""
        if self.graph.sparse_initializer:
            name = self.graph.sparse_initializer[0].values.name
            raise InputError(f"the initializer '{name}' is sparse; write it in full")
        for tensor in self.graph.initializer:
            meta = _meta(tensor.name, tensor.data_type, tuple(tensor.dims))
            self.tensors[tensor.name] = meta
            self.given[tensor.name] = self._initializer(tensor.name, meta)
        for value in self.graph.input:
            if value.name not in self.given:
                self.given[value.name] = Given(Source.INPUT, value.name)
                self.tensors[value.name] = self._inferred(value.name, "an input")

    def _initializer(self, name: str, meta: Meta) -> Given:
        """Return what an initializer is: weights, unless it is a single number or an index."""
        is_data = meta.is_float or meta.dtype in QUANTIZED
        if math.prod(meta.shape) < 2 or not is_data or name in self.settings:
            return Given(Source.BUFFER, name)
        trained = meta.is_float and not meta.dtype.startswith(("float4", "float8"))
        still = name in self.frozen_weights or name in self.scales
        return Given(Source.PARAMETER, name, trained and not still)

    def take(self, node: Any) -> None:
        """Go past one node."""
        where = label(node)
        self._refuse(node, where)
        for name in filter(None, node.input):
            if name not in self.tensors:
                raise InputError(f"{where} reads '{name}', which nothing before it makes")
        for name in filter(None, node.output):
            if name in self.tensors:
                raise InputError(f"{where} makes '{name}', which is there already")
        results = [
            name
            for at, name in enumerate(node.output)
            if name and (at == 0 or name in self.read)
        ]  # fmt: skip
        for name in results:
            self.tensors[name] = self._inferred(name, where)
        if node.op_type in RESULTS_OF_SHAPES:
            self.given.update((name, Given(Source.BUFFER, name)) for name in results)
            return
        self.calls.extend(self._calls(node, results))

    def _refuse(self, node: Any, where: str) -> None:
        """Raise InputError where what a node does is not known."""
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise InputError(
                f"{where} is a '{node.op_type}': what runs then depends on data, and a plan needs "
                "one graph; export the model without control flow"
            )
        if not any(node.output):
            raise InputError(f"{where} makes nothing")

    def _calls(self, node: Any, results: list[str]) -> Iterator[Call]:
        """Yield the call of a node; with it the views that part and join attention's heads."""
        module = module_of(node) if self.tells_modules else own_name(node)
        kind = _kind(node)
        inputs = [name for name in node.input if name]
        if kind == "Attention" and len(self.tensors[inputs[0]].shape) == 3:
            yield from self._flat_attention(node, module, inputs, results)
            return
        arguments: list[Argument] = [Reference(name) for name in inputs]
        if kind in ("LayerNormalization", "RMSNormalization"):
            shape = self.tensors[inputs[0]].shape
            axis = integer_of(node, "axis", -1)
            arguments.insert(1, shape[axis % max(1, len(shape)) :])
        elif kind == "GroupNormalization":
            arguments.insert(1, integer_of(node, "num_groups", 1))
        equation = text_of(node, Attribute.EQUATION.value)
        keywords = ((Attribute.EQUATION.value, equation),) if equation else ()
        yield _call(kind, module, arguments, results, keywords)

    def _flat_attention(
        self, node: Any, module: str, inputs: list[str], results: list[str]
    ) -> Iterator[Call]:
        """Yield attention between views that give heads a dimension of their own."""
        heads = integer_of(node, "q_num_heads", 1), *(integer_of(node, "kv_num_heads", 1),) * 2
        parted: list[str] = []
        for name, count in zip(inputs[:3], heads, strict=False):
            apart = f"{node.output[0]}:{len(parted)}:{name}"
            self.tensors[apart] = _parted(self.tensors[name], count)
            yield _call("Reshape", module, [Reference(name)], [apart])
            parted.append(apart)
        together = f"{node.output[0]}:heads"
        self.tensors[together] = _parted(self.tensors[results[0]], heads[0])
        arguments: list[Argument] = [Reference(name) for name in (*parted, *inputs[3:])]
        yield _call("Attention", module, arguments, [together, *results[1:]])
        yield _call("Reshape", module, [Reference(together)], results[:1])

    def _inferred(self, name: str, where: str) -> Meta:
        """Return what is known of a tensor."""
        found = self.types.get(name)
        if found is None or not found.HasField("tensor_type"):
            raise InputError(
                f"the shape of '{name}' of {where} is not known: it depends on data, or the "
                "operator is used in a way that ONNX does not define"
            )
        if not found.tensor_type.HasField("shape") or any(
            not size.HasField("dim_value") for size in found.tensor_type.shape.dim
        ):
            raise InputError(
                f"the shape of '{name}' of {where} depends on data, so its work and bytes are not "
                "known; use a form with fixed shapes"
            )
        shape = tuple(size.dim_value for size in found.tensor_type.shape.dim)
        return _meta(name, found.tensor_type.elem_type, shape)


def _read_as(positions: Mapping[str, slice], graph: Any) -> Iterator[str]:
    """Yield the tensors that operators read at some positions."""
    for node in graph.node:
        if node.op_type in positions:
            yield from node.input[positions[node.op_type]]


def _call(
    kind: str,
    module: str,
    arguments: list[Argument],
    results: list[str],
    keywords: tuple[tuple[str, Argument], ...] = (),
) -> Call:
    operator = f"onnx.{rule(kind)}.{kind}"
    return Call(operator, tuple(arguments), keywords, tuple(results), module)


def _kind(node: Any) -> str:
    """Return what a node does; dropout outside training does nothing."""
    kind: str = node.op_type
    return "Identity" if kind == "Dropout" and len(node.input) < 3 else kind


def _parted(meta: Meta, heads: int) -> Meta:
    """Return [batch, positions, heads x width] as [batch, heads, positions, width]."""
    batch, positions, width = meta.shape
    if heads < 1 or width % heads:
        raise InputError(f"attention has {heads} heads for {width} elements")
    shape = (batch, heads, positions, width // heads)
    return Meta(shape, _strides(shape), meta.dtype)


def _meta(name: str, number: int, shape: tuple[int, ...]) -> Meta:
    """Return a tensor's description; InputError for types without a size, and negative sizes."""
    if number not in DTYPES:
        raise InputError(f"tensor '{name}' has elements of type {number}, whose size is not known")
    if any(size < 0 for size in shape):
        raise InputError(f"tensor '{name}' has a negative size")
    return Meta(shape, _strides(shape), DTYPES[number])


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of elements that lie in rows, one after another."""
    return tuple(math.prod(shape[at + 1 :]) for at in range(len(shape)))
