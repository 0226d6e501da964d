"""From the forward layers of a model to the operators of a whole training or inference step.

Importers describe what each layer reads, writes, keeps and costs; the passes, the gradients
between them and the optimizer follow from that by the rules of reverse-mode differentiation:

- a backward pass reads the gradients of its layer's results and what was saved for it;
- it writes the gradient of each input whose producer has a backward pass itself; an input of
  several layers gets a contribution from each, and its producer's backward pass adds them up;
- an input that is added to the result (a residual connection) hands the result's gradient on
  unchanged; where the input has another reader, that reader's backward pass adds it in;
- a layer that only adds its inputs has no backward pass: each input gets the result's gradient;
- a backward-weight pass reads the same gradients and the saved input.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

from attrs import field, frozen

from parplan.graph import Graph, Kernel, Kind, Mode, Operator, ParameterGroup, Repeat, Tensor


class Passes(StrEnum):
    """Which passes a graph has: all of a training step, or the forward ones."""

    TRAINING = "training"
    INFERENCE = "inference"


class Backward(StrEnum):
    """Whether the gradients of inputs and of weights are operators of their own."""

    SPLIT = "split"
    WHOLE = "whole"


@frozen
class Work:
    """What one pass of a layer does for one microbatch.

    Attributes
    ----------
    kernels
        Its work, piece by piece.
    saved
        Tensors of the forward pass that it reads (not used for a forward pass).
    seconds
        Measured duration by device kind, if any.
    workspace_bytes
        Memory held while it runs.
    engines
        What it holds of its device while it runs.
    source
        Where its seconds come from, if it has any; empty: where the layer's come from.
    """

    kernels: tuple[Kernel, ...] = ()
    saved: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(factory=dict)
    workspace_bytes: int = 0
    engines: tuple[str, ...] = ("compute",)
    source: str = ""


@frozen
class Layer:
    """One operator of the forward model, with what its backward passes do.

    Attributes
    ----------
    reads, writes
        Tensors by name, and for those written their bytes; what is only saved stands here too.
    backward_input, backward_weight
        None where there is no such pass. A layer with parameters and without ``backward_weight``
        makes their gradient in ``backward_input``.
    residual
        Those of ``reads`` that are added to the result.
    gradient_bytes
        Size of the gradient of an input where it differs from the input's own.
    source
        Where its seconds come from, if it has any.
    """

    name: str
    module: str
    reads: tuple[str, ...]
    writes: Mapping[str, int]
    forward: Work
    backward_input: Work | None = None
    backward_weight: Work | None = None
    parameters: tuple[str, ...] = ()
    residual: tuple[str, ...] = ()
    gradient_bytes: Mapping[str, int] = field(factory=dict)
    dtype: str = "bf16"
    source: str = ""

    @property
    def has_backward(self) -> bool:
        """Whether a gradient reaches it."""
        has_pass = self.backward_input is not None or self.backward_weight is not None
        return has_pass or self.only_adds

    @property
    def only_adds(self) -> bool:
        """Whether it is a sum of its inputs: it hands gradients on without a pass of its own."""
        no_pass = self.backward_input is None and self.backward_weight is None
        return no_pass and bool(self.reads) and set(self.reads) <= set(self.residual)


@frozen
class Update:
    """An optimizer step of some parameter groups, once per step, where the weights are."""

    module: str
    parameters: tuple[str, ...]
    work: Work
    dtype: str = "fp32"


@frozen
class Replicas:
    """Copies of one parameter group on different devices: each updates with all their gradients.

    Attributes
    ----------
    groups
        The copies.
    gradient_bytes
        Of one of them.
    """

    groups: tuple[str, ...]
    gradient_bytes: int


@frozen
class _Pass:
    """A backward pass: its operator's name, and what it is answerable for."""

    layer: Layer
    kind: Kind
    work: Work
    writes_gradients: bool
    updates_weights: bool

    @property
    def name(self) -> str:
        return f"{self.layer.name}:{self.kind.value}"


def inference_graph(
    name: str, layers: Sequence[Layer], parameters: Iterable[ParameterGroup]
) -> Graph:
    """Return the graph of the forward passes alone, named ``layer:forward``."""
    readers = _forward_readers(layers)
    tensors = (
        Tensor(tensor, f"{layer.name}:forward", tuple(readers.get(tensor, ())), size)
        for layer in layers
        for tensor, size in layer.writes.items()
    )
    operators = tuple(pass_operator(layer, Kind.FORWARD, layer.forward) for layer in layers)
    return Graph(name, operators, tuple(tensors), tuple(parameters))


