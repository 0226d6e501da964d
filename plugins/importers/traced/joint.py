"""Forward and backward pass of a program together, as PyTorch's autograd records them.

The calls of a program are made once on tensors without data, under the tracer of PyTorch's
compiler (`torch._functorch.aot_autograd`), which runs autograd on them and writes down what that
calls. Some things are set right on the way:

- tensors are said to be on the CPU: on ``meta`` a cross entropy loses its backward pass without a
  word, and attention falls apart into scores of all pairs;
- attention and dropout are called by the names of fused kernels, as an accelerator runs them, and
  a histogram of whole numbers, which only accelerators have, is one of floats;
- a convolution's gradients come from one call; it is written down twice, for one of them each.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from attrs import evolve, field, frozen

from parplan.errors import InputError
from parplan.graph import Kind
from parplan.plugins.importers.traced.calling import arguments_of, empty, operator_of
from parplan.plugins.importers.traced.exported import GraphReader, meta_of, stack_of
from parplan.plugins.importers.traced.gradients import ATTENTION, Attention
from parplan.plugins.importers.traced.program import (
    Argument,
    Call,
    Given,
    Program,
    Source,
)
from parplan.plugins.importers.traced.tracing import quiet
from parplan.system.extras import required

CONVOLUTION = "convolution_backward"

PREFIX = "joint:"
"""Of the names of tensors that calls make, which keeps them apart from those that are given."""


@frozen
class Joint:
    """A program with its backward pass.

    Attributes
    ----------
    program
        The calls of the forward pass, then those of the backward pass; tensors that the latter
        starts from are inputs.
    kinds
        Of each call its pass: forward, backward-input or backward-weight.
    origins
        Of each call the position of the call in the forward program that it belongs to; None where
        gradients are added up.
    gradients
        Path of the parameter whose gradient a tensor is, by the tensor's name.
    """

    program: Program
    kinds: tuple[Kind, ...]
    origins: tuple[int | None, ...]
    gradients: Mapping[str, str]


def joint_program(program: Program, attention: Attention) -> Joint:
    """Return a program with the backward pass that autograd runs for it.

    Gradients start from the first result that is a single number, the loss; without one from all
    results.

    Raises
    ------
    InputError
        If PyTorch is missing; if no result depends on a parameter that is trained; if PyTorch
        cannot differentiate the program.
    """
    torch = required("torch", "torch")
    aot = required("torch._functorch.aot_autograd", "torch")
    fake = required("torch._subclasses", "torch").FakeTensorMode()
    with fake:
        inputs = [_input(torch, program, name) for name in program.given]
    replay = _Replay(torch, program, attention)
    try:
        with quiet(), replay.scores():
            graph = aot.aot_export_joint_simple(replay.run, tuple(inputs), trace_joint=True)
    except InputError:
        raise
    except Exception as error:  # whatever PyTorch's tracer meets
        reason = str(error).strip().partition("\n")[0]
        where = replay.where[-1] if replay.where else ""
        raise InputError(
            f"forward and backward pass of '{program.kind}' cannot be traced together"
            f"{f', at module {where!r}' if where else ''}: {type(error).__name__}: {reason}; "
            "import it without the option joint"
        ) from error
    return _read(torch, program, graph, replay.results[-1])


def _input(torch: Any, program: Program, name: str) -> Any:
    """Return a tensor that a program is given, as autograd shall see it."""
    given, meta = program.given[name], program.tensors[name]
    tensor = empty(torch, meta, "cpu")
    trained = given.source is Source.PARAMETER and given.trained and meta.is_float
    return tensor.requires_grad_(trained)


@frozen
class _Replay:
    """Makes the calls of a program anew.

    Attributes
    ----------
    results
        Number of results of each run.
    where
        Modules whose calls were made.
    """

    torch: Any
    program: Program
    attention: Attention
    results: list[int] = field(factory=list)
    where: list[str] = field(factory=list)

    def scores(self) -> contextlib.AbstractContextManager[None]:
        """Let attention keep the scores of all pairs, if it shall."""
        if self.attention is Attention.FLASH:
            return contextlib.nullcontext()
        kernels = required("torch.nn.attention", "torch")
        chosen: contextlib.AbstractContextManager[None]
        chosen = kernels.sdpa_kernel(kernels.SDPBackend.MATH)
        return chosen

    def run(self, *tensors: Any) -> tuple[Any, ...]:
        """Return the results at which gradients start."""
        torch = self.torch
        marks = required("torch.fx.traceback", "torch")
        scope = dict(zip(self.program.given, tensors, strict=True))
        for name, given in self.program.given.items():
            if given.source is Source.BUFFER:
                scope[name] = scope[name].clone()  # a call may change it
        marker = torch.fx.Graph()
        with marks.preserve_node_meta():
            for at, call in enumerate(self.program.calls):
                self.where.append(call.module)
                node = marker.create_node("call_function", operator_of, name=f"call_{at}")
                node.meta["nn_module_stack"] = {str(at): (call.module, call.kind)}
                recorded = call.has_gradient and torch.is_grad_enabled()
                with marks.set_current_meta(node), torch.set_grad_enabled(recorded):
                    self._make(call, scope)
        followed = [scope[n] for n in self.program.outputs if scope[n].requires_grad]
        losses = [tensor for tensor in followed if tensor.numel() == 1]
        found = tuple(losses[:1] or followed)
        if not found:
            raise InputError(
                "no gradient reaches a parameter: the model's results depend on none that is "
                "trained; import it with workload=inference"
            )
        self.results.append(len(found))
        return found

    def _make(self, call: Call, scope: dict[str, Any]) -> None:
        args, kwargs = arguments_of(self.torch, call, scope.__getitem__, "cpu")
        made = self._replaced(call, args, kwargs)
        if made is None:
            made = operator_of(self.torch, call)(*args, **kwargs)
        several = made if isinstance(made, tuple | list) else (made,)
        tensors = [tensor for tensor in several if isinstance(tensor, self.torch.Tensor)]
        scope.update((n, t) for n, t in zip(call.results, tensors, strict=False) if n is not None)

    def _replaced(self, call: Call, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
        """Return what is made in the place of a call's own result; None for most calls."""
        aten = self.torch.ops.aten
        if call.short == "dropout" and args[2] and 0 < args[1] < 1:
            return aten.native_dropout.default(*args)[0]
        if call.short == "histc" and not args[0].is_floating_point():
            return aten.histc.default(args[0].float(), *args[1:], **kwargs).to(args[0].dtype)
        if call.short != ATTENTION or self.attention is Attention.FULL:
            return None
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        known: dict[str, Any] = {
            "attn_mask": None,
            "dropout_p": 0.0,
            "is_causal": False,
            "scale": None,
        }
        known |= {**dict(zip(names, args, strict=False)), **kwargs}
        query, key, value, mask = (known[name] for name in names[:4])
        rest = (known["dropout_p"], known["is_causal"])
        if query.dim() != 4:
            return None
        followed = mask is not None and mask.requires_grad
        if query.shape[-1] == value.shape[-1] and not followed:
            return aten._scaled_dot_product_flash_attention_for_cpu.default(
                query, key, value, *rest, attn_mask=mask, scale=known["scale"]
            )[0]
        if query.shape[1] == key.shape[1]:
            return aten._scaled_dot_product_efficient_attention.default(
                query, key, value, mask, True, *rest, scale=known["scale"]
            )[0]
        return None


