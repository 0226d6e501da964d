"""parplan's own graph files, as ``parplan import`` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from attrs import frozen

from parplan.contracts import Importer
from parplan.graph import Graph
from parplan.plan_files.plan_file import load_graph
from parplan.spec.structuring import structure


@frozen
class JsonGraphOptions:
    """No options: the file says everything."""


class JsonGraph(Importer):
    """Reads what ``parplan.save_graph`` wrote; the graph is the same in all parts."""

    name: ClassVar[str] = "json"
    options: ClassVar[type] = JsonGraphOptions

    def load(self, path: Path, options: Mapping[str, Any]) -> Graph:
        """Return the graph in a file; InputError names the file and the key at fault."""
        structure(dict(options), JsonGraphOptions, key="model.options")
        return load_graph(path)