def training_graph(
    name: str,
    layers: Sequence[Layer],
    parameters: Iterable[ParameterGroup],
    updates: Sequence[Update],
    *,
    split: Callable[[Layer], bool],
    replicas: Sequence[Replicas] = (),
) -> Graph:
    """Return the graph of a training step.

    Operators are named ``layer:forward``, ``layer:backward-input`` and ``layer:backward-weight``
    (or ``layer:backward`` where a layer is not split), ``module:optimizer``, and for a copy c of a
    group ``c:collective``; the gradient of tensor t is ``t:gradient``.

    Parameters
    ----------
    layers
        In an order in which producers come first.
    split
        Whether the gradients of a layer's inputs and of its weights are operators of their own.
    replicas
        Parameter groups that are copies of one another: once per step each sends the gradient that
        it has gathered to the optimizers of the others.
    """
    readers = _forward_readers(layers)
    passes = [p for layer in reversed(layers) for p in _passes(layer, split=split(layer))]
    gradients = _gradients(layers, passes, readers)
    done = [p for p in passes if p.updates_weights]
    for update in updates:
        for p in done:
            if set(p.layer.parameters) & set(update.parameters):
                readers.setdefault(f"{p.name}:done", []).append(f"{update.module}:optimizer")
    exchanges = [x for copies in replicas for x in _exchanges(copies, done, updates)]
    for exchange in exchanges:
        for p in exchange.passes:
            readers.setdefault(f"{p.name}:done", []).append(exchange.name)
        readers[exchange.gradient] = list(exchange.readers)
    made = [
        *((t, f"{layer.name}:forward", n) for layer in layers for t, n in layer.writes.items()),
        *gradients,
        *((f"{p.name}:done", p.name, 0) for p in done),
        *((x.gradient, x.name, x.gradient_bytes) for x in exchanges),
    ]
    operators = (
        *(pass_operator(layer, Kind.FORWARD, layer.forward) for layer in layers),
        *(pass_operator(p.layer, p.kind, p.work) for p in passes),
        *(x.operator() for x in exchanges),
        *(optimizer_operator(update) for update in updates),
    )
    tensors = tuple(
        Tensor(tensor, producer, tuple(dict.fromkeys(readers.get(tensor, ()))), size)
        for tensor, producer, size in made
    )
    return Graph(name, operators, tensors, tuple(parameters))


def _forward_readers(layers: Sequence[Layer]) -> dict[str, list[str]]:
    """Return the forward operators that read each tensor."""
    readers: dict[str, list[str]] = {}
    for layer in layers:
        for tensor in layer.reads:
            readers.setdefault(tensor, []).append(f"{layer.name}:forward")
    return readers


def _passes(layer: Layer, *, split: bool) -> list[_Pass]:
    """Return the backward passes of a layer: none, one or two."""
    inputs, weights = layer.backward_input, layer.backward_weight
    trained = bool(layer.parameters)
    if not layer.has_backward or layer.only_adds:
        return []
    if not split:
        whole = _join([work for work in (inputs, weights) if work is not None])
        return [_Pass(layer, Kind.BACKWARD, whole, inputs is not None, trained)]
    found = []
    if inputs is not None:
        alone = weights is None
        found.append(_Pass(layer, Kind.BACKWARD_INPUT, inputs, True, trained and alone))
    if weights is not None:
        found.append(_Pass(layer, Kind.BACKWARD_WEIGHT, weights, False, trained))
    return found


@frozen
class _Exchange:
    """The sending of what one copy of a group has gathered, once per step.

    Attributes
    ----------
    passes
        Those that make its gradient.
    readers
        Optimizers of the other copies.
    """

    group: str
    gradient_bytes: int
    passes: tuple[_Pass, ...]
    readers: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.group}:{Kind.COLLECTIVE.value}"

    @property
    def gradient(self) -> str:
        return f"{self.group}:gradient"

    def operator(self) -> Operator:
        """Return the operator, which reads the gradient once."""
        layer = self.passes[0].layer
        return Operator(
            name=self.name,
            kind=Kind.COLLECTIVE,
            bytes_touched=self.gradient_bytes,
            parameters=(self.group,),
            repeat=Repeat.STEP,
            module=layer.module,
            modes=(Mode(),),
            dtype=layer.dtype,
        )


