"""Models of PyTorch: what ``torch.export`` traces, with the FLOP that PyTorch counts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from parplan.contracts import Importer
from parplan.differentiation import Passes
from parplan.errors import InputError
from parplan.graph import Graph
from parplan.plugins.importers.traced.archive import read_archive
from parplan.plugins.importers.traced.costs import Counter
from parplan.plugins.importers.traced.graph import traced_graph
from parplan.plugins.importers.traced.joint import joint_program
from parplan.plugins.importers.traced.joint_graph import joint_graph
from parplan.plugins.importers.traced.options import TorchOptions
from parplan.plugins.importers.traced.program import Program
from parplan.plugins.importers.traced.tracing import trace
from parplan.spec.structuring import structure


class Torch(Importer):
    """Reads a ``.pt2`` file of ``torch.export.save``, or traces a module in memory.

    A file is read as data: nothing that it brings is run, and its weights are not loaded.
    """

    name: ClassVar[str] = "torch"
    options: ClassVar[type] = TorchOptions

    def load(self, path: Path, options: Mapping[str, Any]) -> Graph:
        """Return the graph of a file; InputError names the file, and the module at fault."""
        chosen = structure(dict(options), TorchOptions, key="model.options")
        program = read_archive(path)
        try:
            return torch_graph(path.stem, program, chosen)
        except InputError as error:
            raise error.located(file=str(path)) from None

    def load_object(self, model: Any, options: Mapping[str, Any]) -> Graph:
        """Return the graph of a module with its arguments, or of an exported program.

        Parameters
        ----------
        model
            ``(module, args, kwargs)``, or a ``torch.export.ExportedProgram``.
        """
        chosen = structure(dict(options), TorchOptions, key="model.options")
        module, args, kwargs = _call(model)
        program = trace(module, args, kwargs)
        return torch_graph(program.kind, program, chosen)


def _call(model: Any) -> tuple[Any, tuple[Any, ...], Mapping[str, Any]]:
    """Return a module and what it is called with."""
    if not isinstance(model, tuple):
        return model, (), {}
    module, args, kwargs = {
        1: lambda: (*model, (), {}),
        2: lambda: (*model, {}),
        3: lambda: model,
    }.get(len(model), lambda: (None, None, None))()
    if not isinstance(args, tuple | list) or not isinstance(kwargs, Mapping):
        raise InputError("a model is given as (module, args, kwargs), with a tuple and a dict")
    return module, tuple(args), kwargs


def torch_graph(name: str, program: Program, options: TorchOptions) -> Graph:
    """Return the graph of a program of PyTorch, with the work that PyTorch counts.

    Raises
    ------
    InputError
        If the work of a call is not known, or nothing can be trained.
    """
    effect = Counter(options.attention).effect
    if options.joint and options.workload is Passes.TRAINING:
        return joint_graph(name, joint_program(program, options.attention), effect, options)
    return traced_graph(name, program, effect, options)
