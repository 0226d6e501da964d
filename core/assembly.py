"""From a spec to a problem: importer, strategies, cost models, rules and tick."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from parplan.contracts import CostModel, Importer, Strategy
from parplan.costs import price
from parplan.errors import InputError
from parplan.graph import Graph, Kind, Mode
from parplan.hardware import Cluster
from parplan.portfolio import named_solver
from parplan.problem import DEFAULT_CONSTRAINTS, Problem, Rule
from parplan.registry import Registered, Registry
from parplan.rounding import fitting_tick
from parplan.rules import guarded, make_plugin
from parplan.spec.cluster import build_cluster
from parplan.spec.sections import Spec
from parplan.workload import Workload, WorkloadKind

WEIGHTS = "weights"
"""The constraint that keeps the readers of a parameter group together."""


_TRAINING_ONLY = (Kind.BACKWARD, Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT, Kind.OPTIMIZER)


def assemble_problem(spec: Spec, registry: Registry, graph: Graph | None = None) -> Problem:
    """Return the problem that a spec describes.

    Parameters
    ----------
    graph
        Takes the place of the spec's model.

    Raises
    ------
    InputError
        With the file, line and key at fault: an unknown plugin or preset, a model that cannot be
        read, an operator without seconds, ...
    PluginError
        If a plugin raises.
    """
    try:
        check_names(spec, registry)
        cluster = build_cluster(spec.cluster)
        graph = load_graph(spec, registry) if graph is None else graph
        _check_passes(graph, spec.workload.build())
        graph = apply_strategies(graph, spec, cluster, registry)
        graph = _priced(graph, cluster, cost_models(spec, registry))
        problem = Problem(
            name=spec.name,
            graph=graph,
            cluster=cluster,
            workload=spec.workload.build(),
            constraints=constraints_of(spec, graph),
            objectives=spec.objectives,
            tick_s=1.0 if spec.tick_s is None else spec.tick_s,
        )
        if spec.tick_s is None:
            problem = attrs.evolve(problem, tick_s=fitting_tick(problem))
        return problem
    except InputError as error:
        raise spec.locate(error) from error


def check_names(spec: Spec, registry: Registry) -> None:
    """Raise InputError for the first plugin of the spec that is not installed."""
    for section in ("strategies", "costs", "constraints", "objectives"):
        kind = "cost_models" if section == "costs" else section
        for position, rule in enumerate(getattr(spec, section)):
            registry.get(kind, rule.name, key=f"{section}[{position}]")
    if spec.model is not None and spec.model.kind != "inline":
        registry.get("importers", spec.model.kind, key="model.kind")
    if spec.search.solver not in ("", "list"):
        named_solver(registry, spec.search.solver, key="search.solver")


def load_graph(spec: Spec, registry: Registry) -> Graph:
    """Return the graph of the spec's model, as its importer reads it or as it stands in the spec.

    Raises
    ------
    InputError
        If there is no model, its file is missing or cannot be read, or an option is wrong.
    """
    model = spec.model
    if model is None:
        raise InputError("is missing; write this section, or give a graph in Python", key="model")
    if model.kind == "inline":
        try:
            return model.inline_graph(spec.name)
        except InputError as error:
            raise error.located(key="model") from None
    entry = registry.get("importers", model.kind, key="model.kind")
    importer = entry.value
    assert isinstance(importer, Importer)  # the registry holds nothing else
    path, options = spec.folder / model.file, dict(model.options)
    if not path.exists():
        raise InputError(
            f"no such file: '{model.file}' (looked for {_shown(path)})", key="model.file"
        )
    try:
        if not model.file:
            return guarded(entry, "build", lambda: importer.build(options))
        return guarded(entry, "load", lambda: importer.load(path, options))
    except InputError as error:
        raise error.located(key="model" if error.file is None else None) from None


def node_modules(spec: Spec, registry: Registry) -> Mapping[str, str]:
    """Return the module of each node of the spec's model file, as far as its importer knows them.

    Raises
    ------
    InputError
        If the file is missing or cannot be read.
    """
    model = spec.model
    if model is None or model.kind == "inline" or not model.file:
        return {}
    entry = registry.get("importers", model.kind, key="model.kind")
    importer = entry.value
    assert isinstance(importer, Importer)  # the registry holds nothing else
    path = spec.folder / model.file
    return guarded(entry, "node_modules", lambda: importer.node_modules(path))


def _check_passes(graph: Graph, workload: Workload) -> None:
    """Raise InputError if inference is asked of a graph that trains."""
    if workload.kind is WorkloadKind.TRAINING:
        return
    for operator in graph.operators:
        if operator.kind in _TRAINING_ONLY:
            raise InputError(
                f"is '{workload.kind}', but operator '{operator.name}' is of kind "
                f"'{operator.kind}'; give the importer the option 'workload: inference', or say "
                "'training' here",
                key="workload.kind",
            )


def apply_strategies(graph: Graph, spec: Spec, cluster: Cluster, registry: Registry) -> Graph:
    """Return the graph with the modes that the spec's strategies offer, applied in order.

    Each is handed ``{"cluster": Cluster, "workload": Workload}``.
    """
    hint: Mapping[str, Any] = {"cluster": cluster, "workload": spec.workload.build()}
    for position, rule in enumerate(spec.strategies):
        entry, strategy = _made(registry, "strategies", rule, f"strategies[{position}]")
        assert isinstance(strategy, Strategy)
        try:
            graph = guarded(entry, "apply", functools.partial(strategy.apply, graph, hint))
        except InputError as error:
            raise error.located(key=f"strategies[{position}]") from None
    return graph


def cost_models(spec: Spec, registry: Registry) -> tuple[CostModel, ...]:
    """Return the spec's cost models, in the order in which they are asked."""
    made = []
    for position, rule in enumerate(spec.costs):
        key = f"costs[{position}]"
        entry, model = _made(registry, "cost_models", rule, key)
        assert isinstance(model, CostModel)
        try:
            read = functools.partial(model.read_files, spec.folder)
            made.append(guarded(entry, "read_files", read))
        except InputError as error:
            raise error.located(key=key if error.file is None else None) from None
    return tuple(made)


