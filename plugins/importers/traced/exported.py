"""Reads a program of ``torch.export`` in memory: its graph, and the graphs inside that."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import field, frozen

from parplan.errors import InputError
from parplan.plugins.importers.traced.archive import (
    INLINED,
    SET_GRADIENT,
    branches,
    has_backward,
    module_path,
    unknown_shape,
)
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
from parplan.system.extras import required


def read_program(exported: Any) -> Program:
    """Return a ``torch.export.ExportedProgram`` as plain data.

    Raises
    ------
    InputError
        If its control flow or a shape depends on data, naming the module.
    """
    if exported.graph_signature.backward_signature is not None:
        raise has_backward()
    reader = GraphReader(torch=required("torch", "torch"))
    nodes = list(exported.graph.nodes)
    by_name = {node.name: node for node in nodes if node.op == "placeholder"}
    given = dict(_given(exported, by_name))
    for name in given:
        reader.tensors[name] = meta_of(by_name[name].meta["val"], "")
    outputs = reader.read(
        exported.graph_module, {name: name for name in given}, "", has_gradient=True
    )
    return reader.program(given, outputs)


def _given(exported: Any, nodes: Mapping[str, Any]) -> Iterator[tuple[str, Given]]:
    """Yield the tensors that a program is given, by name."""
    for spec in exported.graph_signature.input_specs:
        name = getattr(spec.arg, "name", "")
        if name not in nodes or not hasattr(nodes[name].meta.get("val"), "shape"):
            continue
        if spec.kind.name == "PARAMETER":
            trained = bool(exported.state_dict[spec.target].requires_grad)
            yield name, Given(Source.PARAMETER, spec.target, trained)
        elif spec.kind.name in ("BUFFER", "CONSTANT_TENSOR"):
            yield name, Given(Source.BUFFER, spec.target)
        else:
            yield name, Given(Source.INPUT, name)


@frozen
class GraphReader(Collector):
    """Collects the calls of a graph and of those inside it; names of inner tensors get a prefix.

    Attributes
    ----------
    nodes
        The node of each call.
    """

    torch: Any = field(kw_only=True)
    nodes: list[Any] = field(factory=list, kw_only=True)

    def read(
        self, graph: Any, scope: dict[str, str], prefix: str, *, has_gradient: bool
    ) -> list[str | None]:
        """Read a graph whose tensors have the names of ``scope``; return those it returns."""
        parts: dict[str, list[str | None]] = {}  # of nodes that stand for a graph
        for node in graph.graph.nodes:
            if node.op == "output":
                return [scope.get(getattr(item, "name", "")) for item in node.args[0]]
            if node.op != "call_function":
                continue
            where, kind = self._module(node)
            short = getattr(node.target, "__name__", str(node.target))
            if short in INLINED:
                inner = [scope[item.name] for item in node.args if _is_tensor(item)]
                (body,) = (i for i in node.args if getattr(i, "op", "") == "get_attr")
                recorded = short != SET_GRADIENT or bool(node.args[0])
                parts[node.name] = self._inline(
                    getattr(graph, body.target), inner, f"{body.target}.",
                    has_gradient=has_gradient and recorded,
                )  # fmt: skip
            elif node.target is operator.getitem:
                made = parts.get(node.args[0].name)
                name = made[node.args[1]] if made else None
                if name is not None:
                    scope[node.name] = name
            elif isinstance(node.target, self.torch._ops.HigherOrderOperator):
                raise branches(short, where)
            elif isinstance(node.target, self.torch._ops.OpOverload) and not _only_asserts(node):
                results = self._results(node, scope, prefix, where)
                if results:
                    self._call(node, scope, results, (where, kind), has_gradient=has_gradient)
        return []

    def _module(self, node: Any) -> tuple[str, str]:
        """Return path and class of the innermost module that a node stands in.

        A node of a backward pass stands where the forward pass did that it belongs to.
        """
        stack = list(stack_of(node).values())
        if not stack:
            return "", ""
        if not self.kinds:
            self.kinds.append(_class_name(stack[0][1]).rpartition(".")[2])
        return module_path(stack[-1][0]), _class_name(stack[-1][1])

    def _results(
        self, node: Any, scope: dict[str, str], prefix: str, where: str
    ) -> tuple[str | None, ...]:
        """Return the names of what a node returns, and keep what is known of them."""
        value = node.meta.get("val")
        if isinstance(value, self.torch.Tensor):
            if self.torch._C._functorch.is_batchedtensor(value):
                raise InputError(
                    f"module '{where or 'of the model'}' maps a function over a tensor "
                    "(torch.vmap), which PyTorch's export leaves half done; give it what the "
                    "function makes (such as a mask of attention), or write it without vmap"
                )
            scope[node.name] = f"{prefix}{node.name}"
            self.tensors[scope[node.name]] = meta_of(value, where)
            return (scope[node.name],)
        if not isinstance(value, tuple | list):
            return ()
        found: list[str | None] = []
        readers: dict[int, list[Any]] = {}
        for user in node.users:
            if user.target is operator.getitem:
                readers.setdefault(user.args[1], []).append(user)
        for index, part in enumerate(value):
            if not isinstance(part, self.torch.Tensor):
                continue  # a gradient that is not asked for, or a number
            if index not in readers:
                found.append(None)
                continue
            name = f"{prefix}{readers[index][0].name}"
            scope.update((reader.name, name) for reader in readers[index])
            self.tensors[name] = meta_of(part, where)
            found.append(name)
        return tuple(found)

    def _call(
        self, node: Any, scope: Mapping[str, str], results: tuple[str | None, ...],
        module: tuple[str, str], *, has_gradient: bool,
    ) -> None:  # fmt: skip
        def plain(value: Any) -> Argument:
            return self._argument(value, scope, module[0])

        overload = node.target
        self.nodes.append(node)
        self.calls.append(
            Call(
                operator=f"{overload.namespace}.{overload._schema.name.partition('::')[2]}."
                f"{overload._overloadname}",
                arguments=tuple(plain(value) for value in node.args),
                keywords=tuple((name, plain(value)) for name, value in node.kwargs.items()),
                results=results,
                module=module[0],
                kind=module[1],
                has_gradient=has_gradient,
            )
        )

    def _inline(
        self, graph: Any, outer: list[str], prefix: str, *, has_gradient: bool
    ) -> list[str | None]:
        """Read a graph that stands in a node's arguments as if its calls stood there."""
        names = [n.name for n in graph.graph.nodes if n.op == "placeholder" and _is_tensor(n)]
        scope = dict(zip(names, outer, strict=True))
        return self.read(graph, scope, prefix, has_gradient=has_gradient)

    def _argument(self, value: Any, scope: Mapping[str, str], where: str) -> Argument:
        """Return an argument of a call."""
        torch = self.torch
        if isinstance(value, torch.fx.Node):
            if value.name in scope:
                return Reference(scope[value.name])
            return _size(value.meta["val"], where)
        if isinstance(value, tuple | list):
            return tuple(self._argument(item, scope, where) for item in value)
        if isinstance(value, torch.device):
            return Constant("meta")
        if isinstance(value, torch.dtype | torch.layout | torch.memory_format):
            return Constant(str(value).rpartition(".")[2])
        if value is None or isinstance(value, bool | int | float | complex | str):
            known: Argument = value
            return known
        return _size(value, where)