def _read(torch: Any, program: Program, graph: Any, results: int) -> Joint:
    """Return what a traced graph of forward and backward pass holds."""
    names = list(program.given)
    holders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    scope = {holder.name: name for holder, name in zip(holders, names, strict=False)}
    given = dict(program.given)
    tensors = dict(program.tensors)
    for holder in holders[len(names) :]:
        scope[holder.name] = holder.name
        given[holder.name] = Given(Source.INPUT, holder.name)
        tensors[holder.name] = meta_of(holder.meta["val"], "")
    reader = GraphReader(tensors=tensors, torch=torch)
    outputs = reader.read(graph, scope, PREFIX, has_gradient=False)
    backward = [node.meta.get("partitioner_tag") == "is_backward" for node in reader.nodes]
    origins = [_origin(node) for node in reader.nodes]
    gradients = {
        name: program.given[given_name].path
        for name, given_name in zip(outputs[results:], names, strict=True)
        if name is not None and program.given[given_name].source is Source.PARAMETER
    }
    passes = _Passes(reader.calls, backward, origins, program.given, gradients)
    parted = list(passes.parted())
    return Joint(
        Program(
            program.kind,
            given,
            tensors,
            tuple(call for call, _, _ in parted),
            tuple(name for name in outputs[:results] if name is not None),
        ),
        tuple(kind for _, kind, _ in parted),
        tuple(origin for _, _, origin in parted),
        gradients,
    )


