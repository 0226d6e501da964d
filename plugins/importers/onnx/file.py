"""Reads an ONNX file as data, and infers the shape of every tensor of its graph.

Weights are not needed: they are dropped where the file has them, and files of external data are
never opened. Of a tensor of weights its size alone counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from parplan.errors import InputError
from parplan.files.atomic import read_bytes
from parplan.plugins.importers.onnx.nodes import label
from parplan.plugins.importers.onnx.work import UNKNOWN
from parplan.spec.structuring import did_you_mean
from parplan.system.extras import required

MAXIMUM_BYTES = 2**31
"""What protobuf itself can hold; larger models keep their weights in files of their own."""

MOST_KEPT = 1024
"""Elements of the largest constant whose values are kept: they may be shapes."""

PLAIN_DOMAIN = "ai.onnx"
"""Another name of the domain of ONNX's own operators."""

RUNTIME_DOMAIN = "com.microsoft"
"""Domain of the operators that ONNX Runtime adds."""

DATA = (
    "raw_data", "float_data", "double_data", "int32_data", "int64_data", "uint64_data",
    "string_data", "external_data", "data_location",
)  # fmt: skip
"""Where a tensor of ONNX has its values."""


def read_onnx(path: Path, dimensions: Mapping[str, int]) -> Any:
    """Return the model of a file as ``onnx.ModelProto``, functions inlined and shapes inferred.

    Parameters
    ----------
    dimensions
        Sizes of the dimensions that the file leaves open: by their names in the file, or, for those
        without a name, as ``input.position``.

    Raises
    ------
    InputError
        If the file is missing, damaged or no ONNX; if a size is missing or fits nothing; if an
        operator is none of ONNX's own, naming its node.
    """
    model = parse_onnx(path)
    for tensor in model.graph.initializer:
        _forget(tensor)
    if not all(isinstance(text, str) for text in _texts(model)):
        raise InputError("is a damaged ONNX file: a name in it is no text", file=str(path))
    _fix(model.graph, dimensions)
    return _inferred(model, path)


def parse_onnx(path: Path) -> Any:
    """Return the model of a file as it stands there.

    Raises
    ------
    InputError
        If the file is missing, damaged or no ONNX.
    """
    onnx = required("onnx", "onnx")
    message = required("google.protobuf.message", "onnx")
    content = read_bytes(path, MAXIMUM_BYTES)
    try:
        model = onnx.load_model_from_string(content)
    except (message.DecodeError, ValueError) as error:
        raise InputError(f"is no ONNX file, or a damaged one: {error}", file=str(path)) from None
    if not model.graph.node:
        raise InputError("is no ONNX file, or one without a graph", file=str(path))
    return model


def _texts(message: Any) -> Iterator[Any]:
    """Yield the texts in a message and those inside it; protobuf has bytes for what is none."""
    for described, value in message.ListFields():
        if described.type == described.TYPE_STRING:
            yield from (value,) if isinstance(value, str | bytes) else value
        elif described.type == described.TYPE_MESSAGE:
            for inner in (value,) if hasattr(value, "ListFields") else value:
                yield from _texts(inner)


def _forget(tensor: Any) -> None:
    """Drop the values of a tensor, unless it is small and they are there."""
    if tensor.data_location or math.prod(tensor.dims) > MOST_KEPT:
        for name in DATA:
            tensor.ClearField(name)


def _fix(graph: Any, dimensions: Mapping[str, int]) -> None:
    """Give the open dimensions of the inputs their sizes, wherever they stand."""
    constant = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constant]
    opened = dict.fromkeys(name for value in inputs for name, _ in _open(value))
    for name in dimensions:
        if name not in opened:
            raise InputError(
                f"the model has no open dimension '{name}'; {did_you_mean(name, opened)}",
                key="model.options.dimensions",
            )
    missing = [name for name in opened if name not in dimensions]
    if missing:
        asked = ", ".join(f"{name}: 1" for name in missing)
        raise InputError(
            f"the model leaves sizes open: {', '.join(missing)}; give each one, e.g. "
            f"--set 'dimensions={{{asked}}}'",
            key="model.options.dimensions",
        )
    for value in (*inputs, *graph.value_info, *graph.output):
        for name, size in _open(value):
            if name in dimensions:
                size.dim_value = dimensions[name]


def _open(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the dimensions of a tensor that have no size, with their names."""
    for at, size in enumerate(value.type.tensor_type.shape.dim):
        if not size.HasField("dim_value"):
            yield size.dim_param or f"{value.name}.{at}", size


def _check(known: Any, node: Any) -> None:
    """Raise InputError where an operator is none whose work is known, by its definition in ONNX."""
    domain = "" if node.domain == PLAIN_DOMAIN else node.domain
    if not domain and node.op_type not in UNKNOWN and known.has(node.op_type):
        return
    full = f"{domain}.{node.op_type}" if domain else node.op_type
    cure = "export the model with ONNX's own operators"
    if domain == RUNTIME_DOMAIN or not (domain or known.has(node.op_type)):
        cure = "ONNX Runtime joins others into such ones: give the model as it was before that"
    raise InputError(f"{label(node)} is a '{full}', whose work is not known; {cure}")


def _inferred(model: Any, path: Path) -> Any:
    """Return a model whose functions are inlined, with the shapes that follow."""
    inference = required("onnx.shape_inference", "onnx")
    try:
        if model.functions:
            model = required("onnx.inliner", "onnx").inline_local_functions(model)
        known = required("onnx.defs", "onnx")
        for node in model.graph.node:
            _check(known, node)
        return inference.infer_shapes(model, data_prop=True)
    except (inference.InferenceError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"onnx refuses the model: {reason}", file=str(path)) from None