def _priced(graph: Graph, cluster: Cluster, models: tuple[CostModel, ...]) -> Graph:
    """Return the graph with seconds in every mode; InputError if an operator gets none."""
    try:
        return share_modes(price(graph, cluster.devices, models))
    except InputError as error:
        raise error.located(key="model") from None


def constraints_of(spec: Spec, graph: Graph) -> tuple[Rule, ...]:
    """Return the default constraints that the spec does not name itself, and then the spec's.

    Where operators share a parameter group, the constraint ``weights`` keeps them together, unless
    the spec names it with ``replicas: true``.
    """
    defaults: tuple[Rule, ...] = DEFAULT_CONSTRAINTS
    readers = [name for operator in graph.operators for name in operator.parameters]
    if len(set(readers)) < len(readers):
        defaults = (*defaults, Rule(WEIGHTS))
    said = {rule.name for rule in spec.constraints}
    return (*(rule for rule in defaults if rule.name not in said), *spec.constraints)


def share_modes(graph: Graph) -> Graph:
    """Return the graph with equal modes as one object, so that a large graph stays small."""
    known: dict[tuple[Any, ...], Mode] = {}
    tuples: dict[tuple[int, ...], tuple[Mode, ...]] = {}
    operators = []
    for operator in graph.operators:
        modes = tuple(known.setdefault(_identity(mode), mode) for mode in operator.modes)
        modes = tuples.setdefault(tuple(id(mode) for mode in modes), modes)
        operators.append(attrs.evolve(operator, modes=modes))
    return attrs.evolve(graph, operators=tuple(operators))


def _identity(mode: Mode) -> tuple[Any, ...]:
    """Return what two equal modes share, as something that can be a key."""
    return tuple(
        tuple(sorted(value.items())) if isinstance(value, Mapping) else value
        for value in (getattr(mode, f.name) for f in _MODE_FIELDS)
    )


_MODE_FIELDS = attrs.fields(Mode)


def _made(registry: Registry, kind: str, rule: Rule, key: str) -> tuple[Registered[object], Any]:
    """Return a plugin's entry and the object made from its class and options."""
    entry = registry.get(kind, rule.name, key=key)
    return entry, make_plugin(entry, rule, f"{key}.{rule.name}")


def _shown(path: Path) -> str:
    return str(path if path.is_absolute() else Path.cwd() / path)
