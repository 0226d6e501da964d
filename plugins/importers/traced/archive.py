"""Reads what ``torch.export.save`` wrote, without running anything that the file brings.

``torch.export.load`` unpickles example inputs and constants, and evaluates the text of symbolic
sizes; a file that was made to do harm can run code by either. This reader takes the archive's
``models/model.json`` alone (schema 8 of PyTorch's export format), as plain data: no pickle, no
evaluation, and no weights either, so that a file of any size is read in the same time.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from parplan.errors import InputError
from parplan.plugins.importers.traced.program import (
    Argument,
    Call,
    Collector,
    Constant,
    Given,
    Meta,
    Program,
    Reference,
    Source,
)

SCHEMA = 8
"""Major version of the format that is read."""

MAXIMUM_BYTES = 2**30
"""Of the description of the graph; that of a model with 80 layers takes some 20 MB."""

DTYPES: Mapping[int, str] = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    9: "complex32",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
    29: "float8_e4m3fn",
    30: "float8_e5m2",
    31: "float8_e4m3fnuz",
    32: "float8_e5m2fnuz",
    33: "float8_e8m0fnu",
    34: "uint32",
    35: "uint64",
}
"""Element types by their number in the file."""

MEMORY_FORMATS: Mapping[int, str] = {
    1: "contiguous_format",
    2: "channels_last",
    3: "channels_last_3d",
    4: "preserve_format",
}

SET_GRADIENT = "wrap_with_set_grad_enabled"
INLINED = (SET_GRADIENT, "wrap_with_autocast")
"""Operators that run a graph as it stands: the first with or without gradients."""

BACKWARD = ("loss_output", "gradient_to_parameter", "gradient_to_user_input")
"""Outputs of a program with its backward pass."""

NAMESPACE = "torch.ops."


def read_archive(path: Path) -> Program:
    """Return the program in a ``.pt2`` file.

    Raises
    ------
    InputError
        If the file is missing, damaged or of another format; if its control flow or a shape depends
        on data, naming the module.
    """
    document = _document(path)
    try:
        return _program(document)
    except InputError as error:
        raise error.located(file=str(path)) from None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"its description of the graph is damaged ({type(error).__name__}: {error}); "
            "save it again with torch.export.save",
            file=str(path),
        ) from None


def _document(path: Path) -> Any:
    """Return the description of the graph in an archive."""
    name = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            found = [i for i in archive.infolist() if i.filename.endswith("/models/model.json")]
            if not found:
                raise InputError(
                    "holds no model.json: it is no file of torch.export.save, or of another "
                    "version",
                    file=name,
                )
            if found[0].file_size > MAXIMUM_BYTES:
                raise InputError(
                    f"describes a graph in more than the {MAXIMUM_BYTES:,} bytes that are accepted",
                    file=name,
                )
            return json.loads(archive.read(found[0]))
    except FileNotFoundError:
        raise InputError(f"no such file (looked in {Path.cwd()})", file=name) from None
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise InputError(f"is no .pt2 archive, or a truncated one: {error}", file=name) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", file=name) from None
    except ValueError as error:
        raise InputError(f"its model.json is no JSON: {error}", file=name) from None


def _program(document: Any) -> Program:
    version = document["schema_version"]["major"]
    if version != SCHEMA:
        raise InputError(
            f"its format has version {version}, and version {SCHEMA} is read; save it with "
            "PyTorch 2.13"
        )
    module = document["graph_module"]
    graph = module["graph"]
    if any(kind in BACKWARD for spec in module["signature"]["output_specs"] for kind in spec):
        raise has_backward()
    reader = _Reader()
    given = dict(_given(module["signature"]["input_specs"], graph["tensor_values"]))
    scope = {item["as_tensor"]["name"]: item["as_tensor"]["name"]
             for item in graph["inputs"] if "as_tensor" in item}  # fmt: skip
    outputs = reader.read(graph, scope, "", has_gradient=True)
    return reader.program(given, outputs)


def _given(specs: Any, tensors: Any) -> Iterator[tuple[str, Given]]:
    """Yield the tensors that a program is given, by name."""
    for spec in specs:
        ((kind, value),) = spec.items()
        if kind == "user_input":
            if "as_tensor" in value["arg"]:
                name = value["arg"]["as_tensor"]["name"]
                yield name, Given(Source.INPUT, name)
        elif kind == "parameter":
            name = value["arg"]["name"]
            trained = bool(tensors[name]["requires_grad"])
            yield name, Given(Source.PARAMETER, value["parameter_name"], trained)
        elif kind in ("buffer", "tensor_constant"):
            path = value.get("buffer_name") or value["tensor_constant_name"]
            yield value["arg"]["name"], Given(Source.BUFFER, path)


@frozen
class _Reader(Collector):
    """Collects the calls of a graph and of those inside it; names of inner tensors get a prefix."""

    def read(
        self, graph: Any, scope: dict[str, str], prefix: str, *, has_gradient: bool
    ) -> list[str | None]:
        """Read a graph whose tensors have the names of ``scope``; return those it returns."""
        sizes = _sizes(graph)
        for name in scope.keys() & graph["tensor_values"].keys():
            if scope[name] not in self.tensors:
                self.tensors[scope[name]] = _meta(graph["tensor_values"][name], name)
        for node in graph["nodes"]:
            stack = _stack(node["metadata"].get("nn_module_stack", ""))
            if stack and not self.kinds:
                self.kinds.append(stack[0][1].rpartition(".")[2])
            where, kind = stack[-1] if stack else ("", "")
            operator = node["target"].removeprefix(NAMESPACE)
            short = operator.rpartition(".")[2]
            if short in INLINED:
                recorded = short != SET_GRADIENT or node["inputs"][0]["arg"]["as_bool"]
                self._inline(node, scope, has_gradient=has_gradient and recorded)
                continue
            if operator.startswith("higher_order."):
                raise branches(short, where)
            results = self._results(node, graph, scope, prefix, where)
            if not results:
                continue  # sizes and assertions
            values = [(i["name"], i.get("kind"), _argument(i["arg"], scope, sizes, where))
                      for i in node["inputs"]]  # fmt: skip
            self.calls.append(
                Call(
                    operator=operator,
                    arguments=tuple(value for _, how, value in values if how != 2),
                    keywords=tuple((name, value) for name, how, value in values if how == 2),
                    results=results,
                    module=where,
                    kind=kind,
                    has_gradient=has_gradient,
                )
            )
        return [scope.get(i["as_tensor"]["name"]) for i in graph["outputs"] if "as_tensor" in i]

    def _results(
        self, node: Any, graph: Any, scope: dict[str, str], prefix: str, where: str
    ) -> tuple[str | None, ...]:
        """Return the names of what a node returns, and keep what is known of them."""
        found: list[str | None] = []
        for output in node["outputs"]:
            items = [output["as_tensor"]] if "as_tensor" in output else output.get("as_tensors", [])
            for item in items:
                name = item["name"]
                meta = graph["tensor_values"].get(name)
                if meta is None:  # nothing reads it
                    found.append(None)
                    continue
                scope[name] = f"{prefix}{name}"
                self.tensors[scope[name]] = _meta(meta, where)
                found.append(scope[name])
        return tuple(found)

    def _inline(self, node: Any, scope: dict[str, str], *, has_gradient: bool) -> None:
        """Read a graph that stands in a node's arguments as if its calls stood there."""
        inputs = [item["arg"] for item in node["inputs"]]
        (inner,) = (item["as_graph"] for item in inputs if "as_graph" in item)
        outer = [scope[i["as_tensor"]["name"]] for i in inputs if "as_tensor" in i]
        names = [i["as_tensor"]["name"] for i in inner["graph"]["inputs"] if "as_tensor" in i]
        made = self.read(
            inner["graph"], dict(zip(names, outer, strict=True)), f"{inner['name']}.",
            has_gradient=has_gradient,
        )  # fmt: skip
        outputs = [t for o in node["outputs"] for t in o.get("as_tensors", [o.get("as_tensor")])]
        for output, name in zip(outputs, made, strict=False):
            if output and name:
                scope[output["name"]] = name


