"""The hooks that a plugin may implement, for pluggy's project name ``parplan``.

A plugin is a module (or object) with functions of these names, marked ``@parplan.hooks.hookimpl``,
and found through the entry point group ``parplan``, ``--plugin MODULE`` or from Python. Each hook
is called once when the registry is made and returns an iterable; None means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

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

PROJECT = "parplan"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def parplan_constraints() -> Iterable[type[Constraint]]:  # type: ignore[empty-body]  # a specification
    """Return constraint classes; each is made from its options where a spec names it."""


@hookspec
def parplan_objectives() -> Iterable[type[Objective]]:  # type: ignore[empty-body]  # a specification
    """Return objective classes; each is made from its options where a spec names it."""


@hookspec
def parplan_solvers() -> Iterable[Solver]:  # type: ignore[empty-body]  # a specification
    """Return solver backends; importing the solver itself waits until it is probed or used."""


@hookspec
def parplan_importers() -> Iterable[Importer]:  # type: ignore[empty-body]  # a specification
    """Return readers of model files, for ``model.kind`` of a spec and ``parplan import``."""


@hookspec
def parplan_exporters() -> Iterable[Exporter]:  # type: ignore[empty-body]  # a specification
    """Return writers of plans, for ``parplan export``."""


@hookspec
def parplan_runtimes() -> Iterable[Runtime]:  # type: ignore[empty-body]  # a specification
    """Return what runs plans, for ``parplan run``; importing its libraries waits until then."""


@hookspec
def parplan_strategies() -> Iterable[type[Strategy]]:  # type: ignore[empty-body]  # a specification
    """Return strategies: sources of modes and of hand-made schedules."""


@hookspec
def parplan_heuristics() -> Iterable[PlacementHeuristic]:  # type: ignore[empty-body]  # a specification
    """Return placement heuristics for graphs of any shape."""


@hookspec
def parplan_neighbourhoods() -> Iterable[Neighbourhood]:  # type: ignore[empty-body]  # a specification
    """Return neighbourhoods: what of a schedule a solver is to do again."""


@hookspec
def parplan_cost_models() -> Iterable[type[CostModel]]:  # type: ignore[empty-body]  # a specification
    """Return cost models; a spec's ``costs`` lists which are asked, in order."""


@hookspec
def parplan_executors() -> Iterable[ExecutorFactory]:  # type: ignore[empty-body]  # a specification
    """Return factories of ``concurrent.futures`` executors."""
