"""What is installed: every extension by kind and name, with where it came from."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Generic, TypeVar

from attrs import field, frozen

from parplan.contracts import (
    Constraint,
    CostModel,
    ExecutorFactory,
    Exporter,
    Importer,
    Neighbourhood,
    Objective,
    PlacementHeuristic,
    Runtime,
    Solver,
    Strategy,
)
from parplan.errors import InputError, PluginError

T = TypeVar("T")


@frozen
class Registered(Generic[T]):
    """An extension and where it came from."""

    name: str
    value: T
    plugin: str
    distribution: str = ""


@frozen
class Registry:
    """All extensions that were found; plugins that failed stand in ``failures``."""

    constraints: Mapping[str, Registered[type[Constraint]]] = field(factory=dict)
    objectives: Mapping[str, Registered[type[Objective]]] = field(factory=dict)
    solvers: Mapping[str, Registered[Solver]] = field(factory=dict)
    importers: Mapping[str, Registered[Importer]] = field(factory=dict)
    exporters: Mapping[str, Registered[Exporter]] = field(factory=dict)
    runtimes: Mapping[str, Registered[Runtime]] = field(factory=dict)
    strategies: Mapping[str, Registered[type[Strategy]]] = field(factory=dict)
    heuristics: Mapping[str, Registered[PlacementHeuristic]] = field(factory=dict)
    neighbourhoods: Mapping[str, Registered[Neighbourhood]] = field(factory=dict)
    cost_models: Mapping[str, Registered[type[CostModel]]] = field(factory=dict)
    executors: Mapping[str, Registered[ExecutorFactory]] = field(factory=dict)
    failures: tuple[PluginError, ...] = ()

    def get(self, kind: str, name: str, *, key: str | None = None) -> Registered[object]:
        """Return an extension; InputError with a did-you-mean if there is none of that name."""
        found: Mapping[str, Registered[object]] = getattr(self, kind)
        if name in found:
            return found[name]
        singular = kind.replace("_", " ").removesuffix("s").replace("strategie", "strategy")
        close = difflib.get_close_matches(name, found, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        failed = "".join(f"; {failure}" for failure in self.failures)
        raise InputError(
            f"no {singular} is named '{name}'; {hint}installed: {', '.join(sorted(found))}{failed}",
            key=key,
        )
