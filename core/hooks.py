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
def parplan_constraints() -> Iterable[type[Constraint]]:
    """Return constraint classes; each is made from its options where a spec names it."""
    return ()


@hookspec
def parplan_objectives() -> Iterable[type[Objective]]:
    """Return objective classes; each is made from its options where a spec names it."""
    return ()


@hookspec
def parplan_solvers() -> Iterable[Solver]:
    """Return solver backends; importing the solver itself waits until it is probed or used."""
    return ()


@hookspec
def parplan_importers() -> Iterable[Importer]:
    """Return readers of model files, for ``model.kind`` of a spec and ``parplan import``."""
    return ()


@hookspec
def parplan_exporters() -> Iterable[Exporter]:
    """Return writers of plans, for ``parplan export``."""
    return ()


@hookspec
def parplan_runtimes() -> Iterable[Runtime]:
    """Return what runs plans, for ``parplan run``; importing its libraries waits until then."""
    return ()


@hookspec
def parplan_strategies() -> Iterable[type[Strategy]]:
    """Return strategies: sources of modes and of hand-made schedules."""
    return ()


@hookspec
def parplan_heuristics() -> Iterable[PlacementHeuristic]:
    """Return placement heuristics for graphs of any shape."""
    return ()


@hookspec
def parplan_neighbourhoods() -> Iterable[Neighbourhood]:
    """Return neighbourhoods: what of a schedule a solver is to do again."""
    return ()


@hookspec
def parplan_cost_models() -> Iterable[type[CostModel]]:
    """Return cost models; a spec's ``costs`` lists which are asked, in order."""
    return ()


@hookspec
def parplan_executors() -> Iterable[ExecutorFactory]:
    """Return factories of ``concurrent.futures`` executors."""
    return ()
