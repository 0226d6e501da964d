"""From a solver's values to a schedule, and from a schedule to a warm start."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyomo.core.expr.numeric_expr import MonomialTermExpression

from parplan.errors import InputError
from parplan.model.blocks import Value
from parplan.model.left_shift import left_shift
from parplan.schedule import Schedule, Tasks, Transfers

if TYPE_CHECKING:
    from parplan.model.schedule_model import ScheduleModel


def reader(values: Mapping[str, float]) -> Value:
    """Return a function that gives the value of a variable or a linear expression."""

    def value(expression: Any) -> float:
        if isinstance(expression, int | float):
            return expression
        if not hasattr(expression, "args"):
            return values[expression.name]
        parts = [value(part) for part in expression.args]
        return math.prod(parts) if isinstance(expression, MonomialTermExpression) else sum(parts)

    return value


def extract(model: ScheduleModel, values: Mapping[str, float]) -> Schedule:
    """Return the schedule of an answer.

    With ticks of the problem the solver's own times are kept. With coarser ticks its times are
    multiplied, and everything is shifted left as far as its sequences allow.

    Raises
    ------
    InputError
        If the model is one for bounds, whose solutions need not be schedules, or if a variable of
        the model has no value.
    """
    if model.clock.relaxed:
        raise InputError("a model with times rounded down gives bounds, no schedules")
    try:
        schedule = read_schedule(model, reader(values))
    except KeyError as error:
        raise InputError(f"the answer has no value for variable {error}") from None
    if model.clock.exact:
        return schedule
    shifted = left_shift(model.rules, schedule)
    # What an escape hatch demands of times is unknown to the left shift: let it judge.
    hatches = model.rules.escape_hatches
    broken = any(True for hatch in hatches for _ in hatch.violations(shifted))
    return schedule if broken else shifted


def read_schedule(model: ScheduleModel, value: Value) -> Schedule:
    """Return what values say, in ticks of the problem, without any shift."""
    problem, factor = model.problem, model.clock.factor
    chosen = {key: model.choices.chosen(key, value) for key in model.choices.rows}
    starts = {key: round(value(task.start)) * factor for key, task in model.tasks.items()}
    tasks = Tasks(
        operator=[o for o, _ in starts],
        microbatch=[m for _, m in starts],
        alternative=[chosen[model.tasks[key].key] for key in starts],
        start=list(starts.values()),
    )
    rows = []
    for key, possible in model.transport.possible.items():
        tensor, microbatch, target = key
        producer = problem.graph.producers[tensor]
        group = problem.workload.group(microbatch)
        home = model.choices.alternative(producer, chosen[producer, group])
        if target in home.devices or not _is_read(model, key, chosen):
            continue
        options = [o for o in possible.options if chosen[producer, group] in o.rows]
        if key in model.transport.made:
            made = model.transport.made[key]
            start = round(value(made.start)) * factor
            weights = {
                id(o): 1.0 if z is None else value(z)
                for o, z in zip(made.options, made.literals, strict=True)
            }
            option = max(options, key=lambda o: weights[id(o)])
        else:  # nothing hinders it: it leaves at once, from the nearest source
            ended = problem.ticks(producer, home, microbatch)
            start = starts[producer, microbatch] + ended
            option = min(options, key=lambda o: o.timing.arrival)
        rows.append((tensor, microbatch, option.source, target, start))
    columns = list(zip(*rows, strict=True)) or [()] * 5
    return Schedule(problem, tasks, Transfers(*columns))


def _is_read(
    model: ScheduleModel, key: tuple[int, int, int], chosen: Mapping[tuple[int, int], int]
) -> bool:
    tensor, microbatch, target = key
    group = model.problem.workload.group(microbatch)
    return any(
        chosen[reader] in model.transport.reading_rows(reader, tensor, target)
        for reader in model.transport.readers(tensor, group)
    )


def warm_start(model: ScheduleModel, schedule: Schedule) -> dict[str, float]:
    """Return the value of every variable of the model that has a definition, by its name.

    A schedule in finer ticks than the model's gives values that may break rows by rounding; a
    solver takes them as a hint.

    Raises
    ------
    InputError
        If the schedule is of another problem, or uses an alternative the model does not have.
    """
    values: dict[str, float] = {}
    factor, rows = model.clock.factor, schedule.row_of
    seen: dict[tuple[int, int], int] = {}
    for key, task in model.tasks.items():
        if key not in rows:
            raise InputError(f"the schedule has no task {task.name}")
        row = rows[key]
        values[task.start.name] = -(-int(schedule.tasks.start[row]) // factor)
        seen.setdefault(task.key, int(schedule.tasks.alternative[row]))
    for (o, h), a in seen.items():
        if a not in model.choices.rows[o, h]:
            name = model.problem.graph.operators[o].name
            raise InputError(f"the schedule runs '{name}' in alternative {a}, which is not open")
        for other in model.choices.rows[o, h]:
            literal = model.choices.literal(o, h, other)
            if literal is not None:
                values[literal.name] = float(other == a)
    x = schedule.transfers
    columns = (x.tensor, x.microbatch, x.target, x.source, x.start)
    moved = {
        (t, m, d): (s, start)
        for t, m, d, s, start in zip(*(c.tolist() for c in columns), strict=True)
    }
    for transfer, made in model.transport.made.items():
        source, start = moved.get(transfer, (None, None))
        earliest = 0 if start is None else -(-start // factor)
        values[made.start.name] = max(earliest, made.start.lb)
        producer = (
            model.problem.graph.producers[transfer[0]],
            model.problem.workload.group(transfer[1]),
        )
        for option, literal in zip(made.options, made.literals, strict=True):
            if literal is not None and literal is not made.presence:
                taken = option.source == source and seen[producer] in option.rows
                values.setdefault(literal.name, float(taken))
    value = reader(values)
    for variable, define in model.definitions:
        if variable.name not in values:
            values[variable.name] = define(value)
    ends = [value(task.end) for task in model.tasks.values()]
    values[model.makespan.name] = max(ends, default=0.0)
    return values
