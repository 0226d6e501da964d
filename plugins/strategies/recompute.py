"""Recomputation: backward passes that compute what they need again instead of keeping it.

Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016); which operators do so is for
the search to decide (as in Checkmate, Jain et al., MLSys 2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
from attrs import frozen

from parplan.contracts import Strategy
from parplan.errors import InputError
from parplan.graph import Graph, Kind, Mode, Operator
from parplan.patterns import all_matching
from parplan.recomputing import KEEP, RECOMPUTE, variant
from parplan.saved_tensors import BACKWARD, saved_tensors


@frozen
class Recompute(Strategy):
    """Gives forward operators with saved tensors, and their backward passes, two modes.

    A saved tensor is one that a forward operator makes and only backward operators read. In mode
    ``keep`` all is as before. In mode ``recompute`` the forward operator does not write its saved
    tensors; a backward operator reads the forward operator's inputs instead, takes longer by the
    forward operator's work, and holds the saved tensors as workspace. Each backward operator does
    so by itself, so a split backward pass computes twice.

    Attributes
    ----------
    blocks
        Names or patterns of the forward operators (or their modules) that get the choice.
    """

    name: ClassVar[str] = "recompute"

    blocks: tuple[str, ...] = ("*",)

    def apply(self, graph: Graph, problem_hint: Mapping[str, Any]) -> Graph:
        """Return the graph with both modes, and inputs that reach the backward operators.

        Raises
        ------
        InputError
            If no operator in ``blocks`` has saved tensors beside results for the forward pass.
        """
        meant = set(all_matching(self.blocks, graph.operators, key="blocks"))
        saved = {
            o: tensors
            for o, operator in enumerate(graph.operators)
            if operator.kind is Kind.FORWARD and operator.name in meant
            for tensors in (saved_tensors(graph, o),)
            if tensors and _is_needed_forward(graph, o)
        }
        if not saved:
            raise InputError(
                f"no operator of {', '.join(self.blocks)} has saved tensors: tensors of forward "
                "operators that only backward operators read"
            )
        redone: dict[int, list[int]] = {}
        for forward, tensors in saved.items():
            for reader in dict.fromkeys(r for t in tensors for r in graph.consumers[t]):
                redone.setdefault(reader, []).append(forward)
        operators = list(graph.operators)
        for o, tensors in saved.items():
            operators[o] = _forward(graph, o, tensors)
        for o, forwards in redone.items():
            operators[o] = _backward(graph, o, {f: saved[f] for f in forwards})
        return attrs.evolve(graph, operators=tuple(operators), tensors=_extended(graph, redone))


def _is_needed_forward(graph: Graph, operator: int) -> bool:
    """Return whether anything but backward operators waits for an operator.

    If nothing does (a loss), computing it again later would mean not to compute it at first.
    """
    return any(
        graph.tensors[t].output
        or any(graph.operators[c].kind not in BACKWARD for c in graph.consumers[t])
        for t in graph.outputs[operator]
    )


def _extended(graph: Graph, redone: Mapping[int, list[int]]) -> tuple[Any, ...]:
    """Return the tensors, with inputs of forward operators reaching those that redo them."""
    extra: dict[int, list[str]] = {}
    for o, forwards in redone.items():
        for t in dict.fromkeys(t for f in forwards for t in graph.inputs[f]):
            if o not in graph.consumers[t]:
                extra.setdefault(t, []).append(graph.operators[o].name)
    return tuple(
        attrs.evolve(tensor, consumers=(*tensor.consumers, *extra.get(t, ())))
        for t, tensor in enumerate(graph.tensors)
    )


def _modes(operator: Operator) -> tuple[Mode, ...]:
    return operator.modes or (Mode(),)


def _reads(graph: Graph, o: int, mode: Mode) -> tuple[str, ...]:
    """Return the names of what a mode reads, before any tensor gets further consumers."""
    if mode.reads is not None:
        return mode.reads
    return tuple(graph.tensors[t].name for t in graph.inputs[o])


def _forward(graph: Graph, o: int, saved: tuple[int, ...]) -> Operator:
    operator, gone = graph.operators[o], {graph.tensors[t].name for t in saved}
    modes = []
    for mode in _modes(operator):
        sizes = mode.writes
        if sizes is None:
            sizes = {graph.tensors[t].name: graph.tensors[t].bytes for t in graph.outputs[o]}
        light = {name: size for name, size in sizes.items() if name not in gone}
        modes += [
            attrs.evolve(mode, name=variant(mode.name, KEEP)),
            attrs.evolve(mode, name=variant(mode.name, RECOMPUTE), writes=light),
        ]
    return attrs.evolve(operator, modes=tuple(modes))


def _backward(graph: Graph, o: int, redone: Mapping[int, tuple[int, ...]]) -> Operator:
    operator = graph.operators[o]
    gone = {graph.tensors[t].name for saved in redone.values() for t in saved}
    modes = []
    for mode in _modes(operator):
        kept = _reads(graph, o, mode)
        sources = [(graph.operators[f], _like(graph.operators[f], mode), f) for f in redone]
        inputs = (name for _, source, f in sources for name in _reads(graph, f, source))
        reads = tuple(dict.fromkeys([*(n for n in kept if n not in gone), *inputs]))
        longer = _longer(operator, mode, [(spec, source) for spec, source, _ in sources])
        held = sum(_size(graph, t, source) for (_, source, f) in sources for t in redone[f]) + max(
            [mode.workspace_bytes, *(source.workspace_bytes for _, source, _ in sources)]
        )
        modes += [
            attrs.evolve(mode, name=variant(mode.name, KEEP), reads=kept),
            attrs.evolve(
                longer, name=variant(mode.name, RECOMPUTE), reads=reads, workspace_bytes=held
            ),
        ]
    return attrs.evolve(operator, modes=tuple(modes))


def _like(operator: Operator, mode: Mode) -> Mode:
    """Return an operator's mode of the same name, else its first."""
    modes = _modes(operator)
    return next((m for m in modes if m.name == mode.name), modes[0])


def _size(graph: Graph, tensor: int, source: Mode) -> int:
    """Return the bytes per device of a tensor in its producer's mode."""
    spec = graph.tensors[tensor]
    return spec.bytes if source.writes is None else source.writes.get(spec.name, 0)


def _longer(operator: Operator, mode: Mode, sources: list[tuple[Operator, Mode]]) -> Mode:
    """Return a mode with the work of forward operators added: FLOP, bytes, and given seconds."""

    def total(what: str) -> float:
        stated = [(getattr(m, what), getattr(o, what)) for o, m in [(operator, mode), *sources]]
        return float(sum(own if own is not None else whole for own, whole in stated))

    modes = [mode, *(m for _, m in sources)]
    kinds = sorted({kind for m in modes for kind in m.seconds})
    seconds = {}
    for kind in kinds:
        parts = [m.seconds_on(kind) for m in modes]
        if None not in parts:
            seconds[kind] = sum(part for part in parts if part is not None)
    if kinds and not seconds:
        names = ", ".join(f"'{o.name}'" for o, _ in sources)
        raise InputError(
            f"operator '{operator.name}' has seconds for other device kinds than {names}, so what "
            "it takes to do both is unknown; give seconds for the same kinds, or for none"
        )
    return attrs.evolve(
        mode, flops=total("flops"), bytes_touched=total("bytes_touched"), seconds=seconds
    )
