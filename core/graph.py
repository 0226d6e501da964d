"""The model to be planned: operators, tensors, parameter groups and the modes operators run in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import networkx as nx
from attrs import field, frozen

from parplan.errors import InputError

if TYPE_CHECKING:
    Digraph: TypeAlias = nx.DiGraph[int]
else:
    Digraph = nx.DiGraph  # cannot be subscripted when cattrs resolves the annotations of Graph


class Kind(StrEnum):
    """What an operator does in a step. Passes of one block share its ``module`` path."""

    FORWARD = "forward"
    BACKWARD = "backward"
    BACKWARD_INPUT = "backward-input"
    BACKWARD_WEIGHT = "backward-weight"
    OPTIMIZER = "optimizer"
    COLLECTIVE = "collective"
    OTHER = "other"


class Repeat(StrEnum):
    """How often an operator runs: for every microbatch, or once per step."""

    MICROBATCH = "microbatch"
    STEP = "step"


def _check_amount(what: str, value: float) -> None:
    if not math.isfinite(value) or value < 0:
        raise InputError(f"{what} is {value}; it must be finite and not negative")


@frozen
class Kernel:
    """A piece of an operator's work: FLOP, and bytes moved to and from device memory."""

    flops: float = 0.0
    bytes_touched: float = 0.0

    def __attrs_post_init__(self) -> None:
        _check_amount("a kernel's flops", self.flops)
        _check_amount("a kernel's bytes_touched", self.bytes_touched)


@frozen
class Estimate:
    """Seconds of an operator's mode on a device, and where they come from."""

    seconds: float
    formula: str
    source: str


@frozen
class Mode:
    """One way to run an operator on a group of devices.

    Attributes
    ----------
    devices
        Size of the group; all of it starts and ends together (a gang).
    groups
        The device groups allowed, by name; empty means every single device, or for a gang every
        group of that size which the cluster lists.
    seconds
        Duration per device kind, ``"*"`` for all kinds. A kind that is missing cannot run the
        mode, once a cost model has filled this in.
    flops, bytes_touched
        Work of this mode per device, where it differs from the operator's own.
    reads
        Tensors read; None means every tensor of the graph that the operator consumes.
    writes
        Bytes per device of each tensor written; None means every tensor it produces, in full.
        A reader's mode needs a writer's mode that writes the tensor: so modes couple.
    parameter_bytes
        Bytes per device of parameter groups, where they differ from the full group (shards).
    workspace_bytes
        Memory held on each device while it runs.
    engines
        The engines of each device that it holds.
    ring_bytes, ring_steps
        For collectives: bytes each rank sends to the next, and the number of steps. The links
        between ring neighbours are held for the duration, which is at least
        ``steps * latency + bytes / bandwidth``.
    layout
        Layout of all tensors read and written, e.g. ``"sequence/8"``; producer and consumer of a
        tensor must agree, or one of the two must be empty. Conversion is an operator's work.
    source
        Where the cost comes from: a formula or a measurement.
    estimates
        How a cost model came to the seconds of a device kind (`parplan.costs.price`).
    """

    name: str = "default"
    devices: int = 1
    groups: tuple[tuple[str, ...], ...] = ()
    seconds: Mapping[str, float] = field(factory=dict)
    flops: float | None = None
    bytes_touched: float | None = None
    reads: tuple[str, ...] | None = None
    writes: Mapping[str, int] | None = None
    parameter_bytes: Mapping[str, int] | None = None
    workspace_bytes: int = 0
    engines: tuple[str, ...] = ("compute",)
    ring_bytes: int = 0
    ring_steps: int = 0
    layout: str = ""
    source: str = ""
    estimates: Mapping[str, Estimate] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.devices < 1:
            raise InputError(
                f"mode '{self.name}': devices is {self.devices}; it must be at least 1"
            )
        for kind, seconds in self.seconds.items():
            _check_amount(f"mode '{self.name}': seconds on '{kind}'", seconds)
        for group in self.groups:
            if len(group) != self.devices or len(set(group)) != len(group):
                raise InputError(
                    f"mode '{self.name}': group {list(group)} must name {self.devices} "
                    "different devices"
                )

    def seconds_on(self, kind: str) -> float | None:
        """Return the duration on a device kind, None where the mode cannot run."""
        value = self.seconds.get(kind)
        return self.seconds.get("*") if value is None else value


