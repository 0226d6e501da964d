"""Models of ONNX files: forward passes as the file has them, backward passes by PyTorch's rules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from attrs import field, frozen

from parplan.contracts import Importer
from parplan.errors import InputError
from parplan.graph import Graph
from parplan.patterns import matching_modules
from parplan.plugins.importers.onnx.file import parse_onnx, read_onnx
from parplan.plugins.importers.onnx.program import node_modules, onnx_program
from parplan.plugins.importers.onnx.work import OnnxEffects
from parplan.plugins.importers.traced.graph import traced_graph
from parplan.plugins.importers.traced.options import TracedOptions
from parplan.spec.structuring import structure


@frozen
class OnnxOptions(TracedOptions):
    """How a model is run.

    Attributes
    ----------
    dimensions
        Sizes of the dimensions that the file leaves open, by name, e.g. ``{"batch": 8}``; those
        without a name as ``input.position``.
    frozen
        Initializers (names or patterns) that are not trained.
    """

    dimensions: Mapping[str, int] = field(factory=dict)
    frozen: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        for name, size in self.dimensions.items():
            if size < 1:
                raise InputError(f"dimension '{name}' is {size}; it must be at least 1")


class Onnx(Importer):
    """Reads an ``.onnx`` file as data; its weights are not needed."""

    name: ClassVar[str] = "onnx"
    options: ClassVar[type] = OnnxOptions

    def load(self, path: Path, options: Mapping[str, Any]) -> Graph:
        """Return the graph of a file; InputError names the file, and the node at fault."""
        chosen = structure(dict(options), OnnxOptions, key="model.options")
        try:
            model = read_onnx(path, chosen.dimensions)
            weights = [tensor.name for tensor in model.graph.initializer]
            still = frozenset(
                name
                for pattern in chosen.frozen
                for name in matching_modules(pattern, weights, key="model.options.frozen")
            )
            program = onnx_program(model, still)
            effects = OnnxEffects(program.tensors)
            return traced_graph(path.stem, program, effects.effect, chosen)
        except InputError as error:
            raise error.located(file=str(path)) from None

    def node_modules(self, path: Path) -> Mapping[str, str]:
        """Return the module of each node; InputError names the file."""
        return node_modules(parse_onnx(path))
