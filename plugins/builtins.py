"""parplan's own plugins, given through the very hooks that others use."""

from __future__ import annotations

import importlib
from typing import Any

from parplan.hooks import hookimpl

CONSTRAINTS = (
    "parplan.constraints.devices:Devices",
    "parplan.constraints.in_flight:InFlight",
    "parplan.constraints.links:Links",
    "parplan.constraints.memory:Memory",
    "parplan.constraints.placement:Placement",
    "parplan.constraints.precedence:Precedence",
    "parplan.constraints.recomputation:Recomputation",
    "parplan.constraints.recomputation:RecomputationBudget",
    "parplan.constraints.weights:Weights",
)
OBJECTIVES = (
    "parplan.objectives.makespan:Makespan",
    "parplan.objectives.robustness:RobustMakespan",
    "parplan.objectives.peak_memory:PeakMemory",
    "parplan.objectives.stage_span:StageSpan",
    "parplan.objectives.steady_state:SteadyState",
    "parplan.objectives.throughput:Throughput",
    "parplan.objectives.traffic:Traffic",
    "parplan.objectives.utilization:Utilization",
)
SOLVERS: tuple[str, ...] = (
    "parplan.plugins.solvers.cp_sat:CpSat",
    "parplan.plugins.solvers.mip:Highs",
    "parplan.plugins.solvers.mip:Scip",
    "parplan.plugins.solvers.mip:Cbc",
    "parplan.plugins.solvers.mip:Glpk",
    "parplan.plugins.solvers.mip:Gurobi",
    "parplan.plugins.solvers.mip:Cplex",
    "parplan.plugins.solvers.mip:Xpress",
)
IMPORTERS = (
    "parplan.plugins.importers.analytic.huggingface:HuggingFace",
    "parplan.plugins.importers.chakra.importer:Chakra",
    "parplan.plugins.importers.json_graph:JsonGraph",
    "parplan.plugins.importers.onnx.importer:Onnx",
    "parplan.plugins.importers.pipedream.importer:PipeDream",
    "parplan.plugins.importers.stages:Stages",
    "parplan.plugins.importers.traced.torch_importer:Torch",
    "parplan.plugins.importers.traced.transformers_importer:Transformers",
)
EXPORTERS: tuple[str, ...] = (
    "parplan.plugins.exporters.trainers.automodel:Automodel",
    "parplan.plugins.exporters.chakra.exporter:Chakra",
    "parplan.plugins.exporters.trainers.deepspeed:DeepSpeed",
    "parplan.plugins.exporters.dtensor.exporter:DTensor",
    "parplan.plugins.exporters.trainers.megatron:Megatron",
    "parplan.plugins.exporters.torch_csv.exporter:TorchCsv",
    "parplan.plugins.exporters.trace:Trace",
    "parplan.plugins.exporters.trainers.torchtitan:TorchTitan",
)
RUNTIMES = (
    "parplan.plugins.runtimes.emulation.runtime:EmulatingProcesses",
    "parplan.plugins.runtimes.torch_processes:TorchProcesses",
)
STRATEGIES: tuple[str, ...] = (
    "parplan.plugins.strategies.one_forward_one_backward:GPipe",
    "parplan.plugins.strategies.one_forward_one_backward:OneForwardOneBackward",
    "parplan.plugins.strategies.interleaved:Interleaved",
    "parplan.plugins.strategies.zero_bubble:ZeroBubbleH1",
    "parplan.plugins.strategies.zero_bubble:ZeroBubbleH2",
    "parplan.plugins.strategies.zero_bubble:ZeroBubbleV",
    "parplan.plugins.strategies.controllable_memory:VHalf",
    "parplan.plugins.strategies.controllable_memory:VMin",
    "parplan.plugins.strategies.chimera:Chimera",
    "parplan.plugins.strategies.dualpipe:DualPipe",
    "parplan.plugins.strategies.dualpipe:DualPipeV",
    "parplan.plugins.strategies.hanayo:Hanayo",
    "parplan.plugins.strategies.pipedream:PipeDream",
    "parplan.plugins.strategies.pipedream:PipeDream2BW",
    "parplan.plugins.strategies.terapipe:TeraPipe",
    "parplan.plugins.strategies.recompute:Recompute",
    "parplan.plugins.strategies.offload:Offload",
)
HEURISTICS: tuple[str, ...] = (
    "parplan.plugins.heuristics.heft:Heft",
    "parplan.plugins.heuristics.peft:Peft",
    "parplan.plugins.heuristics.cpop:Cpop",
    "parplan.plugins.heuristics.clustering:Clustering",
    "parplan.plugins.heuristics.dynamic_level:DynamicLevel",
)
NEIGHBOURHOODS = (
    "parplan.plugins.neighbourhoods.device_pair:DevicePair",
    "parplan.plugins.neighbourhoods.path_relinking:PathRelinking",
    "parplan.plugins.neighbourhoods.subgraph:Subgraph",
    "parplan.plugins.neighbourhoods.time_window:TimeWindow",
)
COST_MODELS = (
    "parplan.plugins.costs.measured:Measured",
    "parplan.plugins.costs.roofline:Roofline",
)
EXECUTORS = ("parplan.plugins.executors.processes:Processes",)


def _load(paths: tuple[str, ...]) -> list[Any]:
    found = []
    for path in paths:
        module, _, name = path.partition(":")
        found.append(getattr(importlib.import_module(module), name))
    return found


@hookimpl
def parplan_constraints() -> list[Any]:
    """Give the built-in constraints."""
    return _load(CONSTRAINTS)


@hookimpl
def parplan_objectives() -> list[Any]:
    """Give the built-in objectives."""
    return _load(OBJECTIVES)


@hookimpl
def parplan_solvers() -> list[Any]:
    """Give the built-in solver backends."""
    return [cls() for cls in _load(SOLVERS)]


@hookimpl
def parplan_importers() -> list[Any]:
    """Give the built-in importers."""
    return [cls() for cls in _load(IMPORTERS)]


@hookimpl
def parplan_exporters() -> list[Any]:
    """Give the built-in exporters."""
    return [cls() for cls in _load(EXPORTERS)]


@hookimpl
def parplan_runtimes() -> list[Any]:
    """Give the built-in runtimes."""
    return [cls() for cls in _load(RUNTIMES)]


@hookimpl
def parplan_strategies() -> list[Any]:
    """Give the built-in strategies."""
    return _load(STRATEGIES)


@hookimpl
def parplan_heuristics() -> list[Any]:
    """Give the built-in placement heuristics."""
    return [cls() for cls in _load(HEURISTICS)]


@hookimpl
def parplan_neighbourhoods() -> list[Any]:
    """Give the built-in neighbourhoods."""
    return [cls() for cls in _load(NEIGHBOURHOODS)]


@hookimpl
def parplan_cost_models() -> list[Any]:
    """Give the built-in cost models."""
    return _load(COST_MODELS)


@hookimpl
def parplan_executors() -> list[Any]:
    """Give the built-in executors."""
    return [cls() for cls in _load(EXECUTORS)]