@frozen
class Operator:
    """A node of the graph: one piece of work, per microbatch or once per step.

    Attributes
    ----------
    flops, bytes_touched
        Useful work of one run (FLOP) and bytes moved to and from device memory.
    parameters
        Parameter groups it reads; resident on every device that runs it.
    module
        Path in the model's hierarchy, e.g. ``"layers.3.mlp"``.
    modes
        Ways to run it; a graph made ready for planning has at least one, each with seconds.
    dtype
        Number format of its arithmetic, e.g. ``"bf16"``: which peak a cost model takes.
    kernels
        The pieces of its work, which run one after another: some are bound by arithmetic and some
        by memory, so the roofline of the sum would be too fast. Empty: one piece.
    """

    name: str
    kind: Kind = Kind.FORWARD
    flops: float = 0.0
    bytes_touched: float = 0.0
    parameters: tuple[str, ...] = ()
    repeat: Repeat = Repeat.MICROBATCH
    module: str = ""
    modes: tuple[Mode, ...] = ()
    dtype: str = "bf16"
    kernels: tuple[Kernel, ...] = ()

    def __attrs_post_init__(self) -> None:
        if not self.name:
            raise InputError("an operator has no name")
        _check_amount(f"operator '{self.name}': flops", self.flops)
        _check_amount(f"operator '{self.name}': bytes_touched", self.bytes_touched)
        for what in ("flops", "bytes_touched"):
            total = sum(getattr(kernel, what) for kernel in self.kernels)
            if self.kernels and not math.isclose(total, getattr(self, what), rel_tol=1e-9):
                raise InputError(
                    f"operator '{self.name}': {what} is {getattr(self, what)}, "
                    f"its kernels add up to {total}"
                )
        names = [mode.name for mode in self.modes]
        if len(set(names)) != len(names):
            raise InputError(f"operator '{self.name}': two modes have the same name: {names}")


@frozen
class Tensor:
    """Data from one operator to others; zero bytes make it a pure precedence.

    Attributes
    ----------
    bytes
        Size for one microbatch (or one step, if the producer runs once per step).
    output
        A result of the graph: kept where it was made until the end.
    """

    name: str
    producer: str
    consumers: tuple[str, ...] = ()
    bytes: int = 0
    output: bool = False

    def __attrs_post_init__(self) -> None:
        _check_amount(f"tensor '{self.name}': bytes", self.bytes)
        if len(set(self.consumers)) != len(self.consumers):
            raise InputError(f"tensor '{self.name}': a consumer is named twice: {self.consumers}")


@frozen
class ParameterGroup:
    """Weights that are kept, and updated, together.

    Attributes
    ----------
    weight_bytes, gradient_bytes, optimizer_bytes
        Resident for the whole step on each device that runs a reader, once for all microbatches.
    count
        Number of parameters, for reports.
    """

    name: str
    weight_bytes: int = 0
    gradient_bytes: int = 0
    optimizer_bytes: int = 0
    count: int = 0

    def __attrs_post_init__(self) -> None:
        for what in ("weight_bytes", "gradient_bytes", "optimizer_bytes", "count"):
            _check_amount(f"parameter group '{self.name}': {what}", getattr(self, what))

    @property
    def bytes(self) -> int:
        """All bytes resident for this group."""
        return self.weight_bytes + self.gradient_bytes + self.optimizer_bytes


