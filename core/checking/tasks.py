"""Tasks: all there, once each, each in an alternative that it may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import networkx as nx
import numpy as np

from parplan.checking.columns import Whole
from parplan.checking.facts import Facts, run_name
from parplan.contracts import Violation
from parplan.declarations import Apart, Contiguous, Forbidden, Together
from parplan.graph import Mode, Repeat
from parplan.problem import STEP, Alternative, Problem
from parplan.rules import Rules
from parplan.schedule import Schedule

# Times beyond this cannot be added up in 64 bits.
LATEST = 2**61


def broken_rows(schedule: Schedule) -> Iterator[Violation]:
    """Yield rows that name nothing, and tasks that are missing or there twice.

    Where there is one, nothing else can be judged.
    """
    yield from _unknown_tasks(schedule)
    yield from _unknown_transfers(schedule)


def _unknown_tasks(schedule: Schedule) -> Iterator[Violation]:
    problem, t = schedule.problem, schedule.tasks
    graph = problem.graph
    known = (t.operator >= 0) & (t.operator < len(graph.operators))
    for row in np.flatnonzero(~known).tolist():
        text = f"task row {row} names operator {t.operator[row]}; there is none"
        yield Violation("tasks", f"row {row}", text)
    operator = np.where(known, t.operator, 0)
    names = [o.name for o in graph.operators]
    once = np.array([o.repeat is Repeat.STEP for o in graph.operators])[operator]
    first = np.where(once, STEP, 0)
    last = np.where(once, STEP, problem.workload.microbatches - 1)
    runs = (t.microbatch >= first) & (t.microbatch <= last)
    for row in np.flatnonzero(known & ~runs).tolist():
        name, run = names[operator[row]], run_name(int(t.microbatch[row]))
        yield Violation("tasks", name, f"'{name}' does not run for {run}")
    count = np.array([len(a) for a in problem.alternatives])[operator]
    there = (t.alternative >= 0) & (t.alternative < count)
    for row in np.flatnonzero(known & ~there).tolist():
        name = names[operator[row]]
        text = f"'{name}' has {count[row]} alternatives, not number {t.alternative[row]}"
        yield Violation("tasks", name, text)
    timed = (t.start < LATEST) & (t.start > -LATEST)
    for row in np.flatnonzero(known & ~timed).tolist():
        name = names[operator[row]]
        yield Violation("tasks", name, f"'{name}' starts at tick {t.start[row]}, out of all range")
    yield from _counted(problem, t.operator[known & runs], t.microbatch[known & runs])


def _counted(problem: Problem, operator: Whole, microbatch: Whole) -> Iterator[Violation]:
    runs = np.array([len(problem.microbatches_of(o)) for o in range(len(problem.graph.operators))])
    first = np.cumsum(runs) - runs
    number = first[operator] + np.maximum(microbatch, 0)
    times = np.bincount(number, minlength=problem.task_count)
    for task in np.flatnonzero(times != 1).tolist():
        index = int(np.searchsorted(first, task, side="right")) - 1
        spec = problem.graph.operators[index]
        run = run_name(STEP if spec.repeat is Repeat.STEP else task - int(first[index]))
        what = "is missing" if times[task] == 0 else f"is there {times[task]} times"
        yield Violation("tasks", spec.name, f"task '{spec.name}' ({run}) {what}")


def _unknown_transfers(schedule: Schedule) -> Iterator[Violation]:
    problem, x = schedule.problem, schedule.transfers
    devices = len(problem.cluster.devices)
    once = np.array(
        [problem.microbatches_of(p).start == STEP for p in problem.graph.producers], dtype=bool
    )
    known = (x.tensor >= 0) & (x.tensor < len(once))
    made_once = once[np.where(known, x.tensor, 0)] if len(once) else known
    first = np.where(made_once, STEP, 0)
    last = np.where(made_once, STEP, problem.workload.microbatches - 1)
    faults = (
        ("tensor", x.tensor, known),
        ("microbatch", x.microbatch, (x.microbatch >= first) & (x.microbatch <= last)),
        ("source device", x.source, (x.source >= 0) & (x.source < devices)),
        ("target device", x.target, (x.target >= 0) & (x.target < devices)),
        ("start", x.start, (x.start > -LATEST) & (x.start < LATEST)),
    )
    for what, column, good in faults:
        for row in np.flatnonzero(~good).tolist():
            text = f"transfer row {row}: {what} {column[row]} does not exist"
            yield Violation("transfers", f"row {row}", text)


def placement(facts: Facts, rules: Rules) -> Iterator[Violation]:
    """Yield tasks on devices, or in modes, that they may not use."""
    yield from _impossible_choices(facts)
    yield from _mixed_groups(facts)
    yield from _uncoupled_modes(facts)
    yield from _forbidden(facts, rules)
    for rule, together in rules.of(Together):
        yield from _together(facts, rule, together)
    for rule, apart in rules.of(Apart):
        yield from _apart(facts, rule, apart)
    for rule, contiguous in rules.of(Contiguous):
        yield from _contiguous(facts, rule, contiguous)


def _impossible_choices(facts: Facts) -> Iterator[Violation]:
    for mode, (operator, chosen) in zip(facts.modes, facts.choices, strict=True):
        name, reason = facts.problem.graph.operators[operator].name, _reason(facts, mode, chosen)
        if reason:
            yield Violation("alternatives", name, f"'{name}', mode '{mode.name}': {reason}")


def _reason(facts: Facts, mode: Mode, chosen: Alternative) -> str:
    """Return why a mode cannot run on a group, empty if it can."""
    cluster = facts.problem.cluster
    group = tuple(cluster.devices[d].name for d in chosen.devices)
    if len(set(group)) != mode.devices or len(group) != mode.devices:
        return f"needs {mode.devices} different devices, has {list(group)}"
    listed = mode.groups or (cluster.groups if mode.devices > 1 else ())
    if (listed or mode.devices > 1) and group not in {tuple(g) for g in listed}:
        return f"{list(group)} is none of the groups that it may use"
    for device in (cluster.devices[d] for d in chosen.devices):
        if device.kind not in mode.seconds and "*" not in mode.seconds:
            return f"has no duration on '{device.name}' of kind '{device.kind}'"
        missing = [engine for engine in mode.engines if engine not in device.engines]
        if missing:
            return f"'{device.name}' has no engine '{missing[0]}'"
    if mode.ring_steps and not all(facts.ring(chosen)):
        return f"{list(group)} is no ring: two neighbours have no route"
    return ""


def _groups(facts: Facts) -> Whole:
    """Placement group of each task row."""
    groups = facts.problem.workload.groups
    microbatch = facts.schedule.tasks.microbatch
    if not groups:
        return np.zeros(len(microbatch), dtype=np.int64)
    return np.where(microbatch < 0, 0, np.array(groups)[np.maximum(microbatch, 0)])


def _mixed_groups(facts: Facts) -> Iterator[Violation]:
    t = facts.schedule.tasks
    keys = t.operator * facts.problem.workload.group_count + _groups(facts)
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    leader = first[inverse]
    for row in np.flatnonzero(t.alternative != t.alternative[leader]).tolist():
        a, b = facts.task_name(row), facts.task_name(int(leader[row]))
        text = f"{a} runs otherwise than {b}, of the same placement group"
        yield Violation("group", facts.problem.graph.operators[int(t.operator[row])].name, text)


def _uncoupled_modes(facts: Facts) -> Iterator[Violation]:
    reads, count = facts.reads, max(len(facts.choices), 1)
    tensors = facts.problem.graph.tensors
    keys = facts.choice[reads.reader] * count + facts.choice[reads.producer]
    keys = keys * max(len(tensors), 1) + reads.tensor
    for key, first in zip(*(c.tolist() for c in np.unique(keys, return_index=True)), strict=True):
        pair, tensor = divmod(key, max(len(tensors), 1))
        reader, producer = (facts.modes[c] for c in divmod(pair, count))
        name = tensors[tensor].name
        unwritten = producer.writes is not None and name not in producer.writes
        layouts = (reader.layout, producer.layout)
        if not unwritten and (layouts[0] == layouts[1] or "" in layouts):
            continue
        by = facts.task_name(int(reads.reader[first]))
        maker = facts.task_name(int(reads.producer[first]))
        if unwritten:
            text = f"{by} reads '{name}' in mode '{reader.name}', but {maker} does not write it"
            text += f" in mode '{producer.name}'"
        else:
            text = f"{by} wants '{name}' in layout '{layouts[0]}', but {maker} makes"
            text += f" layout '{layouts[1]}'"
        yield Violation("modes", name, text)


def _forbidden(facts: Facts, rules: Rules) -> Iterator[Violation]:
    problem = facts.problem
    bans: dict[tuple[str, str | None], list[tuple[str, Forbidden]]] = {}
    for rule, ban in rules.of(Forbidden):
        bans.setdefault((ban.operator, ban.device), []).append((rule, ban))
    count = problem.workload.group_count
    used, firsts = np.unique(facts.choice * count + _groups(facts), return_index=True)
    for key, row in zip(used.tolist(), firsts.tolist(), strict=True):
        number, group = divmod(key, count)
        operator, chosen = facts.choices[number]
        name, mode = problem.graph.operators[operator].name, facts.modes[number].name
        places = (None, *(problem.cluster.devices[d].name for d in chosen.devices))
        for rule, ban in (found for place in places for found in bans.get((name, place), ())):
            if ban.group in (None, group) and ban.mode in (None, mode):
                what = " and ".join(
                    f"{kind} '{value}'"
                    for kind, value in (("device", ban.device), ("mode", ban.mode))
                    if value is not None
                )
                where = "" if ban.group is None else f" in placement group {group}"
                text = f"{facts.task_name(row)} uses {what or 'an alternative'}, which is forbidden"
                text += where
                yield Violation(rule, ban.operator, text)


def _leaders(facts: Facts, operators: tuple[str, ...]) -> Iterator[tuple[str, list[int]]]:
    """Yield, for each placement group, its name and one task row of each operator in it."""
    problem = facts.problem
    index = [problem.graph.operator_index[name] for name in operators]
    groups = problem.workload.groups or (0,) * problem.workload.microbatches
    for group in range(problem.workload.group_count):
        first = groups.index(group)
        runs = [STEP if facts.once[o] else first for o in index]
        number = facts.task_number(np.array(index), np.array(runs))
        # Work done once per step counts as group 0.
        kept = [o for o, run in zip(number, runs, strict=True) if group == 0 or run != STEP]
        where = "" if problem.workload.group_count == 1 else f" in placement group {group}"
        yield where, facts.rows[kept].tolist()


def _differ(
    facts: Facts, rows: list[int], what: Callable[[int], object]
) -> Iterator[tuple[int, int]]:
    for row in rows[1:]:
        if what(row) != what(rows[0]):
            yield rows[0], row


def _together(facts: Facts, rule: str, declared: Together) -> Iterator[Violation]:
    def place(row: int) -> object:
        number = int(facts.choice[row])
        if declared.what == "devices":
            return frozenset(facts.choices[number][1].devices)
        return facts.modes[number].name

    shared = "device group" if declared.what == "devices" else "name of their mode"
    for where, rows in _leaders(facts, declared.operators):
        for a, b in _differ(facts, rows, place):
            text = f"{facts.task_name(a)} and {facts.task_name(b)} must share the {shared}{where}"
            if declared.what != "devices":
                text += f"; they run in '{place(a)}' and '{place(b)}'"
            yield Violation(rule, declared.operators[0], text)


def _apart(facts: Facts, rule: str, declared: Apart) -> Iterator[Violation]:
    for where, rows in _leaders(facts, declared.operators):
        tenant: dict[int, int] = {}
        for row in rows:
            for device in facts.choices[int(facts.choice[row])][1].devices:
                if device in tenant:
                    a, b = facts.task_name(tenant[device]), facts.task_name(row)
                    text = f"{a} and {b} must not share a device{where}"
                    yield Violation(rule, facts.problem.cluster.devices[device].name, text)
                tenant.setdefault(device, row)


def _contiguous(facts: Facts, rule: str, declared: Contiguous) -> Iterator[Violation]:
    """Yield a circle of devices for each placement group in which data goes round."""
    graph, devices = facts.problem.graph, facts.problem.cluster.devices
    named = set(declared.operators)
    for where, rows in _leaders(facts, declared.operators):
        home = {}
        for row in rows:
            operator, chosen = facts.choices[int(facts.choice[row])]
            home[graph.operators[operator].name] = chosen.devices
        flow: nx.DiGraph[int] = nx.DiGraph()
        for tensor in graph.tensors:
            for reader in named.intersection(tensor.consumers) & home.keys():
                source, target = home.get(tensor.producer, home[reader]), home[reader]
                if source != target:
                    flow.add_edges_from((a, b) for a in source for b in target if a != b)
        if not nx.is_directed_acyclic_graph(flow):
            circle = [devices[a].name for a, _ in nx.find_cycle(flow)]
            shown = " -> ".join([*circle, circle[0]])
            text = f"tensors of contiguous operators go round: {shown}{where}"
            yield Violation(rule, circle[0], text)