def has_backward() -> InputError:
    """Return the error for a program whose backward pass is part of its graph already."""
    return InputError(
        "the program has its backward pass in it, and whose part each call is can no longer be "
        "told; give the forward program, and the option joint=true for its own backward pass"
    )


def branches(operator: str, module: str) -> InputError:
    """Return the error for control flow that depends on data."""
    return InputError(
        f"module '{module or 'of the model'}' calls '{operator}': what runs then depends on data, "
        "and a plan needs one graph; write it without control flow on tensors"
    )


def unknown_shape(module: str) -> InputError:
    """Return the error for a shape that is known only when the model runs."""
    return InputError(
        f"module '{module or 'of the model'}' makes a tensor whose shape depends on data, so its "
        "work and bytes are not known; use a form with fixed shapes (experts with a fixed "
        "capacity, masks in place of selections)"
    )


def _sizes(graph: Any) -> dict[str, int | None]:
    """Return the symbolic whole numbers of a graph by name, where an example tells them."""
    return {name: _size(value) for name, value in graph["sym_int_values"].items()}


def _size(value: Any) -> int | None:
    """Return a size; of a symbolic one that of the example; None if there is none."""
    if "as_int" in value:
        return int(value["as_int"])
    hint = value["as_expr"].get("hint")
    return None if hint is None else int(hint["as_int"])