@frozen
class Graph:
    """A validated, acyclic graph of operators and tensors.

    Raises
    ------
    InputError
        On duplicate or unknown names, or a cycle (named by its operators).
    """

    name: str
    operators: tuple[Operator, ...]
    tensors: tuple[Tensor, ...] = ()
    parameters: tuple[ParameterGroup, ...] = ()

    def __attrs_post_init__(self) -> None:
        _check_unique("operator", [o.name for o in self.operators])
        _check_unique("tensor", [t.name for t in self.tensors])
        _check_unique("parameter group", [p.name for p in self.parameters])
        if not self.operators:
            raise InputError(f"graph '{self.name}' has no operators")
        self._check_names()
        if not nx.is_directed_acyclic_graph(self.digraph):
            cycle = [self.operators[edge[0]].name for edge in nx.find_cycle(self.digraph)]
            shown = " -> ".join([*cycle, cycle[0]])
            raise InputError(f"graph '{self.name}' has a cycle: {shown}; a plan needs a DAG")

    def _check_names(self) -> None:
        known = self.operator_index
        groups = self.parameter_index
        for tensor in self.tensors:
            for name in (tensor.producer, *tensor.consumers):
                if name not in known:
                    raise InputError(f"tensor '{tensor.name}' names unknown operator '{name}'")
            if tensor.producer in tensor.consumers:
                raise InputError(
                    f"tensor '{tensor.name}': '{tensor.producer}' reads its own result"
                )
        for index, operator in enumerate(self.operators):
            for name in operator.parameters:
                if name not in groups:
                    raise InputError(
                        f"operator '{operator.name}' reads unknown parameter group '{name}'"
                    )
            inputs = {self.tensors[t].name for t in self.inputs[index]}
            outputs = {self.tensors[t].name for t in self.outputs[index]}
            for mode in operator.modes:
                subject = f"operator '{operator.name}', mode '{mode.name}'"
                for name in mode.reads or ():
                    if name not in inputs:
                        raise InputError(f"{subject} reads '{name}', which does not reach it")
                for name, size in (mode.writes or {}).items():
                    if name not in outputs:
                        raise InputError(f"{subject} writes '{name}', which it does not produce")
                    _check_amount(f"{subject}: bytes of '{name}'", size)
                for name in mode.parameter_bytes or {}:
                    if name not in operator.parameters:
                        raise InputError(f"{subject} sizes parameter group '{name}', not its own")

    @cached_property
    def operator_index(self) -> dict[str, int]:
        """Position of each operator by name."""
        return {operator.name: i for i, operator in enumerate(self.operators)}

    @cached_property
    def tensor_index(self) -> dict[str, int]:
        """Position of each tensor by name."""
        return {tensor.name: i for i, tensor in enumerate(self.tensors)}

    @cached_property
    def parameter_index(self) -> dict[str, int]:
        """Position of each parameter group by name."""
        return {group.name: i for i, group in enumerate(self.parameters)}

    @cached_property
    def producers(self) -> tuple[int, ...]:
        """Operator index of each tensor's producer."""
        return tuple(self.operator_index[t.producer] for t in self.tensors)

    @cached_property
    def consumers(self) -> tuple[tuple[int, ...], ...]:
        """Operator indices of each tensor's consumers."""
        index = self.operator_index
        return tuple(tuple(index[name] for name in t.consumers) for t in self.tensors)

    @cached_property
    def inputs(self) -> tuple[tuple[int, ...], ...]:
        """Tensor indices that reach each operator."""
        found: list[list[int]] = [[] for _ in self.operators]
        for t, consumers in enumerate(self.consumers):
            for operator in consumers:
                found[operator].append(t)
        return tuple(tuple(row) for row in found)

    @cached_property
    def outputs(self) -> tuple[tuple[int, ...], ...]:
        """Tensor indices that each operator produces."""
        found: list[list[int]] = [[] for _ in self.operators]
        for t, operator in enumerate(self.producers):
            found[operator].append(t)
        return tuple(tuple(row) for row in found)

    @cached_property
    def digraph(self) -> Digraph:
        """The operators by index as a networkx graph, one edge per dependent pair."""
        graph: Digraph = nx.DiGraph()
        graph.add_nodes_from(range(len(self.operators)))
        for producer, consumers in zip(self.producers, self.consumers, strict=True):
            graph.add_edges_from((producer, consumer) for consumer in consumers)
        return graph

    @cached_property
    def topological_order(self) -> tuple[int, ...]:
        """Operator indices, producers first; ties in the order given."""
        return tuple(nx.lexicographical_topological_sort(self.digraph))

    def reads(self, operator: int, mode: int) -> tuple[int, ...]:
        """Return the tensor indices an operator reads in a mode."""
        names = self.operators[operator].modes[mode].reads
        if names is None:
            return self.inputs[operator]
        return tuple(self.tensor_index[name] for name in names)

    def writes(self, operator: int, mode: int) -> dict[int, int]:
        """Return bytes per device of each tensor index an operator writes in a mode."""
        sizes = self.operators[operator].modes[mode].writes
        if sizes is None:
            return {t: self.tensors[t].bytes for t in self.outputs[operator]}
        return {self.tensor_index[name]: size for name, size in sizes.items()}

    def parameter_bytes(self, operator: int, mode: int) -> dict[int, int]:
        """Return resident bytes per device of each parameter group index read in a mode."""
        spec = self.operators[operator]
        sizes = spec.modes[mode].parameter_bytes or {}
        return {
            self.parameter_index[name]: sizes.get(
                name, self.parameters[self.parameter_index[name]].bytes
            )
            for name in spec.parameters
        }

    def with_kind(self, kind: Kind) -> Iterator[int]:
        """Yield the indices of operators of a kind."""
        return (i for i, operator in enumerate(self.operators) if operator.kind is kind)


def _check_unique(what: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"two {what}s are named '{name}'")
        seen.add(name)
