"""From a plan to its stage program: the coarsest stages that lose next to nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from parplan.errors import InputError
from parplan.graph import Repeat
from parplan.plans import Plan
from parplan.stages.adapting import Adaptation
from parplan.stages.cutting import BACK_TO_BACK, Cut
from parplan.stages.drafting import Draft, Item, TimedDraft, draft, with_times
from parplan.stages.edges import find_edges, passed_bytes, size_of
from parplan.stages.layers import Side
from parplan.stages.planned import Planned, read_schedule
from parplan.stages.program import (
    RELEASES,
    Action,
    ActionKind,
    Rank,
    Stage,
    StageProgram,
    TimedAction,
)
from parplan.text import plain

DEFAULT_SLACK = 0.01
"""Part of the makespan that larger stages may cost."""


def unchanged(made: Draft) -> Draft:
    """Return a draft as it is."""
    return made


def stage_program(
    plan: Plan,
    slack: float = DEFAULT_SLACK,
    adaptations: Sequence[Adaptation] = (unchanged,),
    cuts: Sequence[Cut] = BACK_TO_BACK,
) -> StageProgram:
    """Return a plan as stages with their actions in the planned order.

    Stages are as large as the plan allows: layers that run back to back. Where the makespan, timed
    stage by stage, then grows by more than ``slack`` of the planned one, they are cut smaller, at
    most into single layers, and the best of all is taken.

    Parameters
    ----------
    slack
        From 0 up, a part of the planned makespan.
    adaptations
        What a runtime asks of drafts (`parplan.stages.adapting`), where there are several ways to
        give it: one of them holds.
    cuts
        The ways to cut, the coarsest first; the one that is taken is the first that costs no more
        than ``slack``, or else the best.

    Raises
    ------
    InputError
        If the plan cannot be said as stages, naming the operator.
    """
    planned = read_schedule(plan.schedule)
    most = plan.schedule.makespan * (1.0 + slack)
    best: TimedDraft | None = None
    for tried in _trials(planned, adaptations, cuts):
        if tried.stuck:
            continue
        if best is None or tried.makespan < best.makespan:
            best = tried
        if best.makespan <= most:
            break
    if best is None:
        raise _deadlock(tried)
    return _program(plan, best)


def _trials(
    planned: Planned, adaptations: Sequence[Adaptation], cuts: Sequence[Cut]
) -> Iterator[TimedDraft]:
    """Yield drafts, the coarsest first: larger stages, then whole backward passes."""
    for cut in cuts:
        parts = cut(planned)
        split = with_times(draft(planned, parts, lambda stage, k: False))
        free = frozenset(() if split.stuck else split.whole_for_free())
        for joins in (lambda stage, k: True, lambda stage, k, free=free: (stage, k) in free):
            made = draft(planned, parts, joins)
            yield from (with_times(adapt(made)) for adapt in adaptations)


def _deadlock(tried: TimedDraft) -> InputError:
    made, schedule = tried.draft, tried.draft.planned.schedule
    row = made.rows[min(tried.stuck, key=made.planned_start)][0]
    operator = schedule.problem.graph.operators[int(schedule.tasks.operator[row])]
    return InputError(
        f"operator '{operator.name}' cannot run in the order of the plan once each stage runs as a "
        "whole: its stage waits for another one that waits for it; give the operators of one "
        "module one device (constraint 'placement', option 'together') and plan again"
    )


def _program(plan: Plan, timed: TimedDraft) -> StageProgram:
    made = timed.draft
    problem, tick_s = plan.problem, plan.problem.tick_s
    devices = [d for d, order in enumerate(made.orders) if any(_is_action(i) for i in order)]
    rank_of = {device: rank for rank, device in enumerate(devices)}
    graph_edges = find_edges(made.planned, made.stage_of)
    edges = find_edges(made.planned, made.stage_of, is_chain=True) if made.is_chain else graph_edges
    passed = passed_bytes(made.planned, made.stage_of) if made.is_chain else {}
    stages = tuple(_stage(made, s, rank_of, passed.get(s, 0)) for s in range(len(made.parts)))
    ranks = []
    for device in devices:
        actions = tuple(
            TimedAction(
                item,
                made.planned_start(item) * tick_s,
                timed.starts[item] * tick_s,
                made.ticks(item) * tick_s,
            )
            for item in made.orders[device]
            if isinstance(item, Action)
        )
        peak = peak_bytes([one.action for one in actions], stages)
        ranks.append(Rank(problem.cluster.devices[device].name, actions, peak))
    return StageProgram(
        plain(problem.name),
        problem.workload.microbatches,
        stages,
        edges,
        tuple(ranks),
        made.numbers,
        plan.schedule.makespan * tick_s,
        timed.makespan * tick_s,
        graph_edges if made.is_chain else (),
    )


def _is_action(item: Item) -> bool:
    return isinstance(item, Action)


def _stage(made: Draft, index: int, rank_of: dict[int, int], passed: int) -> Stage:
    planned, members = made.planned, set(made.parts[index])
    problem, layers = planned.problem, planned.layers
    graph = problem.graph
    device = planned.device_of[made.parts[index][0]]
    sides: dict[Side, list[int]] = {side: [] for side in Side}
    for o in _in_planned_order(planned):
        if layers.layer_of.get(o) in members:
            sides[layers.side[o]].append(o)
    own = [o for side in sides.values() for o in side]
    modules = {graph.operators[o].module for o in own if graph.operators[o].module}
    once = [
        o
        for o, operator in enumerate(graph.operators)
        if operator.repeat is Repeat.STEP and operator.module in modules
    ]
    sizes: dict[int, int] = {}
    for o in [*own, *once]:
        for mode in planned.modes[o]:
            for group, size in graph.parameter_bytes(o, mode).items():
                sizes[group] = max(size, sizes.get(group, 0))
    names = {side: tuple(graph.operators[o].name for o in found) for side, found in sides.items()}
    readers = {*sides[Side.BACKWARD], *sides[Side.WEIGHT]}
    return Stage(
        index,
        rank_of[device],
        problem.cluster.devices[device].name,
        names[Side.FORWARD],
        names[Side.BACKWARD],
        names[Side.WEIGHT],
        tuple(graph.operators[o].name for o in once),
        tuple(dict.fromkeys(graph.operators[o].module for o in own if graph.operators[o].module)),
        tuple(graph.parameters[group].name for group in sorted(sizes)),
        sum(sizes.values()),
        _saved_bytes(planned, readers) + (passed if readers else 0),
    )


def _in_planned_order(planned: Planned) -> list[int]:
    """Return the operators by the first start of a task, ties in the graph's order."""
    tasks = planned.schedule.tasks
    position = {o: i for i, o in enumerate(planned.problem.graph.topological_order)}
    first: dict[int, int] = {}
    for o, start in zip(tasks.operator.tolist(), tasks.start.tolist(), strict=True):
        first[o] = min(start, first.get(o, start))
    return sorted(first, key=lambda o: (first[o], position[o]))


def _saved_bytes(planned: Planned, readers: set[int]) -> int:
    """Return the bytes of the forward pass that backward operators of a stage read."""
    graph, layers = planned.problem.graph, planned.layers
    saved = {
        t
        for t, reader in planned.readings()
        if reader in readers and layers.side[graph.producers[t]] is Side.FORWARD
    }
    return sum(size_of(planned, t) for t in saved)


def peak_bytes(actions: Sequence[Action], stages: Sequence[Stage]) -> int:
    """Return the most that parameters and saved tensors take on a rank, by its order of actions."""
    used = {action.stage for action in actions}
    held = peak = sum(stages[s].parameter_bytes for s in used)
    for action in actions:
        saved = stages[action.stage].saved_bytes
        if action.kind is ActionKind.FORWARD:
            held += saved
        peak = max(peak, held)
        if action.kind in RELEASES:
            held -= saved
    return peak