def _origin(node: Any) -> int | None:
    """Return the position of the forward call that a node belongs to."""
    return next((int(key) for key in stack_of(node)), None)


@frozen
class _Passes:
    """Tells which calls make gradients of weights, and which make gradients of activations.

    A call is one for weights where all that comes of it, within the forward call it belongs to, are
    gradients of parameters. The way may lead through calls whose forward pass reads parameters
    alone, like a cast of weights, and through sums of gradients.

    Attributes
    ----------
    backward
        Of each call whether it is part of the backward pass.
    """

    calls: list[Call]
    backward: list[bool]
    origins: list[int | None]
    given: Mapping[str, Given]
    gradients: Mapping[str, str]
    readers: dict[str, list[int]] = field(init=False)
    of_weights: frozenset[int] = field(init=False)
    weights: frozenset[int] = field(init=False)

    @readers.default
    def _(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for at, call in enumerate(self.calls):
            for name in call.reads:
                found.setdefault(name, []).append(at)
        return found

    @of_weights.default
    def _(self) -> frozenset[int]:
        """Positions in the forward program of the calls that read parameters alone."""
        known = {name for name, given in self.given.items() if given.source is Source.PARAMETER}
        alone: dict[int, bool] = {}
        for call, backward, origin in zip(self.calls, self.backward, self.origins, strict=True):
            if backward or origin is None:
                continue
            is_alone = bool(call.reads) and known.issuperset(call.reads)
            alone[origin] = alone.get(origin, True) and is_alone
            if is_alone:
                known.update(name for name in call.results if name is not None)
        return frozenset(origin for origin, is_alone in alone.items() if is_alone)

    @weights.default
    def _(self) -> frozenset[int]:
        found: set[int] = set()
        for at in range(len(self.calls) - 1, -1, -1):
            if self.backward[at] and self._are_of_weights(at, self.calls[at].results, found):
                found.add(at)
        return frozenset(found)

    def _are_of_weights(
        self, at: int, results: Iterable[str | None], found: Container[int]
    ) -> bool:
        """Return whether some results of a call become gradients of parameters, and nothing else.

        Parameters
        ----------
        found
            The later calls of which that is so.
        """
        names = [name for name in results if name is not None]
        readers = [other for name in names for other in self.readers.get(name, ())]
        origin = self.origins[at]
        return bool(readers or not self.gradients.keys().isdisjoint(names)) and all(
            other in found and (origin is None or self._keeps(origin, other)) for other in readers
        )

    def _keeps(self, origin: int, other: int) -> bool:
        """Return whether a gradient stays with its forward call where another call reads it."""
        if self.origins[other] is not None:
            return self.origins[other] == origin or self.origins[other] in self.of_weights
        readers = [at for n in self.calls[other].results if n for at in self.readers.get(n, ())]
        return all(self._keeps(origin, at) for at in readers)

    def parted(self) -> Iterator[tuple[Call, Kind, int | None]]:
        """Yield the calls with their passes and origins, those of both passes in two."""
        for at, (call, origin) in enumerate(zip(self.calls, self.origins, strict=True)):
            if not self.backward[at]:
                yield call, Kind.FORWARD, origin
            elif at in self.weights:
                yield call, Kind.BACKWARD_WEIGHT, origin
            elif call.short == CONVOLUTION and self._are_of_weights(
                at, call.results[1:], self.weights
            ):
                yield _masked(call, 0), Kind.BACKWARD_INPUT, origin
                yield _masked(call, 1), Kind.BACKWARD_WEIGHT, origin
            else:
                yield call, Kind.BACKWARD_INPUT, origin


def _masked(call: Call, part: int) -> Call:
    """Return a convolution's backward pass for its input alone, or for its weights alone."""
    mask = call.arguments[-1]
    assert isinstance(mask, tuple)
    wanted: tuple[Argument, ...] = (
        (mask[0], False, False) if part == 0 else (False, mask[1], mask[2])
    )
    results = call.results[:1] if part == 0 else call.results[1:]
    return evolve(call, arguments=(*call.arguments[:-1], wanted), results=results)
