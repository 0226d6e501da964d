"""Problems, schedules and plans as plain data (for JSON), and back.

Modes that operators share are stored once, in a table. An infinite number is the text ``"inf"``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs
import cattrs
import numpy as np
from attrs import field, frozen
from cattrs.gen import make_dict_unstructure_fn, override

from parplan.comparison import Comparison, Entry
from parplan.errors import InputError
from parplan.graph import Graph, Mode, Operator, ParameterGroup, Tensor
from parplan.hardware import Cluster
from parplan.plan_files.columns import ROW_LIMIT, decode_column, encode_column
from parplan.plans import Bound, Plan
from parplan.problem import Problem, Rule
from parplan.schedule import Schedule, Tasks, Transfers
from parplan.spec.structuring import make_converter, structure
from parplan.workload import Workload

_INFINITE = {math.inf: "inf", -math.inf: "-inf"}


@frozen
class GraphData:
    """A graph as it stands in a file; an operator's modes index ``modes``."""

    name: str
    modes: tuple[Any, ...]
    operators: tuple[Any, ...]
    tensors: tuple[Tensor, ...] = ()
    parameters: tuple[ParameterGroup, ...] = ()


@frozen
class ProblemData:
    """A problem as it stands in a file."""

    name: str
    graph: GraphData
    cluster: Cluster
    workload: Workload
    constraints: tuple[Any, ...]
    objectives: tuple[Any, ...]
    tick_s: float


