"""PipeDream profiles: measured seconds and bytes of every operator of a model."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from attrs import frozen

from parplan.contracts import Importer
from parplan.differentiation import (
    Backward,
    Layer,
    Passes,
    Update,
    Work,
    inference_graph,
    training_graph,
)
from parplan.errors import InputError
from parplan.graph import Graph, Kernel, ParameterGroup
from parplan.plugins.importers.pipedream.profile import ProfileNode, read_profile
from parplan.spec.structuring import structure

ELEMENT_BYTES = 4
"""The profiles are of fp32 models."""

NOT_DIFFERENTIABLE = ("Size",)
"""Nodes whose result is no tensor of numbers with a gradient."""

SAVES_RESULT = ("ReLU",)
"""Nodes whose backward pass needs the result instead of the input; so does what works in place."""


@frozen
class PipeDreamOptions:
    """How a profile is read.

    Attributes
    ----------
    device_kind
        Kind of the device it was measured on; PipeDream's own are of V100s.
    weight_share
        With ``backward: split``: the part of the backward time that a node with weights spends on
        their gradient. A profile does not say; half is assumed.
    microbatch_scale
        Factor on times and activation bytes: a profiled batch of 64 cut into microbatches of 16
        is 0.25. Times are taken to be proportional.
    optimizer
        Whether there is an optimizer step per node, once per step. A profile does not time it;
        the roofline cost model does, from its bytes.
    optimizer_bytes_per_weight_byte
        Optimizer state; 1 for SGD with momentum, 2 for Adam. Gradients are as large as weights.
    """

    device_kind: str = "v100"
    workload: Passes = Passes.TRAINING
    backward: Backward = Backward.WHOLE
    weight_share: float = 0.5
    microbatch_scale: float = 1.0
    optimizer: bool = True
    optimizer_bytes_per_weight_byte: float = 1.0

    def __attrs_post_init__(self) -> None:
        if not self.device_kind:
            raise InputError("device_kind is empty; name the kind that was profiled, e.g. 'v100'")
        if not 0 < self.weight_share < 1:
            raise InputError(f"weight_share is {self.weight_share}; it must lie between 0 and 1")
        if not (math.isfinite(self.microbatch_scale) and self.microbatch_scale > 0):
            raise InputError(f"microbatch_scale is {self.microbatch_scale}; above zero")
        if not 0 <= self.optimizer_bytes_per_weight_byte < math.inf:
            value = self.optimizer_bytes_per_weight_byte
            raise InputError(f"optimizer_bytes_per_weight_byte is {value}; it cannot be negative")


class PipeDream(Importer):
    """Reads a ``graph.txt`` of PipeDream's profiler.

    A backward pass reads its node's inputs (or its results, where those are what is needed), so
    they live until then; nodes that took no time (views) keep nothing. Gradients flow from the
    sinks that took time (results that nobody uses, such as an LSTM's last state, have none),
    through all that depends on weights. Work in FLOP is known for convolutions, linear layers and
    LSTMs, and 0 elsewhere; bytes touched are those of inputs, results and weights.
    """

    name: ClassVar[str] = "pipedream"
    options: ClassVar[type] = PipeDreamOptions

    def load(self, path: Path, options: Mapping[str, Any]) -> Graph:
        """Return the graph of a profile; InputError names the file and the line at fault."""
        chosen = structure(dict(options), PipeDreamOptions, key="model.options")
        nodes = read_profile(path)
        title = path.resolve().parent.name if path.name == "graph.txt" else path.stem
        source = f"PipeDream profile {title}, measured on {chosen.device_kind}"
        layers = _layers(nodes, chosen, source)
        training = chosen.workload is Passes.TRAINING
        groups = [_group(node, chosen, training) for node in nodes if node.parameter_bytes]
        if not training:
            return inference_graph(title, layers, groups)
        trained = {name for layer in layers if layer.has_backward for name in layer.parameters}
        updates = [_update(group) for group in groups if group.name in trained]
        split = chosen.backward is Backward.SPLIT
        return training_graph(
            title, layers, groups, updates if chosen.optimizer else [], split=lambda _: split
        )


def _layers(nodes: Sequence[ProfileNode], options: PipeDreamOptions, source: str) -> list[Layer]:
    """Return a layer for each node."""
    by_name = {node.name: node for node in nodes}
    results, backward = _results(nodes), _with_backward(nodes)
    layers = []
    for node in nodes:
        reads = tuple(t for name in node.inputs for t in _taken(node, by_name[name]))
        writes = {
            name: math.ceil(size * options.microbatch_scale)
            for name, size in zip(_tensors(node), node.activations, strict=True)
        }
        saved: tuple[str, ...] = ()
        if node.backward_s > 0:
            by_result = node.type in SAVES_RESULT or "inplace" in node.description
            saved = tuple(writes) if by_result else reads
        if node.name in results:
            saved = tuple(dict.fromkeys((*saved, *writes)))
        inputs = sum(size for name in node.inputs for size in by_name[name].activations)
        onward, weights = None, None
        if node.name in backward:
            differentiable = any(name in backward for name in node.inputs)
            onward, weights = _backward(node, options, inputs, saved, differentiable)
        kernel = _kernel(node, options, inputs + sum(node.activations), 1.0)
        layers.append(
            Layer(
                name=node.label,
                module=node.label,
                reads=reads,
                writes=writes,
                forward=_work(node.forward_s, kernel, options, ()),
                parameters=(node.label,) if node.parameter_bytes else (),
                dtype="fp32",
                source=source,
                backward_input=onward,
                backward_weight=weights,
            )
        )
    return layers


def _backward(
    node: ProfileNode,
    options: PipeDreamOptions,
    inputs: float,
    saved: tuple[str, ...],
    differentiable: bool,
) -> tuple[Work | None, Work | None]:
    """Return the passes for inputs and for weights, with their shares of the measured time."""
    results = sum(node.activations)
    split = options.backward is Backward.SPLIT
    share = options.weight_share if split and differentiable else 1.0
    if not node.parameter_bytes or (differentiable and not split):
        kernel = _kernel(node, options, results + 2 * inputs, 2.0 if node.parameter_bytes else 1.0)
        return _work(node.backward_s, kernel, options, saved), None
    kernel = _kernel(node, options, results + inputs, 1.0, weight_passes=2.0)
    weights = _work(node.backward_s * share, kernel, options, saved)
    if not differentiable:
        return None, weights
    kernel = _kernel(node, options, results + 2 * inputs, 1.0)
    return _work(node.backward_s - node.backward_s * share, kernel, options, saved), weights


def _work(
    seconds: float, kernel: Kernel, options: PipeDreamOptions, saved: tuple[str, ...]
) -> Work:
    measured = {options.device_kind: seconds * options.microbatch_scale}
    return Work((kernel,), saved=saved, seconds=measured)


def _kernel(
    node: ProfileNode,
    options: PipeDreamOptions,
    activations: float,
    flops: float,
    weight_passes: float = 1.0,
) -> Kernel:
    """Return the work of a pass: ``flops`` times the forward's FLOP, and the bytes it touches."""
    return Kernel(
        flops * forward_flops(node) * options.microbatch_scale,
        activations * options.microbatch_scale + weight_passes * node.parameter_bytes,
    )


def forward_flops(node: ProfileNode) -> float:
    """Return 2 x multiply-adds of a convolution, linear layer or LSTM; 0 for other nodes.

    Per element of the result, a convolution multiplies in / groups x kernel values, a linear layer
    its inputs, and an LSTM four times its inputs and state.
    """
    found = [
        (kind, m) for kind, pattern in _DENSE.items() if (m := pattern.search(node.description))
    ]
    if len(found) != 1 or len(_DENSE[found[0][0]].findall(node.description)) != 1:
        return 0.0
    kind, match = found[0]
    if kind == "Conv2d":
        groups = re.search(r"groups=(\d+)", node.description)
        per_element = int(match[1]) * int(match[2]) * int(match[3])
        per_element //= int(groups[1]) if groups else 1
    elif kind == "Linear":
        per_element = int(match[1])
    else:
        per_element = 4 * (int(match[1]) + int(match[2]))
    return 2.0 * per_element * node.activations[0] / ELEMENT_BYTES


_DENSE = {
    "Conv2d": re.compile(r"Conv2d\((\d+), \d+, kernel_size=\((\d+), (\d+)\)"),
    "Linear": re.compile(r"Linear\(in_features=(\d+)"),
    "LSTM": re.compile(r"LSTM\((\d+), (\d+)"),
}


def _tensors(node: ProfileNode) -> list[str]:
    """Return the names of a node's results."""
    if len(node.activations) == 1:
        return [node.label]
    return [f"{node.label}.{i}" for i in range(len(node.activations))]


def _taken(node: ProfileNode, producer: ProfileNode) -> list[str]:
    """Return which results of a producer a node reads: one, if it picks it by index."""
    names = _tensors(producer)
    index = re.fullmatch(r"__getitem__\((\d+)\)", node.description)
    if index and len(names) > 1 and int(index[1]) < len(names):
        return [names[int(index[1])]]
    return names


def _results(nodes: Sequence[ProfileNode]) -> set[str]:
    """Return the sinks that gradients start from: those that took time; if none did, all."""
    used = {name for node in nodes for name in node.inputs}
    sinks = [node for node in nodes if node.name not in used]
    timed = [node for node in sinks if node.forward_s or node.backward_s]
    return {node.name for node in timed or sinks}


def _with_backward(nodes: Sequence[ProfileNode]) -> set[str]:
    """Return the nodes with a backward pass: timed, or between weights and a result."""
    trained: set[str] = set()
    for node in nodes:
        reached = node.parameter_bytes > 0 or bool(trained & set(node.inputs))
        if reached and node.type not in NOT_DIFFERENTIABLE:
            trained.add(node.name)
    leading = _results(nodes)
    for node in reversed(nodes):
        if node.name in leading and node.type not in NOT_DIFFERENTIABLE:
            leading |= set(node.inputs)
    return {n.name for n in nodes if n.backward_s or n.name in trained & leading}


def _group(node: ProfileNode, options: PipeDreamOptions, training: bool) -> ParameterGroup:
    """Return a node's weights, as large as in the profile."""
    weights = math.ceil(node.parameter_bytes)
    state = math.ceil(weights * options.optimizer_bytes_per_weight_byte)
    return ParameterGroup(
        node.label,
        weight_bytes=weights,
        gradient_bytes=weights if training else 0,
        optimizer_bytes=state if training and options.optimizer else 0,
        count=weights // ELEMENT_BYTES,
    )


def _update(group: ParameterGroup) -> Update:
    """Return the optimizer step: gradient read, weights and state read and written."""
    moved = group.gradient_bytes + 2 * group.weight_bytes + 2 * group.optimizer_bytes
    return Update(group.name, (group.name,), Work((Kernel(0.0, moved),)))
