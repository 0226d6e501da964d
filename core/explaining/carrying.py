"""A schedule of a problem, carried over into a changed one."""

from __future__ import annotations

from parplan.errors import InputError
from parplan.problem import Alternative, Problem
from parplan.schedule import Schedule, Tasks, Transfers


def carried(schedule: Schedule, problem: Problem) -> Schedule:
    """Return a schedule with the same placement, order and times in seconds in another problem.

    Graph and devices are found by name. Times are not made to fit: durations may have changed.

    Raises
    ------
    InputError
        If the other problem has other tasks, or lacks a device or an alternative that is used.
    """
    old = schedule.problem
    if problem.task_count != old.task_count:
        raise InputError("the problems do not have the same tasks")
    index = problem.cluster.device_index
    missing = [d.name for d in old.cluster.devices if d.name not in index]
    if missing:
        raise InputError(f"the other problem has no device '{missing[0]}'")
    place = [index[d.name] for d in old.cluster.devices]
    t, x = schedule.tasks, schedule.transfers
    rows: dict[tuple[int, int], int] = {}
    for o, a in dict.fromkeys(zip(t.operator.tolist(), t.alternative.tolist(), strict=True)):
        was = old.alternatives[o][a]
        wanted = Alternative(was.mode, tuple(place[d] for d in was.devices))
        if wanted not in problem.alternatives[o]:
            name = old.graph.operators[o].name
            raise InputError(f"'{name}' cannot run in the other problem as it does in this one")
        rows[o, a] = problem.alternatives[o].index(wanted)
    factor = old.tick_s / problem.tick_s
    return Schedule(
        problem,
        Tasks(
            t.operator,
            t.microbatch,
            [rows[key] for key in zip(t.operator.tolist(), t.alternative.tolist(), strict=True)],
            (t.start * factor).round(),
        ),
        Transfers(
            x.tensor,
            x.microbatch,
            [place[d] for d in x.source.tolist()],
            [place[d] for d in x.target.tolist()],
            (x.start * factor).round(),
        ),
    )
