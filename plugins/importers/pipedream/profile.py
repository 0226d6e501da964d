"""Reads PipeDream's ``graph.txt``: a profile of each node, and the edges between them.

A node is a line ``node7 -- LSTM(2048, 1024) -- forward_compute_time=ms, backward_compute_time=ms,
activation_size=bytes or [bytes; bytes], parameter_size=bytes`` (in one), an edge an indented line
``node7 -- node8``. A ``stage_id`` at the end of a node's line is of no account here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
from attrs import evolve, frozen

from parplan.errors import InputError
from parplan.files.atomic import read_bytes

MAXIMUM_BYTES = 2**28

_NODE = re.compile(
    r"(?P<name>\S+) -- (?P<description>.*) -- forward_compute_time=(?P<forward>[^,]+), "
    r"backward_compute_time=(?P<backward>[^,]+), "
    r"activation_size=(?P<activations>\[[^\]]*\]|[^,]+), parameter_size=(?P<parameters>\S+)"
    r"(?: -- stage_id=\S+)?"
)
_EDGE = re.compile(r"\s+(?P<source>\S+) -- (?P<target>\S+)")


@frozen
class ProfileNode:
    """One profiled node, in seconds and bytes.

    Attributes
    ----------
    activations
        Bytes of each result; a tuple of tensors has several.
    inputs
        Names of the nodes whose results it takes.
    """

    name: str
    description: str
    forward_s: float
    backward_s: float
    activations: tuple[float, ...]
    parameter_bytes: float
    line: int
    inputs: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """What it is, e.g. ``"Conv2d"``."""
        return self.description.partition("(")[0].strip()

    @property
    def label(self) -> str:
        """Name and type, e.g. ``"node7.LSTM"``."""
        return f"{self.name}.{self.type}" if self.type else self.name


def read_profile(path: Path) -> tuple[ProfileNode, ...]:
    """Return the nodes of a profile, producers first, otherwise in the file's order.

    Raises
    ------
    InputError
        With file and line: a line that is neither node nor edge, a number that is none, a node
        that is defined twice or not at all, a cycle.
    """
    try:
        nodes, edges = _parse(read_bytes(path, MAXIMUM_BYTES).decode("utf-8", "replace"))
        return tuple(_sorted(nodes, edges))
    except InputError as error:
        raise error.located(file=str(path)) from None


def _parse(text: str) -> tuple[dict[str, ProfileNode], list[tuple[str, str]]]:
    """Return nodes by name, and edges."""
    nodes: dict[str, ProfileNode] = {}
    edges: list[tuple[int, str, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        edge, node = _EDGE.fullmatch(line.rstrip()), _NODE.fullmatch(line.strip())
        if node:
            made = _node(node, number)
            if made.name in nodes:
                first = nodes[made.name].line
                raise InputError(f"'{made.name}' is defined in line {first} too", line=number)
            nodes[made.name] = made
        elif edge:
            edges.append((number, edge["source"], edge["target"]))
        else:
            raise InputError(
                f"is neither a node ('name -- description -- forward_compute_time=..., ...') nor "
                f"an edge (indented 'a -- b'): {line.strip()[:60]!r}",
                line=number,
            )
    for number, *ends in edges:
        for end in ends:
            if end not in nodes:
                raise InputError(f"the edge names '{end}', which is no node", line=number)
    if not nodes:
        raise InputError("has no nodes; it is no PipeDream profile (graph.txt)")
    return nodes, [(source, target) for _, source, target in edges]


def _node(match: re.Match[str], line: int) -> ProfileNode:
    """Return the node of a line; times are in milliseconds there."""
    sizes = match["activations"].strip("[]").split(";")
    return ProfileNode(
        name=match["name"],
        description=match["description"],
        forward_s=_number(match["forward"], "forward_compute_time", line) / 1e3,
        backward_s=_number(match["backward"], "backward_compute_time", line) / 1e3,
        activations=tuple(_number(size, "activation_size", line) for size in sizes),
        parameter_bytes=_number(match["parameters"], "parameter_size", line),
        line=line,
    )


def _number(text: str, key: str, line: int) -> float:
    """Return a finite number, not negative."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise InputError(f"{text.strip()!r} is no number from 0 up", line=line, key=key)
    return value


def _sorted(nodes: dict[str, ProfileNode], edges: list[tuple[str, str]]) -> Iterator[ProfileNode]:
    """Yield the nodes with their inputs, producers first."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(edges)
    if not nx.is_directed_acyclic_graph(graph):
        cycle = [source for source, _ in nx.find_cycle(graph)]
        raise InputError(
            f"has a cycle: {' -> '.join([*cycle, cycle[0]])}", line=nodes[cycle[0]].line
        )
    position = {name: i for i, name in enumerate(nodes)}
    for name in nx.lexicographical_topological_sort(graph, key=position.__getitem__):
        yield evolve(nodes[name], inputs=tuple(graph.predecessors(name)))