def _meta(value: Any, where: str) -> Meta:
    sizes = [_size(size) for size in value["sizes"]]
    strides = [_size(stride) for stride in value["strides"]]
    shape = tuple(size for size in sizes if size is not None)
    steps = tuple(stride for stride in strides if stride is not None)
    if len(shape) < len(sizes) or len(steps) < len(strides):
        raise unknown_shape(where)
    return Meta(shape, steps, DTYPES[value["dtype"]])


def _stack(text: str) -> list[tuple[str, str]]:
    """Return path and class of each module that a node stands in, outermost first."""
    parts = (entry.split(",") for entry in text.split(";") if entry)
    return [(module_path(part[1]), part[2]) for part in parts if len(part) > 2]


def module_path(path: str) -> str:
    """Return a module's path without the number of its call."""
    return path.partition("@")[0]


def _argument(
    value: Any, scope: Mapping[str, str], sizes: Mapping[str, int | None], where: str
) -> Argument:
    """Return an argument of a call."""
    ((kind, content),) = value.items()
    if kind == "as_none":
        return None
    if kind in ("as_int", "as_float", "as_bool", "as_string"):
        plain: Argument = content
        return plain
    if kind == "as_tensor":
        return Reference(scope[content["name"]])
    if kind in ("as_tensors", "as_optional_tensors"):
        items = [item if "name" in item else item.get("as_tensor") for item in content]
        return tuple(Reference(scope[item["name"]]) if item else None for item in items)
    if kind == "as_optional_tensor":
        return _argument(content, scope, sizes, where)
    if kind in ("as_ints", "as_floats", "as_bools", "as_strings"):
        return tuple(content)
    if kind in ("as_sym_int", "as_sym_ints"):
        items = [content] if kind == "as_sym_int" else content
        known = tuple(i["as_int"] if "as_int" in i else sizes.get(i["as_name"]) for i in items)
        if None in known:
            raise unknown_shape(where)
        return known[0] if kind == "as_sym_int" else known
    if kind == "as_scalar_type":
        return Constant(DTYPES[content])
    if kind == "as_memory_format":
        return Constant(MEMORY_FORMATS[content])
    if kind == "as_layout":
        return Constant("strided")
    if kind == "as_device":
        return Constant("meta")
    if kind == "as_complex":
        return complex(content["real"], content["imag"])
    raise InputError(
        f"module '{where or 'of the model'}' calls an operator with an argument of kind "
        f"'{kind.removeprefix('as_')}', which is not known"
    )
