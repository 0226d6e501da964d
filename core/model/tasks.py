"""Tasks in the model: one start per (operator, microbatch), shared by all its alternatives.

S[o, m] is an integer variable. The end is ``S + p`` where all alternatives take p ticks; else it is
a variable E[o, m] with ``E = S + sum of p[a] x[o, h, a]``, which is tight since exactly one x is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from parplan.model.blocks import RuleBlock
from parplan.model.choices import Choices, Key, total
from parplan.model.clock import Clock
from parplan.model.terms import Interval, Literal, Time
from parplan.problem import STEP, Problem

TaskKey = tuple[int, int]
"""(operator index, microbatch)."""


@frozen(eq=False)
class Task:
    """One task of the model.

    Attributes
    ----------
    key
        (operator index, placement group), for ``Choices``.
    start, end
        In model ticks: a variable, and a variable or ``start + size``.
    sizes
        Length in model ticks per open alternative.
    interval
        From start to end, always present.
    """

    operator: int
    microbatch: int
    name: str
    key: Key
    start: Time
    end: Time
    sizes: Mapping[int, int]
    interval: Interval
    _choices: Choices = field(repr=False)

    @property
    def presence(self) -> Mapping[int, Literal]:
        """Literal of each open alternative (index); None where there is only one."""
        return {a: self._choices.literal(*self.key, a) for a in self.sizes}

    def alternative(self, a: int) -> Interval:
        """Return the interval that is present if alternative ``a`` is chosen."""
        literal = self._choices.literal(*self.key, a)
        return Interval(f"{self.name}#{a}", self.start, self.end, self.sizes[a], literal)

    def within(self, rows: tuple[int, ...]) -> Interval:
        """Return the task's interval, present if one of ``rows`` (at least one) is chosen."""
        literal = self._choices.any_of(self.key, rows)
        if literal is None:
            return self.interval
        inside = {self.sizes[a] for a in rows}
        size = inside.pop() if len(inside) == 1 else None
        return Interval(self.interval.name, self.start, self.end, size, literal)


def make_tasks(
    choices: Choices, clock: Clock, block: RuleBlock, horizon: int
) -> dict[TaskKey, Task]:
    """Return every task by (operator index, microbatch), its times bounded by head and tail."""
    sizes = {task: durations(choices, clock, task) for task in choices.problem.tasks()}
    shortest = {task: min(found.values()) for task, found in sizes.items()}
    heads, tails = windows(choices, clock, shortest)
    return {
        task: _make_task(choices, block, task, sizes[task], heads[task], horizon - tails[task])
        for task in sizes
    }


def make_shadows(choices: Choices, clock: Clock) -> dict[TaskKey, Task]:
    """Return every task without times: start and end are zero."""
    found = {}
    for task in choices.problem.tasks():
        key = (task[0], choices.problem.workload.group(task[1]))
        name = _name(choices, task)
        sizes = durations(choices, clock, task)
        found[task] = Task(*task, name, key, 0, 0, sizes, Interval(name, 0, 0), choices)
    return found


def durations(choices: Choices, clock: Clock, task: TaskKey) -> dict[int, int]:
    """Return the length of a task in model ticks per open alternative."""
    o, m = task
    problem = choices.problem
    return {
        a: clock.ticks(problem.ticks(o, choices.alternative(o, a), m))
        for a in choices.rows[o, problem.workload.group(m)]
    }


def _name(choices: Choices, task: TaskKey) -> str:
    operator = choices.problem.graph.operators[task[0]].name
    return operator if task[1] == STEP else f"{operator}@{task[1]}"


def _make_task(
    choices: Choices,
    block: RuleBlock,
    task: TaskKey,
    sizes: Mapping[int, int],
    head: int,
    latest_end: int,
) -> Task:
    o, m = task
    problem = choices.problem
    key = (o, problem.workload.group(m))
    name = _name(choices, task)
    low, high = min(sizes.values()), max(sizes.values())
    # A window that is empty proves infeasibility, but that is for the solver to say.
    start: Any = block.time(f"start {name}", head, max(latest_end - low, head))
    if low == high:
        end = start + low if low else start
        interval = Interval(name, start, end, low)
    else:
        literals = [(p, choices.literal(*key, a)) for a, p in sizes.items() if p]
        end = block.time(
            f"end {name}",
            head + low,
            max(latest_end, head + low),
            lambda value: value(start) + sum(p * value(x) for p, x in literals),
        )
        block.row(end == start + total(p * x for p, x in literals))
        interval = Interval(name, start, end)
    return Task(o, m, name, key, start, end, sizes, interval, choices)


def windows(
    choices: Choices, clock: Clock, shortest: Mapping[TaskKey, int]
) -> tuple[dict[TaskKey, int], dict[TaskKey, int]]:
    """Return (head, tail) of each task in model ticks.

    The head is the longest chain of shortest durations that must come before the task (or its
    release), the tail the longest that must come after it.
    """
    problem = choices.problem
    heads = {task: clock.ticks(problem.release(task[1])) for task in shortest}
    tails = dict.fromkeys(shortest, 0)
    for one, two in _arcs(choices, shortest, forward=True):
        heads[two] = max(heads[two], heads[one] + shortest[one])
    for one, two in _arcs(choices, shortest, forward=False):
        tails[one] = max(tails[one], tails[two] + shortest[two])
    return heads, tails


def _arcs(
    choices: Choices, tasks: Mapping[TaskKey, int], *, forward: bool
) -> list[tuple[TaskKey, TaskKey]]:
    """Return (producer task, reader task) of all unconditional reads, in topological order."""
    problem: Problem = choices.problem
    graph, group = problem.graph, problem.workload.group
    found = []
    order = graph.topological_order if forward else graph.topological_order[::-1]
    for o in order:
        tensors = graph.inputs[o] if forward else graph.outputs[o]
        for t in tensors:
            for reader in (o,) if forward else graph.consumers[t]:
                for k in problem.microbatches_of(reader):
                    if choices.always_reads((reader, group(k)), t):
                        found += [
                            ((graph.producers[t], m), (reader, k))
                            for m in problem.read_microbatches(t, k)
                        ]
    return found
