"""Plans, comparisons, problems and graphs as files; see ``parplan.files.json_file``."""

from __future__ import annotations

from pathlib import Path

from parplan.comparison import Comparison
from parplan.files.json_file import FileKind, load, save, text_of
from parplan.graph import Graph
from parplan.plan_files.serialization import (
    comparison_from_data,
    comparison_to_data,
    graph_from_data,
    graph_to_data,
    plan_from_data,
    plan_to_data,
    problem_from_data,
    problem_to_data,
)
from parplan.plans import Plan
from parplan.problem import Problem

PLAN = FileKind("parplan-plan", "plan", "parplan plan -o")
COMPARISON = FileKind("parplan-comparison", "comparison", "parplan compare -o")
PROBLEM = FileKind("parplan-problem", "problem", "parplan.plan_files.plan_file.save_problem")
GRAPH = FileKind("parplan-graph", "graph", "parplan import -o")


def save_plan(plan: Plan, path: Path | str) -> None:
    """Write a plan with its problem, bound and provenance; whole, or not at all.

    Raises
    ------
    InputError
        If the file cannot be written; what was there before is unchanged.
    """
    save(PLAN, plan_to_data(plan), Path(path))


def load_plan(path: Path | str) -> Plan:
    """Return the plan in a file. Nothing in it is trusted, and the schedule is not yet checked.

    Raises
    ------
    InputError
        Naming the file and the key at fault: no plan file, truncated, of another version, too
        large, wrong types or names.
    """
    return load(PLAN, Path(path), plan_from_data)


def save_comparison(comparison: Comparison, path: Path | str) -> None:
    """Write every schedule of a comparison, each problem once; see ``save_plan``."""
    save(COMPARISON, comparison_to_data(comparison), Path(path))


def load_comparison(path: Path | str) -> Comparison:
    """Return the comparison in a file; see ``load_plan``."""
    return load(COMPARISON, Path(path), comparison_from_data)


def save_problem(problem: Problem, path: Path | str) -> None:
    """Write a problem; see ``save_plan``."""
    save(PROBLEM, problem_to_data(problem), Path(path))


def load_problem(path: Path | str) -> Problem:
    """Return the problem in a file; see ``load_plan``."""
    return load(PROBLEM, Path(path), problem_from_data)


def save_graph(graph: Graph, path: Path | str) -> None:
    """Write a graph, equal modes once; see ``save_plan``. The importer ``json`` reads it."""
    from parplan.assembly import share_modes  # so that reading a plan does not load spec files

    save(GRAPH, graph_to_data(share_modes(graph)), Path(path))


def load_graph(path: Path | str) -> Graph:
    """Return the graph in a file; see ``load_plan``."""
    return load(GRAPH, Path(path), graph_from_data)


def graph_text(graph: Graph) -> str:
    """Return what ``save_graph`` writes."""
    from parplan.assembly import share_modes

    return text_of(GRAPH, graph_to_data(share_modes(graph)))
