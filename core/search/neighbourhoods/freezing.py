"""A model of the whole problem in which all but a part stands still.

The model is the one of the whole problem, so every rule holds as always. Alternatives of what is
not freed are given; and its times are

- before everything freed has started: fixed;
- after everything freed has ended: all earlier by one and the same number of ticks;
- between: free, in the order that they have on each device.

So what is left to decide is where freed operators run, and their order among themselves and beside
the rest.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import attrs

from parplan.contracts import Freedom
from parplan.rules import Rules
from parplan.schedule import Schedule

if TYPE_CHECKING:
    from parplan.model.schedule_model import ScheduleModel

NAME = "frozen"
"""The Block of the rows that keep the rest as it is."""

TaskKey = tuple[int, int]


def frozen_model(
    rules: Rules, schedule: Schedule, freedom: Freedom, tick: int, horizon: int
) -> ScheduleModel:
    """Return the timing model of all schedules that keep what is not freed.

    Parameters
    ----------
    tick
        Model tick, of which all times of the schedule are multiples (``parplan.model.granule``).
    horizon
        Latest end in ticks of the problem.

    Raises
    ------
    InfeasibleError
        If given alternatives cannot go together.
    InputError
        If the freedom names an alternative that rules forbid.
    """
    from parplan.model.schedule_model import ModelOptions, ScheduleModel  # loads Pyomo

    only = attrs.evolve(rules, objectives=rules.objectives[:1])
    given = {**_chosen(schedule), **freedom.choices}
    options = ModelOptions(tick, horizon=horizon)
    model = ScheduleModel(only, options, given)
    _freeze(model, schedule, _freed(schedule, freedom), tick)
    return model


def _chosen(schedule: Schedule) -> dict[TaskKey, int | tuple[int, ...]]:
    """Return the alternative of each (operator, placement group)."""
    tasks, group = schedule.tasks, schedule.problem.workload.group
    columns = (tasks.operator.tolist(), tasks.microbatch.tolist(), tasks.alternative.tolist())
    return {(o, group(m)): row for o, m, row in zip(*columns, strict=True)}


def _freed(schedule: Schedule, freedom: Freedom) -> set[TaskKey]:
    group = schedule.problem.workload.group
    return {(o, m) for o, m in schedule.row_of if (o, group(m)) in freedom.choices} | set(
        freedom.tasks
    )


def _freeze(model: ScheduleModel, schedule: Schedule, freed: set[TaskKey], tick: int) -> None:
    starts, ends = schedule.tasks.start.tolist(), schedule.ends.tolist()
    rows = schedule.row_of
    first = min((starts[rows[key]] for key in freed), default=0)
    last = max((ends[rows[key]] for key in freed), default=schedule.makespan)
    block = model.block(NAME)
    earlier = block.time("earlier", 0, schedule.makespan // tick, lambda _: 0.0)
    between: list[int] = []
    for key, row in rows.items():
        if key in freed:
            continue
        if ends[row] <= first:
            model.tasks[key].start.fix(starts[row] // tick)
        elif starts[row] >= last:
            block.row(model.tasks[key].start + earlier == starts[row] // tick)
        else:
            between.append(row)
    _fix_arrived(model, schedule, first, tick)
    for one, two in _in_order(schedule, between, starts, ends):
        block.before(model.tasks[one].interval, model.tasks[two].interval)


def _fix_arrived(model: ScheduleModel, schedule: Schedule, first: int, tick: int) -> None:
    """Fix the transfers that have arrived before anything freed starts."""
    x = schedule.transfers
    columns = (x.tensor.tolist(), x.microbatch.tolist(), x.target.tolist(), x.start.tolist())
    for row, (tensor, microbatch, target, start) in enumerate(zip(*columns, strict=True)):
        made = model.transport.made.get((tensor, microbatch, target))
        if made is not None and start + schedule.transfer_timing(row).arrival <= first:
            made.start.fix(start // tick)


def _in_order(
    schedule: Schedule, rows: list[int], starts: list[int], ends: list[int]
) -> list[tuple[TaskKey, TaskKey]]:
    """Return pairs of tasks that follow one another on a device."""
    lines: dict[int, list[int]] = {}
    for row in sorted(rows, key=lambda row: (starts[row], ends[row])):
        for device in schedule.alternative(row).devices:
            lines.setdefault(device, []).append(row)
    keys = list(schedule.row_of)
    return [
        (keys[one], keys[two])
        for line in lines.values()
        for one, two in pairwise(line)
        if ends[one] <= starts[two]
    ]
