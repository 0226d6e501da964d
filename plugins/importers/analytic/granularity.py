"""Joins the operators of a module into one operator per pass, without losing work or memory."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from parplan.errors import InputError
from parplan.graph import Graph, Kernel, Kind, Mode, Operator, ParameterGroup, Tensor


def join_modules(graph: Graph, path: Callable[[str], str]) -> Graph:
    """Return the graph with one operator ``path:kind`` for all of a kind whose module has a path.

    Tensors inside such an operator vanish into its workspace: the most that is alive at once when
    its operators run in topological order. Tensors from one pass of a path to the same other
    passes of it become one, e.g. ``layers.3:forward>backward-input``; so do the parameter groups
    that only one path reads. Kernels stay apart, so the cost stays the sum of theirs; all count in
    the number format of most of the work (a router in fp32 among products in bf16 in the latter).

    Parameters
    ----------
    graph
        Fresh from an importer: each operator has one mode.
    path
        Gives the new path for a module, e.g. ``layers.3`` for ``layers.3.mlp``.

    Raises
    ------
    InputError
        If joined operators differ in engines or repeat, or the result has a cycle.
    """
    members: dict[str, list[int]] = {}
    home = [_Home(path(o.module), o.kind) for o in graph.operators]
    for index in graph.topological_order:
        members.setdefault(home[index].name, []).append(index)
    groups, group_of = _join_parameters(graph, home)
    operators = {
        name: _joined(graph, home[rows[0]], rows, group_of) for name, rows in members.items()
    }
    order = dict.fromkeys(h.name for h in home)
    return Graph(
        graph.name, tuple(operators[name] for name in order), _join_tensors(graph, home), groups
    )


@frozen
class _Home:
    """Which joined operator an operator belongs to."""

    path: str
    kind: Kind

    @property
    def name(self) -> str:
        return f"{self.path}:{self.kind.value}"


def _joined(graph: Graph, home: _Home, rows: list[int], group_of: dict[str, str]) -> Operator:
    """Return one operator for those at ``rows``, which stand in topological order."""
    parts = [graph.operators[row] for row in rows]
    if len({part.repeat for part in parts}) > 1:
        raise InputError(f"the operators of '{home.name}' differ in repeat")
    kernels = [
        kernel
        for part in parts
        for kernel in part.kernels or (Kernel(part.flops, part.bytes_touched),)
        if kernel.flops or kernel.bytes_touched
    ]
    return Operator(
        name=home.name,
        kind=home.kind,
        flops=sum(kernel.flops for kernel in kernels),
        bytes_touched=sum(kernel.bytes_touched for kernel in kernels),
        parameters=tuple(dict.fromkeys(group_of[g] for part in parts for g in part.parameters)),
        repeat=parts[0].repeat,
        module=home.path,
        modes=(_mode(home, parts, _workspace(graph, rows)),),
        dtype=_dtype(parts),
        kernels=tuple(kernels) if len(kernels) > 1 else (),
    )


def _dtype(parts: list[Operator]) -> str:
    """Return the number format of most FLOP; of several that have as many the first."""
    work: dict[str, float] = {}
    for part in parts:
        work[part.dtype] = work.get(part.dtype, 0.0) + part.flops
    return max(work, key=lambda dtype: work[dtype])


def _mode(home: _Home, parts: list[Operator], workspace: int) -> Mode:
    """Return the one mode of a joined operator; seconds that are given add up."""
    own = [mode for part in parts for mode in part.modes]
    if len({mode.engines for mode in own}) > 1 or len({bool(mode.seconds) for mode in own}) > 1:
        raise InputError(
            f"'{home.name}' would join operators that hold different engines, or that have seconds "
            "and that have none; choose a finer granularity"
        )
    seconds = {kind: sum(mode.seconds[kind] for mode in own) for kind in own[0].seconds}
    source = "; ".join(dict.fromkeys(mode.source for mode in own if mode.source))
    return Mode(seconds=seconds, workspace_bytes=workspace, engines=own[0].engines, source=source)


def _workspace(graph: Graph, rows: list[int]) -> int:
    """Return the most bytes of inner tensors and workspaces alive at once."""
    inside = set(rows)
    last: dict[int, int] = {}  # inner tensor -> the last of its readers
    for row in rows:
        for t in graph.inputs[row]:
            if graph.producers[t] in inside and set(graph.consumers[t]) <= inside:
                last[t] = row
    alive = most = 0
    for row in rows:
        alive += sum(graph.tensors[t].bytes for t in graph.outputs[row] if t in last)
        most = max(most, alive + sum(mode.workspace_bytes for mode in graph.operators[row].modes))
        alive -= sum(graph.tensors[t].bytes for t in graph.inputs[row] if last.get(t) == row)
    return most


def _join_tensors(graph: Graph, home: list[_Home]) -> tuple[Tensor, ...]:
    """Return the tensors between joined operators."""
    bundles: dict[tuple[str, ...], list[Tensor]] = {}
    for t, tensor in enumerate(graph.tensors):
        source = home[graph.producers[t]]
        readers = dict.fromkeys(home[c] for c in graph.consumers[t] if home[c] != source)
        if tensor.consumers and not readers:
            continue
        ends = (source.name, *(reader.name for reader in readers))
        joined = Tensor(tensor.name, source.name, ends[1:], tensor.bytes, tensor.output)
        within = all(reader.path == source.path for reader in readers)
        # Only what stays within the path is one thing; transfers between paths keep their names.
        key = ends if within and readers and not tensor.output else (tensor.name,)
        bundles.setdefault(key, []).append(joined)
    return tuple(_bundle(bundle) for bundle in bundles.values())


def _bundle(bundle: list[Tensor]) -> Tensor:
    first = bundle[0]
    if len(bundle) == 1:
        return first
    kinds = "+".join(reader.rpartition(":")[2] for reader in first.consumers)
    size = sum(tensor.bytes for tensor in bundle)
    return Tensor(f"{first.producer}>{kinds}", first.producer, first.consumers, size)


def _join_parameters(
    graph: Graph, home: list[_Home]
) -> tuple[tuple[ParameterGroup, ...], dict[str, str]]:
    """Return the joined groups, and the new name of each group."""
    paths: dict[str, list[str]] = {group.name: [] for group in graph.parameters}
    for index, operator in enumerate(graph.operators):
        for name in operator.parameters:
            if home[index].path not in paths[name]:
                paths[name].append(home[index].path)
    bundles: dict[tuple[str, ...], list[ParameterGroup]] = {}
    for group in graph.parameters:
        own = len(paths[group.name]) == 1
        key = ("path", *paths[group.name]) if own else ("shared", group.name)
        bundles.setdefault(key, []).append(group)
    groups: list[ParameterGroup] = []
    names: dict[str, str] = {}
    for key, bundle in bundles.items():
        name = bundle[0].name if len(bundle) == 1 else key[1]
        names |= {group.name: name for group in bundle}
        groups.append(
            ParameterGroup(
                name,
                weight_bytes=sum(group.weight_bytes for group in bundle),
                gradient_bytes=sum(group.gradient_bytes for group in bundle),
                optimizer_bytes=sum(group.optimizer_bytes for group in bundle),
                count=sum(group.count for group in bundle),
            )
        )
    return tuple(groups), names
