"""parplan: plans how operators of a model run on a cluster, checked and with a proven bound.

Every public name is imported when it is first used, so that ``import parplan`` is fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from parplan.api import check as check
    from parplan.api import compare as compare
    from parplan.api import describe as describe
    from parplan.api import explain as explain
    from parplan.api import export_plan as export_plan
    from parplan.api import from_torch as from_torch
    from parplan.api import import_model as import_model
    from parplan.api import import_object as import_object
    from parplan.api import load_registry as load_registry
    from parplan.api import plan as plan
    from parplan.api import run_plan as run_plan
    from parplan.api import show as show
    from parplan.api import simulate as simulate
    from parplan.api import write_comparison as write_comparison
    from parplan.api import write_png as write_png
    from parplan.api import write_report as write_report
    from parplan.api import write_svg as write_svg
    from parplan.api import write_trace as write_trace
    from parplan.assembly import assemble_problem as assemble_problem
    from parplan.checking import check_plan as check_plan
    from parplan.checking import check_schedule as check_schedule
    from parplan.comparison import Comparison as Comparison
    from parplan.comparison import Entry as Entry
    from parplan.contracts import Constraint as Constraint
    from parplan.contracts import CostModel as CostModel
    from parplan.contracts import ExecutorFactory as ExecutorFactory
    from parplan.contracts import Exporter as Exporter
    from parplan.contracts import Importer as Importer
    from parplan.contracts import Objective as Objective
    from parplan.contracts import RunRequest as RunRequest
    from parplan.contracts import Runtime as Runtime
    from parplan.contracts import Solver as Solver
    from parplan.contracts import Strategy as Strategy
    from parplan.contracts import Violation as Violation
    from parplan.costs import cost_table as cost_table
    from parplan.errors import InfeasibleError as InfeasibleError
    from parplan.errors import InputError as InputError
    from parplan.errors import LimitError as LimitError
    from parplan.errors import ParplanError as ParplanError
    from parplan.errors import PluginError as PluginError
    from parplan.errors import SolverError as SolverError
    from parplan.explaining.explanation import Explanation as Explanation
    from parplan.graph import Graph as Graph
    from parplan.graph import Mode as Mode
    from parplan.graph import Operator as Operator
    from parplan.graph import ParameterGroup as ParameterGroup
    from parplan.graph import Tensor as Tensor
    from parplan.hardware import Cluster as Cluster
    from parplan.hardware import Device as Device
    from parplan.hardware import Link as Link
    from parplan.hardware import Route as Route
    from parplan.hooks import hookimpl as hookimpl
    from parplan.measuring.calibrating import calibrate as calibrate
    from parplan.measuring.measured_costs import MeasuredCosts as MeasuredCosts
    from parplan.measuring.measured_costs import load_costs as load_costs
    from parplan.measuring.measured_costs import save_costs as save_costs
    from parplan.measuring.recording import Recording as Recording
    from parplan.measuring.recording import Span as Span
    from parplan.measuring.recording import load_recording as load_recording
    from parplan.measuring.recording import save_recording as save_recording
    from parplan.options import SearchOptions as SearchOptions
    from parplan.plan_files.plan_file import load_comparison as load_comparison
    from parplan.plan_files.plan_file import load_graph as load_graph
    from parplan.plan_files.plan_file import load_plan as load_plan
    from parplan.plan_files.plan_file import save_comparison as save_comparison
    from parplan.plan_files.plan_file import save_graph as save_graph
    from parplan.plan_files.plan_file import save_plan as save_plan
    from parplan.plans import Bound as Bound
    from parplan.plans import Plan as Plan
    from parplan.problem import Problem as Problem
    from parplan.problem import Rule as Rule
    from parplan.registry import Registry as Registry
    from parplan.schedule import Schedule as Schedule
    from parplan.schedule import Tasks as Tasks
    from parplan.schedule import Transfers as Transfers
    from parplan.simulation.noise import Noise as Noise
    from parplan.simulation.noise import Straggler as Straggler
    from parplan.simulation.results import Simulation as Simulation
    from parplan.spec.sections import Spec as Spec
    from parplan.spec.sections import load_spec as load_spec
    from parplan.workload import Workload as Workload

# No module may have the name of a public function: importing the module would hide it.
_PLACES = {
    "api": (
        "check compare describe explain export_plan from_torch import_model import_object "
        "load_registry plan run_plan show simulate write_comparison write_png write_report "
        "write_svg write_trace"
    ),
    "assembly": "assemble_problem",
    "measuring.calibrating": "calibrate",
    "checking": "check_plan check_schedule",
    "comparison": "Comparison Entry",
    "contracts": (
        "Constraint CostModel ExecutorFactory Exporter Importer Objective RunRequest Runtime "
        "Solver Strategy Violation"
    ),
    "costs": "cost_table",
    "errors": "InfeasibleError InputError LimitError ParplanError PluginError SolverError",
    "explaining.explanation": "Explanation",
    "graph": "Graph Mode Operator ParameterGroup Tensor",
    "hardware": "Cluster Device Link Route",
    "hooks": "hookimpl",
    "measuring.measured_costs": "MeasuredCosts load_costs save_costs",
    "options": "SearchOptions",
    "plan_files.plan_file": (
        "load_comparison load_graph load_plan save_comparison save_graph save_plan"
    ),
    "plans": "Bound Plan",
    "problem": "Problem Rule",
    "measuring.recording": "Recording Span load_recording save_recording",
    "registry": "Registry",
    "schedule": "Schedule Tasks Transfers",
    "simulation.noise": "Noise Straggler",
    "simulation.results": "Simulation",
    "spec.sections": "Spec load_spec",
    "workload": "Workload",
}
_MODULE_OF = {name: module for module, names in _PLACES.items() for name in names.split()}

__all__ = ["__version__", *_MODULE_OF]  # only strings


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'parplan' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"parplan.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