def stack_of(node: Any) -> Mapping[str, tuple[str, Any]]:
    """Return the modules that a node stands in, outermost first, each with path and class."""
    meta = node.meta
    found: Mapping[str, tuple[str, Any]]
    found = meta.get("nn_module_stack") or meta.get("fwd_nn_module_stack") or {}
    return found


def _only_asserts(node: Any) -> bool:
    """Return whether a tensor is made for its number of elements alone, which is not known."""
    value = node.meta.get("val")
    shape = getattr(value, "shape", ())
    unknown = any(not isinstance(n, int) and n.node.hint is None for n in shape)
    return unknown and not any(_is_tensor(user) or user.op == "output" for user in node.users)


def _is_tensor(node: Any) -> bool:
    """Return whether a value is a node of a graph that stands for a tensor."""
    return hasattr(getattr(node, "meta", {}).get("val"), "shape")


def _class_name(kind: Any) -> str:
    return kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"


def _size(value: Any, where: str) -> int:
    """Return a size; of a symbolic one that of the example."""
    if isinstance(value, int):
        return value
    hint = getattr(getattr(value, "node", None), "hint", None)
    if hint is None:
        raise unknown_shape(where)
    return int(hint)


def meta_of(value: Any, where: str) -> Meta:
    """Return what is known of a tensor; InputError names the module if its shape is not."""
    return Meta(
        tuple(_size(size, where) for size in value.shape),
        tuple(_size(stride, where) for stride in value.stride()),
        str(value.dtype).rpartition(".")[2],
    )