@frozen
class ScheduledData:
    """What a plan adds to its problem, as it stands in a file."""

    tasks: Mapping[str, Any]
    transfers: Mapping[str, Any]
    objectives: Mapping[str, float]
    bound: Bound | None = None
    status: str = "feasible"
    solver: str = ""
    provenance: Mapping[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class PlanData(ScheduledData):
    """A plan as it stands in a file."""

    problem: ProblemData


@frozen
class EntryData:
    """A schedule of a comparison as it stands in a file; ``problem`` indexes its problems."""

    name: str
    split: str
    note: str
    problem: int
    plan: ScheduledData | None
    flushes: bool = True


@frozen
class ComparisonData:
    """A comparison as it stands in a file; the first problem is the one compared."""

    problems: tuple[ProblemData, ...]
    entries: tuple[EntryData, ...]


def problem_to_data(problem: Problem) -> dict[str, Any]:
    """Return a problem as plain data.

    Raises
    ------
    InputError
        If an option of a rule has no form in JSON.
    """
    converter = _writer()
    return {
        "name": problem.name,
        "graph": _graph_to_data(problem.graph, converter),
        "cluster": converter.unstructure(problem.cluster),
        "workload": converter.unstructure(problem.workload),
        "constraints": [_rule_to_data(rule, "constraints") for rule in problem.constraints],
        "objectives": [_rule_to_data(rule, "objectives") for rule in problem.objectives],
        "tick_s": problem.tick_s,
    }


def problem_from_data(data: Any) -> Problem:
    """Return the problem of plain data; InputError with the key of the first fault."""
    return _problem(structure(data, ProblemData, key="problem", converter=_reader()))


def plan_to_data(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain data; see ``problem_to_data``."""
    return {"problem": problem_to_data(plan.problem), **_scheduled_to_data(plan)}


def comparison_to_data(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as plain data, equal problems once; see ``problem_to_data``."""
    problems = [comparison.problem]
    entries = []
    for entry in comparison.entries:
        plan = entry.plan
        if plan is not None and plan.problem not in problems:
            problems.append(plan.problem)
        entries.append(
            {
                "name": entry.name,
                "split": entry.split,
                "note": entry.note,
                "problem": 0 if plan is None else problems.index(plan.problem),
                "plan": None if plan is None else _scheduled_to_data(plan),
                "flushes": entry.flushes,
            }
        )
    return {"problems": [problem_to_data(problem) for problem in problems], "entries": entries}


def _scheduled_to_data(plan: Plan) -> dict[str, Any]:
    return {
        "tasks": _rows_to_data(plan.schedule.tasks),
        "transfers": _rows_to_data(plan.schedule.transfers),
        "objectives": {name: _INFINITE.get(v, float(v)) for name, v in plan.objectives.items()},
        "bound": _writer().unstructure(plan.bound),
        "status": plan.status,
        "solver": plan.solver,
        "provenance": _any_to_data(plan.provenance, "provenance"),
    }


def plan_from_data(data: Any) -> Plan:
    """Return the plan of plain data; InputError with the key of the first fault.

    Indices of tasks and transfers are checked, so that the schedule can be looked at; whether it
    is any good is for ``parplan.checking`` to say.
    """
    found = structure(data, PlanData, converter=_reader())
    return _plan(_problem(found.problem), found)


def comparison_from_data(data: Any) -> Comparison:
    """Return the comparison of plain data; InputError with the key of the first fault."""
    found = structure(data, ComparisonData, converter=_reader())
    problems = [_problem(problem) for problem in found.problems]
    entries = []
    for number, row in enumerate(found.entries):
        if not 0 <= row.problem < len(problems):
            raise InputError(
                f"{row.problem} is not one of the {len(problems)} problems",
                key=f"entries[{number}].problem",
            )
        try:
            plan = None if row.plan is None else _plan(problems[row.problem], row.plan)
        except InputError as error:
            raise error.located(key=f"entries[{number}].plan") from None
        entries.append(Entry(row.name, row.split, plan, row.note, row.flushes))
    if not problems:
        raise InputError("names no problem", key="problems")
    return Comparison(problems[0], tuple(entries))


def _plan(problem: Problem, found: ScheduledData) -> Plan:
    graph, devices = problem.graph, len(problem.cluster.devices)
    microbatches = problem.workload.microbatches
    tasks = _rows(found.tasks, Tasks, "tasks")
    _check_range(tasks.operator, 0, len(graph.operators), "tasks.operator")
    _check_range(tasks.microbatch, -1, microbatches, "tasks.microbatch")
    counts = np.array([len(alternatives) for alternatives in problem.alternatives])
    _check_range(tasks.alternative, 0, counts[tasks.operator], "tasks.alternative")
    transfers = _rows(found.transfers, Transfers, "transfers")
    _check_range(transfers.tensor, 0, len(graph.tensors), "transfers.tensor")
    _check_range(transfers.microbatch, -1, microbatches, "transfers.microbatch")
    _check_range(transfers.source, 0, devices, "transfers.source")
    _check_range(transfers.target, 0, devices, "transfers.target")
    if not found.objectives:
        raise InputError("names no objective", key="objectives")
    return Plan(
        problem,
        Schedule(problem, tasks, transfers),
        found.objectives,
        found.bound,
        found.status,
        found.solver,
        _any_from_data(found.provenance),
    )


def graph_to_data(graph: Graph) -> dict[str, Any]:
    """Return a graph as plain data; a mode that operators share (one object) is written once."""
    return _graph_to_data(graph, _writer())


def graph_from_data(data: Any) -> Graph:
    """Return the graph of plain data; InputError with the key of the first fault."""
    return _graph(structure(data, GraphData, key="graph", converter=_reader()), "graph")


def _writer() -> cattrs.Converter:
    converter = cattrs.Converter(omit_if_default=True)
    converter.register_unstructure_hook(float, lambda value: _INFINITE.get(value, value))
    return converter


def _reader() -> cattrs.Converter:
    converter = make_converter()
    number = converter.get_structure_hook(float)
    named = {text: value for value, text in _INFINITE.items()}

    def read(value: Any, target: Any) -> Any:
        return named[value] if isinstance(value, str) and value in named else number(value, target)

    converter.register_structure_hook(float, read)
    return converter


def _graph_to_data(graph: Graph, converter: cattrs.Converter) -> dict[str, Any]:
    table: dict[int, int] = {}
    modes: list[Mode] = []
    write = make_dict_unstructure_fn(
        Operator, converter, _cattrs_omit_if_default=True, modes=override(omit=True)
    )
    operators = []
    for operator in graph.operators:
        for mode in operator.modes:
            if id(mode) not in table:
                table[id(mode)] = len(modes)
                modes.append(mode)
        data = write(operator)
        data["modes"] = [table[id(mode)] for mode in operator.modes]
        operators.append(data)
    return {
        "name": graph.name,
        "modes": [converter.unstructure(mode) for mode in modes],
        "operators": operators,
        "tensors": [converter.unstructure(tensor) for tensor in graph.tensors],
        "parameters": [converter.unstructure(group) for group in graph.parameters],
    }


def _problem(data: ProblemData) -> Problem:
    try:
        return Problem(
            data.name,
            _graph(data.graph, "problem.graph"),
            data.cluster,
            data.workload,
            _rules(data.constraints, "problem.constraints"),
            _rules(data.objectives, "problem.objectives"),
            data.tick_s,
        )
    except InputError as error:
        raise error.located(key="problem") from None


def _graph(data: GraphData, key: str) -> Graph:
    reader = _reader()
    modes = structure(list(data.modes), tuple[Mode, ...], key=f"{key}.modes", converter=reader)

    def mode_at(index: Any, _: Any) -> Mode:
        if type(index) is not int or not 0 <= index < len(modes):
            raise InputError(f"{index!r} is not one of the {len(modes)} modes")
        return modes[index]

    reader = _reader()
    reader.register_structure_hook(Mode, mode_at)
    operators = structure(
        list(data.operators), tuple[Operator, ...], key=f"{key}.operators", converter=reader
    )
    return Graph(data.name, operators, data.tensors, data.parameters)


def _rule_to_data(rule: Rule, section: str) -> dict[str, Any]:
    return {rule.name: _any_to_data(rule.options, f"{section}.{rule.name}")}


def _rules(data: tuple[Any, ...], key: str) -> tuple[Rule, ...]:
    rules = structure(list(data), tuple[Rule, ...], key=key)
    return tuple(attrs.evolve(rule, options=_any_from_data(rule.options)) for rule in rules)


def _any_to_data(value: Any, key: str) -> Any:
    """Return options or provenance as plain data."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(k): _any_to_data(v, f"{key}.{k}") for k, v in value.items()}
    if isinstance(value, set | frozenset):
        value = sorted(value)
    if isinstance(value, list | tuple):
        return [_any_to_data(v, f"{key}[{i}]") for i, v in enumerate(value)]
    if attrs.has(type(value)):
        return _any_to_data(attrs.asdict(value), key)
    raise InputError(f"a {type(value).__name__} cannot be written to JSON", key=key)


def _any_from_data(value: Any) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {"$float"} and value["$float"] in ("inf", "-inf", "nan"):
            return float(value["$float"])
        return {key: _any_from_data(inner) for key, inner in value.items()}
    return [_any_from_data(inner) for inner in value] if isinstance(value, list) else value


def _rows_to_data(rows: Tasks | Transfers) -> dict[str, Any]:
    names = [f.name for f in attrs.fields(type(rows))]
    columns = {name: encode_column(getattr(rows, name)) for name in names}
    return {"length": len(rows), **columns}


def _rows(data: Mapping[str, Any], cls: type[Any], key: str) -> Any:
    names = [f.name for f in attrs.fields(cls)]
    if set(data) != {"length", *names}:
        raise InputError(f"has the keys {sorted(data)}; it needs {['length', *names]}", key=key)
    length = data["length"]
    if type(length) is not int or not 0 <= length <= ROW_LIMIT:
        raise InputError(f"{length!r} is no number of rows up to {ROW_LIMIT}", key=f"{key}.length")
    return cls(*(decode_column(data[name], length, f"{key}.{name}") for name in names))


def _check_range(column: Any, low: int, high: Any, key: str) -> None:
    """Raise InputError for the first row outside [low, high)."""
    wrong = np.flatnonzero((column < low) | (column >= high))
    if len(wrong):
        row = int(wrong[0])
        limit = int(high[row] if isinstance(high, np.ndarray) else high)
        raise InputError(
            f"row {row} is {int(column[row])}; it must be at least {low} and below {limit}",
            key=key,
        )
