"""The graph of a program with its own backward pass: every call an operator, exact in all it keeps.

Where `parplan.differentiation` makes backward passes from what layers say of themselves, here they
are there: a tensor is kept from forward to backward pass because a call of the latter reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import evolve, frozen

from parplan.differentiation import Layer, Update, Work, optimizer_operator, pass_operator
from parplan.graph import Graph, Kernel, Kind, Operator, Tensor
from parplan.plugins.importers.analytic.granularity import join_modules
from parplan.plugins.importers.traced.joint import Joint
from parplan.plugins.importers.traced.layers import Drafts, EffectOf, draft_layers
from parplan.plugins.importers.traced.modules import Granularity, blocks, cut, parted
from parplan.plugins.importers.traced.options import TorchOptions, whole_modules
from parplan.plugins.importers.traced.parameters import parameter_groups, updates
from parplan.plugins.importers.traced.passes import Draft


def joint_graph(name: str, joint: Joint, effect: EffectOf, options: TorchOptions) -> Graph:
    """Return the graph of a program with its own backward pass, in the chosen granularity.

    Raises
    ------
    InputError
        If the work of a call is not known.
    """
    drafts = draft_layers(joint.program, effect, options.attention)
    gradients, summed = _gradients(joint, drafts)
    kept = [draft for at, draft in enumerate(drafts.drafts) if at not in summed]
    steps = _steps(joint, kept, gradients, options)
    layers = [step.layer for step in steps]
    reached = {path for step in steps for path in step.gradients}
    weights = parameter_groups(joint.program, layers, reached, options)
    optimizers = updates(layers, {group.name: group for group, trained in weights if trained})
    graph = Graph(
        name,
        (
            *(step.operator for step in steps),
            *(optimizer_operator(update) for update in optimizers),
        ),
        tuple(_tensors(steps, gradients, optimizers)),
        tuple(group for group, _ in weights),
    )
    if options.granularity is Granularity.OPERATOR and options.depth is None:
        return graph
    return join_modules(graph, lambda module: module)


@frozen
class _Step:
    """A call as an operator.

    Attributes
    ----------
    layer
        In the module that it becomes a part of.
    origin
        Position in the forward program of the call that it belongs to; None if there is none.
    gradients
        Paths of the parameters whose gradients it makes.
    """

    layer: Layer
    kind: Kind
    origin: int | None
    gradients: tuple[str, ...]

    @property
    def operator(self) -> Operator:
        """The operator; it adds gradients of parameters to what other microbatches have left."""
        read = tuple(dict.fromkeys((*self.layer.parameters, *self.gradients)))
        return pass_operator(evolve(self.layer, parameters=read), self.kind, self.layer.forward)

    @property
    def name(self) -> str:
        """Name of the operator."""
        return f"{self.layer.name}:{self.kind.value}"


def _gradients(joint: Joint, drafts: Drafts) -> tuple[dict[str, str], frozenset[int]]:
    """Return the tensors that are gradients of parameters, and the sums that only gather them.

    Of a parameter that is read twice both readers make a gradient; each is added to the
    parameter's own, as those of the microbatches are.
    """
    found = {
        drafts.tensors[name]: path
        for name, path in joint.gradients.items()
        if drafts.tensors.get(name)
    }
    summed: set[int] = set()
    for at in range(len(drafts.drafts) - 1, -1, -1):
        draft = drafts.drafts[at]
        paths = [found[tensor] for tensor in draft.layer.writes if tensor in found]
        if paths and joint.origins[draft.position] is None:
            found.update(dict.fromkeys(draft.layer.reads, paths[0]))
            summed.add(at)
    return found, frozenset(summed)


def _steps(
    joint: Joint, drafts: Sequence[Draft], gradients: Mapping[str, str], options: TorchOptions
) -> list[_Step]:
    """Return the calls as operators, each in its module."""
    kinds = [joint.kinds[draft.position] for draft in drafts]
    origins = [joint.origins[draft.position] for draft in drafts]
    homes = _homes(joint.program.kind, drafts, kinds, origins, options)
    whole = whole_modules(options, homes)
    kinds = [
        Kind.BACKWARD if home in whole and kind is not Kind.FORWARD else kind
        for home, kind in zip(homes, kinds, strict=True)
    ]
    if options.granularity is not Granularity.OPERATOR or options.depth is not None:
        homes = _without_cycles(drafts, kinds, homes)
    return [
        _Step(
            evolve(draft.layer, module=home, forward=_gathering(draft.layer, gradients)),
            kind,
            origin,
            tuple(dict.fromkeys(gradients[t] for t in draft.layer.writes if t in gradients)),
        )
        for draft, kind, origin, home in zip(drafts, kinds, origins, homes, strict=True)
    ]


def _gathering(layer: Layer, gradients: Mapping[str, str]) -> Work:
    """Return the work of a call; where it makes gradients of parameters, it reads the old ones."""
    (kernel,) = layer.forward.kernels
    old = sum(size for tensor, size in layer.writes.items() if tensor in gradients)
    return Work((Kernel(kernel.flops, kernel.bytes_touched + old),))


def _homes(
    root: str,
    drafts: Sequence[Draft],
    kinds: Sequence[Kind],
    origins: Sequence[int | None],
    options: TorchOptions,
) -> list[str]:
    """Return the module of each call: of a backward pass that of its forward pass.

    A sum of gradients goes with the call that reads it.
    """
    count = kinds.count(Kind.FORWARD)
    homes = list(blocks(drafts[:count], root, options.granularity, options.depth))
    of_call = dict(zip(origins[:count], homes, strict=True))
    of_path: dict[str, str] = {}
    for draft, home in zip(drafts, homes, strict=False):
        of_path.setdefault(cut(draft.layer.module, options.granularity, options.depth), home)
    of_tensor: dict[str, str] = {}  # the module of a backward call that reads it
    found: list[str] = []
    for draft, origin in zip(reversed(drafts[count:]), reversed(origins[count:]), strict=True):
        path = cut(draft.layer.module, options.granularity, options.depth)
        readers = [of_tensor[tensor] for tensor in draft.layer.writes if tensor in of_tensor]
        known = None if origin is None else of_call.get(origin, of_path.get(path))
        home = known or next(iter(readers), homes[-1])
        of_tensor.update(dict.fromkeys(draft.layer.reads, home))
        found.append(home)
    return [*homes, *reversed(found)]


def _without_cycles(
    drafts: Sequence[Draft], kinds: Sequence[Kind], homes: Sequence[str]
) -> list[str]:
    """Return modules so that joining the backward calls of each makes no cycle."""
    count = kinds.count(Kind.FORWARD)
    makers = {t: at for at, draft in enumerate(drafts[count:]) for t in draft.layer.writes}
    parts = parted(
        [f"{home}:{kind.value}" for home, kind in zip(homes[count:], kinds[count:], strict=True)],
        [[makers[t] for t in draft.layer.reads if t in makers] for draft in drafts[count:]],
    )
    names = [
        home if part == f"{home}:{kind.value}" else part.replace(":", "~")
        for home, kind, part in zip(homes[count:], kinds[count:], parts, strict=True)
    ]
    return [*homes[:count], *names]


def _tensors(
    steps: Sequence[_Step], gradients: Mapping[str, str], optimizers: Sequence[Update]
) -> Iterator[Tensor]:
    """Yield the tensors between operators; gradients of parameters stay with these.

    Where nothing else says so, an empty one tells that a backward pass comes after its forward
    pass, and an optimizer's step after the gradients that it reads.
    """
    readers: dict[str, list[str]] = {}
    for step in steps:
        for tensor in step.layer.reads:
            readers.setdefault(tensor, []).append(step.name)
    updaters = {name: f"{u.module}:optimizer" for u in optimizers for name in u.parameters}
    forward = [step for step in steps if step.kind is Kind.FORWARD]
    starts = {step.origin: step.name for step in forward}
    for step in steps:
        for tensor, size in step.layer.writes.items():
            if tensor in readers or tensor not in gradients:
                yield Tensor(tensor, step.name, tuple(readers.get(tensor, ())), size)
        if step.kind is not Kind.FORWARD and not step.layer.reads:
            start = starts.get(step.origin, forward[-1].name)
            yield Tensor(f"{step.name}:start", start, (step.name,))
        done = dict.fromkeys(updaters[path] for path in step.gradients if path in updaters)
        if done:
            yield Tensor(f"{step.name}:done", step.name, tuple(done))
