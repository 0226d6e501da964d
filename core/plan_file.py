"""Plans, problems and graphs as JSON files, packed with gzip where the name ends in ``.gz``.

Every file says ``format`` and ``version``; a file of another format or a newer version is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from parplan import __version__
from parplan.comparison import Comparison
from parplan.errors import InputError
from parplan.files import read_bytes, write_bytes
from parplan.graph import Graph
from parplan.plans import Plan
from parplan.problem import Problem
from parplan.serialization import (
    comparison_from_data,
    comparison_to_data,
    graph_from_data,
    graph_to_data,
    plan_from_data,
    plan_to_data,
    problem_from_data,
    problem_to_data,
)

T = TypeVar("T")

PLAN_FORMAT = "parplan-plan"
COMPARISON_FORMAT = "parplan-comparison"
PROBLEM_FORMAT = "parplan-problem"
GRAPH_FORMAT = "parplan-graph"
VERSION = 1

SIZE_LIMIT = 2**30
"""Bytes that a file may hold, unpacked."""


def save_plan(plan: Plan, path: Path | str) -> None:
    """Write a plan with its problem, bound and provenance; whole, or not at all.

    Raises
    ------
    InputError
        If the file cannot be written; what was there before is unchanged.
    """
    _save(PLAN_FORMAT, "plan", plan_to_data(plan), Path(path))


def load_plan(path: Path | str) -> Plan:
    """Return the plan in a file. Nothing in it is trusted, and the schedule is not yet checked.

    Raises
    ------
    InputError
        Naming the file and the key at fault: no plan file, truncated, of another version, too
        large, wrong types or names.
    """
    return _load(PLAN_FORMAT, "plan", Path(path), plan_from_data)


def save_comparison(comparison: Comparison, path: Path | str) -> None:
    """Write every schedule of a comparison, each problem once; see ``save_plan``."""
    _save(COMPARISON_FORMAT, "comparison", comparison_to_data(comparison), Path(path))


def load_comparison(path: Path | str) -> Comparison:
    """Return the comparison in a file; see ``load_plan``."""
    return _load(COMPARISON_FORMAT, "comparison", Path(path), comparison_from_data)


def save_problem(problem: Problem, path: Path | str) -> None:
    """Write a problem; see ``save_plan``."""
    _save(PROBLEM_FORMAT, "problem", problem_to_data(problem), Path(path))


def load_problem(path: Path | str) -> Problem:
    """Return the problem in a file; see ``load_plan``."""
    return _load(PROBLEM_FORMAT, "problem", Path(path), problem_from_data)


def save_graph(graph: Graph, path: Path | str) -> None:
    """Write a graph, equal modes once; see ``save_plan``. The importer ``json`` reads it."""
    _write(graph_text(graph), Path(path))


def load_graph(path: Path | str) -> Graph:
    """Return the graph in a file; see ``load_plan``."""
    return _load(GRAPH_FORMAT, "graph", Path(path), graph_from_data)


def graph_text(graph: Graph) -> str:
    """Return what ``save_graph`` writes."""
    from parplan.assembly import share_modes  # so that reading a plan does not load spec files

    return _text(GRAPH_FORMAT, "graph", graph_to_data(share_modes(graph)))


def _save(form: str, key: str, data: dict[str, Any], path: Path) -> None:
    _write(_text(form, key, data), path)


def _text(form: str, key: str, data: dict[str, Any]) -> str:
    content = {"format": form, "version": VERSION, "parplan": __version__, key: data}
    try:
        return json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise InputError(f"the {key} has no form in JSON: {error}") from None


def _write(text: str, path: Path) -> None:
    try:
        encoded = text.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(
            "a name holds half a character (a lone surrogate)", file=str(path)
        ) from None
    write_bytes(path, encoded)


def _load(form: str, key: str, path: Path, read: Callable[[Any], T]) -> T:
    content = _read_json(path)
    found = content.get("format") if isinstance(content, dict) else None
    if found != form:
        is_what = f"is '{found}'" if isinstance(found, str) else "is no file of parplan"
        raise InputError(f'{is_what[:100]}; a {key} file says "format": "{form}"', file=str(path))
    version = content.get("version")
    if version != VERSION or type(version) is not int:
        raise InputError(
            f"{str(version)[:100]} is not the version that parplan {__version__} reads, which is "
            f"{VERSION}; update parplan, or plan again",
            file=str(path),
            key="version",
        )
    if set(content) != {"format", "version", "parplan", key}:
        raise InputError(
            f"has the keys {', '.join(sorted(content))[:200]}; a {key} file has format, version, "
            f"parplan and {key}",
            file=str(path),
        )
    try:
        return read(content[key])
    except InputError as error:
        raise error.located(file=str(path)) from None
    except RecursionError:
        raise InputError("is nested too deeply", file=str(path)) from None


def _read_json(path: Path) -> Any:
    raw = read_bytes(path, SIZE_LIMIT)
    try:
        return json.loads(raw, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        ended = error.pos >= len(error.doc.rstrip())
        what = "ends too early" if raw and ended else f"is no JSON: {error.msg}"
        raise InputError(
            f"{what}; plan files are written by `parplan plan -o`",
            file=str(path),
            line=error.lineno,
        ) from None
    except UnicodeDecodeError:
        raise InputError("is no text in UTF-8, so it is no plan file", file=str(path)) from None
    except RecursionError:
        raise InputError("is nested too deeply", file=str(path)) from None
    except ValueError as error:
        raise InputError(f"is no JSON: {error}", file=str(path)) from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number in JSON")