def _exchanges(
    copies: Replicas, passes: Sequence[_Pass], updates: Sequence[Update]
) -> Iterator[_Exchange]:
    """Yield the exchange of each copy."""
    for group in copies.groups:
        others = set(copies.groups) - {group}
        yield _Exchange(
            group,
            copies.gradient_bytes,
            tuple(p for p in passes if group in p.layer.parameters),
            tuple(f"{u.module}:optimizer" for u in updates if others & set(u.parameters)),
        )


def _join(works: Sequence[Work]) -> Work:
    """Return the work of passes that run one after another as one."""
    kinds = sorted({kind for work in works for kind in work.seconds})
    return Work(
        kernels=tuple(kernel for work in works for kernel in work.kernels),
        saved=tuple(dict.fromkeys(t for work in works for t in work.saved)),
        seconds={kind: sum(work.seconds[kind] for work in works) for kind in kinds},
        workspace_bytes=max(work.workspace_bytes for work in works),
        engines=tuple(dict.fromkeys(engine for work in works for engine in work.engines)),
        source="; ".join(dict.fromkeys(work.source for work in works if work.source)),
    )


def _gradients(
    layers: Sequence[Layer], passes: Sequence[_Pass], readers: dict[str, list[str]]
) -> list[tuple[str, str, int]]:
    """Return each gradient's name, producer and bytes; put what backward passes read in readers.

    Layers are visited last to first, so the gradients of a layer's results are known before it.
    """
    sizes = {t: size for layer in layers for t, size in layer.writes.items()}
    differentiable = {t for layer in layers if layer.has_backward for t in layer.writes}
    parts = Counter(t for y in layers if y.backward_input for t in y.reads if t not in y.residual)
    known: dict[str, list[str]] = {}
    handed_on: dict[str, list[str]] = {}
    made: list[tuple[str, str, int]] = []
    own: dict[str, list[_Pass]] = {}
    for p in passes:
        own.setdefault(p.layer.name, []).append(p)
    for layer in reversed(layers):
        upstream = [g for t in layer.writes for g in known.get(t, []) + handed_on.get(t, [])]
        if layer.only_adds:
            for tensor in differentiable & set(layer.reads):
                handed_on.setdefault(tensor, []).extend(upstream)
        for p in own.get(layer.name, ()):
            reads = [*upstream, *p.work.saved]
            if not upstream and not set(p.work.saved) & set(layer.writes):
                # Nothing else says that the backward pass comes after its own forward pass.
                start = f"{p.name}:start"
                made.append((start, f"{layer.name}:forward", 0))
                reads.append(start)
            for tensor in (t for t in layer.reads if p.writes_gradients and t in differentiable):
                if tensor in layer.residual:
                    handed_on.setdefault(tensor, []).extend(upstream)
                    continue
                suffix = f":{layer.name}" if parts[tensor] > 1 else ""
                gradient = f"{tensor}:gradient{suffix}"
                reads += handed_on.pop(tensor, [])
                made.append((gradient, p.name, layer.gradient_bytes.get(tensor, sizes[tensor])))
                known.setdefault(tensor, []).append(gradient)
            for tensor in reads:
                readers.setdefault(tensor, []).append(p.name)
    return made


def pass_operator(layer: Layer, kind: Kind, work: Work) -> Operator:
    """Return the operator of one pass."""
    return Operator(
        name=f"{layer.name}:{kind.value}",
        kind=kind,
        flops=sum(kernel.flops for kernel in work.kernels),
        bytes_touched=sum(kernel.bytes_touched for kernel in work.kernels),
        parameters=layer.parameters,
        module=layer.module,
        modes=(_mode(work, layer.source),),
        dtype=layer.dtype,
        kernels=work.kernels if len(work.kernels) > 1 else (),
    )


def optimizer_operator(update: Update) -> Operator:
    """Return the operator that updates the weights, once per step."""
    return Operator(
        name=f"{update.module}:optimizer",
        kind=Kind.OPTIMIZER,
        flops=sum(kernel.flops for kernel in update.work.kernels),
        bytes_touched=sum(kernel.bytes_touched for kernel in update.work.kernels),
        parameters=update.parameters,
        repeat=Repeat.STEP,
        module=update.module,
        modes=(_mode(update.work, ""),),
        dtype=update.dtype,
    )


def _mode(work: Work, source: str) -> Mode:
    return Mode(
        seconds=work.seconds,
        workspace_bytes=work.workspace_bytes,
        engines=work.engines,
        source=(work.source or source) if work.seconds else "",
    )
