"""From a placement to a schedule: coarsen, schedule by rules or orders, expand, tighten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise, product

import numpy as np
from attrs import frozen

from parplan.contracts import Criterion, Strategy
from parplan.figures.usage import longest_stage_span_ticks
from parplan.graph import Kind
from parplan.pipelines.pipeline import (
    Fused,
    Order,
    Pass,
    PassKind,
    PipelineShape,
    StageTimes,
    passes_of,
    renumbered,
)
from parplan.problem import Problem
from parplan.schedule import Schedule
from parplan.scheduling.coupling import check_modes
from parplan.scheduling.list_scheduler import (
    Arcs,
    Deadlock,
    ListScheduler,
    arcs_of,
    serial_arcs,
)
from parplan.scheduling.network import Network, build_network, check_capacities
from parplan.scheduling.priorities import (
    CLASSES,
    PriorityRule,
    Profile,
    priorities,
    profile,
    waiting_kinds,
    window_arcs,
)
from parplan.scheduling.tables import Real, Whole
from parplan.search.placing.coarsening import Coarse, coarsen
from parplan.search.placing.convexity import convex_parts
from parplan.search.placing.placement import Placement, Placer, single_operators
from parplan.search.placing.ways import Ways
from parplan.search.sequences.machines import SequenceView, make_view


@frozen(eq=False)
class Prepared:
    """A placement made ready for scheduling many times.

    Attributes
    ----------
    stage_of_block
        Chunk (stage) of each block.
    chunk_of
        Chunk (stage) of each coarse operator.
    stages
        (first, last) per-microbatch coarse operator of each chunk, by their heads.
    turns
        The same without weight passes, where there are others.
    """

    placement: Placement
    ways: Ways
    split_weights: bool
    coarse: Coarse
    network: Network
    scheduler: ListScheduler
    profile: Profile
    stage_of_block: Sequence[int]
    chunk_of: Sequence[int]
    stages: Sequence[tuple[int, int]]
    turns: Sequence[tuple[int, int]]

    @property
    def criterion(self) -> Criterion:
        """What the search makes small: what the first objective follows."""
        return self.coarse.rules.objectives[0].follows or Criterion.MAKESPAN

    @cached_property
    def view(self) -> SequenceView | None:
        """The network as machines with orders; None where orders cannot say all of it."""
        return make_view(self.network, self.scheduler.tables)


@frozen(eq=False)
class Candidate:
    """A schedule of a prepared placement, and the rule behind it.

    Attributes
    ----------
    figure
        What the search makes small, in ticks: the placement's ``criterion``.
    """

    prepared: Prepared
    starts: Whole
    figure: int
    rule: PriorityRule | None = None

    @property
    def makespan(self) -> int:
        """End of the last task in ticks."""
        return self.prepared.scheduler.makespan(self.starts)


def prepare(
    placer: Placer,
    placement: Placement,
    ways: Ways = (),
    *,
    split_weights: bool = False,
    stage_of_block: Sequence[int] = (),
) -> Prepared:
    """Return a placement made ready.

    Parameters
    ----------
    ways
        The way of each of the placer's coupled operators; empty: the first of each.
    stage_of_block
        Stage of each block, where stages that follow one another may share a device. Empty: every
        run of blocks on the same devices is a stage.

    Raises
    ------
    InfeasibleError
        If parameters or one task alone do not fit, a route is missing or modes do not couple.
    """
    problem = placer.problem
    assignment = placer.assignment(placement, ways)
    check_modes(problem, assignment, placer.fragile)  # merging hides modes
    stage_of_block = stage_of_block or [
        c for c, chunk in enumerate(placer.chunks(placement)) for _ in chunk
    ]
    block_of = placer.blocks.block_of
    coarse = None
    if placer.may_merge:
        parts = [
            part
            for whole in placer.parts(placement, ways, split_weights=split_weights)
            for part in _apart(whole, [stage_of_block[block_of[o]] for o in whole])
        ]
        parts = convex_parts(problem.graph, parts)
        if any(len(part) > 1 for part in parts):
            coarse = coarsen(problem, placer.rules, assignment, parts)
    if coarse is None:
        coarse = _as_it_is(placer, assignment)
    return _made_ready(
        coarse, placement, ways, block_of, stage_of_block, split_weights=split_weights
    )


def _apart(part: Sequence[int], stages: Sequence[int]) -> list[list[int]]:
    """Return the operators of a part stage by stage."""
    found: dict[int, list[int]] = {}
    for operator, stage in zip(part, stages, strict=True):
        found.setdefault(stage, []).append(operator)
    return list(found.values())


def prepare_assignment(placer: Placer, assignment: Mapping[tuple[int, int], int]) -> Prepared:
    """Return any assignment made ready, operator by operator; each block counts as a stage.

    Raises
    ------
    InfeasibleError
        As ``prepare`` does.
    """
    check_modes(placer.problem, assignment, placer.fragile)
    coarse = _as_it_is(placer, assignment)
    blocks = range(len(placer.blocks))
    return _made_ready(coarse, (), (), placer.blocks.block_of, blocks, split_weights=False)


def _made_ready(
    coarse: Coarse,
    placement: Placement,
    ways: Ways,
    block_of: Sequence[int],
    stage_of_block: Sequence[int],
    *,
    split_weights: bool,
) -> Prepared:
    chunk_of = [stage_of_block[block_of[part[0]]] for part in coarse.members]
    network = build_network(coarse.problem, coarse.rules, coarse.assignment)
    check_capacities(network, coarse.rules)
    shared = profile(network)
    return Prepared(
        placement,
        ways,
        split_weights,
        coarse,
        network,
        ListScheduler(network),
        shared,
        stage_of_block,
        chunk_of,
        *_stages(coarse, network, shared, chunk_of),
    )


def _as_it_is(placer: Placer, assignment: Mapping[tuple[int, int], int]) -> Coarse:
    """Return the problem itself as a coarse one: every operator a part of its own."""
    problem = placer.problem
    return Coarse(
        problem,
        assignment,
        problem,
        placer.rules,
        assignment,
        tuple(tuple(part) for part in single_operators(problem)),
        tuple(range(len(problem.graph.tensors))),
    )


def _stages(
    coarse: Coarse, network: Network, shared: Profile, chunk_of: Sequence[int]
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the ends of each chunk, and those without weight passes."""
    ends: dict[int, list[tuple[int, int]]] = {}
    without: dict[int, list[tuple[int, int]]] = {}
    for operator in range(len(coarse.members)):
        if _runs_in_passes(coarse.problem, operator):
            row = int(shared.heads[network.task_index[operator, 0]]), operator
            ends.setdefault(chunk_of[operator], []).append(row)
            if coarse.problem.graph.operators[operator].kind is not Kind.BACKWARD_WEIGHT:
                without.setdefault(chunk_of[operator], []).append(row)
    chunks = [(ends[c], without.get(c, ends[c])) for c in sorted(ends)]
    return (
        [(min(row)[1], max(row)[1]) for row, _ in chunks],
        [(min(row)[1], max(row)[1]) for _, row in chunks],
    )


def _runs_in_passes(problem: Problem, operator: int) -> bool:
    """Return whether an operator works for each microbatch; without an engine it only waits."""
    modes = problem.graph.operators[operator].modes
    return problem.microbatches_of(operator).start == 0 and any(mode.engines for mode in modes)


def schedule_by_rule(prepared: Prepared, rule: PriorityRule) -> Candidate | None:
    """Return the list schedule of a rule; None if it runs into a deadlock (memory)."""
    shared = prepared.profile
    stages = prepared.turns if rule.until == "backward" else prepared.stages
    arcs = window_arcs(prepared.network, shared, rule, stages)
    urgency = priorities(shared, rule, prepared.chunk_of)
    return _candidate(prepared, urgency, arcs, rule)


def schedule_serially(prepared: Prepared) -> Candidate | None:
    """Return one microbatch after another: little memory, and the last resort of a chain."""
    urgency = priorities(prepared.profile, PriorityRule(slope=0.0), prepared.chunk_of)
    return _candidate(prepared, urgency, serial_arcs(prepared.network))


def schedule_by_recipe(
    prepared: Prepared,
    recipe: Strategy,
    shape: PipelineShape,
    numbering: Sequence[int] = (),
) -> Candidate | None:
    """Return the schedule in which each device runs a recipe's passes, as soon as it can.

    None if the recipe deadlocks or does not fit memory.

    Parameters
    ----------
    numbering
        The problem's number of each of the shape's microbatches. Empty: they are the same.
    """
    orders = recipe_orders(prepared, recipe, shape, numbering)
    return schedule_by_orders(prepared, orders, fused=recipe.fused_backward)


def recipe_orders(
    prepared: Prepared, recipe: Strategy, shape: PipelineShape, numbering: Sequence[int] = ()
) -> Sequence[Order]:
    """Return a recipe's order of each device; see ``schedule_by_recipe``."""
    orders = recipe.timed_orders(shape, stage_times(prepared, shape.stages))
    return [renumbered(order, numbering) for order in orders] if numbering else orders


def schedule_by_orders(
    prepared: Prepared, orders: Sequence[Order], *, fused: bool
) -> Candidate | None:
    """Return the schedule in which each device runs its order as soon as it can; None if it can't.

    Parameters
    ----------
    fused
        As in ``recipe_arcs``.
    """
    arcs = recipe_arcs(prepared, orders, fused=fused)
    return _candidate(prepared, prepared.profile.heads.astype(float), arcs_of(arcs))


def _candidate(
    prepared: Prepared, urgency: Real, arcs: Arcs, rule: PriorityRule | None = None
) -> Candidate | None:
    patient = None if rule is None else waiting_kinds(prepared.profile, rule)
    starts = prepared.scheduler.run(urgency, arcs, patient)
    return None if isinstance(starts, Deadlock) else as_candidate(prepared, starts, rule)


def as_candidate(prepared: Prepared, starts: Whole, rule: PriorityRule | None = None) -> Candidate:
    """Return the candidate of a list schedule; for spans, as late as its last ends allow."""
    if prepared.criterion is Criterion.MAKESPAN:
        return Candidate(prepared, starts, prepared.scheduler.makespan(starts), rule)
    figure, late = latest_starts(prepared, starts)
    return Candidate(prepared, late, figure, rule)


def latest_starts(prepared: Prepared, starts: Whole) -> tuple[int, Whole]:
    """Return the longest span of a device in ticks, and starts with the same orders that have it.

    Where orders cannot say all of a network, the starts are those given.
    """
    from parplan.search.sequences.annealing import Annealer  # compiled code takes long to load

    view = prepared.view
    if view is not None:
        annealer = Annealer(view, Criterion.LONGEST_SPAN)
        figure, late = annealer.times(view.order(starts))
        if figure >= 0:
            return figure, view.starts(late)
    return longest_stage_span_ticks(prepared.network.schedule(starts.tolist())), starts


def stage_times(prepared: Prepared, stages: int) -> StageTimes:
    """Return the ticks that each stage takes for the first microbatch; what is absent takes 0."""
    parts = _passes(prepared)
    index, durations = prepared.network.task_index, prepared.scheduler.tables.durations
    forward, backward, weight = (
        tuple(
            float(sum(durations[index[o, 0]] for o in parts.get((stage, kind), ())))
            for stage in range(stages)
        )
        for kind in PassKind
    )
    return StageTimes(forward, backward, weight)


def recipe_arcs(
    prepared: Prepared, orders: Sequence[Order], *, fused: bool
) -> list[tuple[int, int]]:
    """Return arcs between tasks that follow one another on a device; absent passes are skipped.

    What the passes of a ``Fused`` hand on leaves only when the last of them has ended. Tasks of a
    call run in its order, except where a call of several microbatches uses several engines, as
    DualPipe's pair does at the level of operators: there each starts as soon as its inputs and its
    engine allow, for overlap is what such a call is for.

    Parameters
    ----------
    fused
        What B hands on leaves only when the W of the same microbatch has ended.
    """
    parts = _passes(prepared)
    arcs: list[tuple[int, int]] = []
    for order in orders:
        calls = [
            [task for one in passes_of((item,)) for task in _tasks(prepared, parts, one)]
            for item in order
        ]
        before: Sequence[int] = ()
        for item, call in zip(order, calls, strict=True):
            overlaps = _overlaps(prepared, call)
            first, last = _ends(prepared, call) if overlaps else (call[:1], call[-1:])
            arcs += product(before, first)
            arcs += () if overlaps else pairwise(call)
            if isinstance(item, Fused):
                arcs += _leaving(prepared, call if overlaps else call[:-1], last)
            before = last or before
    if fused:
        for stage, kind in parts:
            if kind is PassKind.B:
                for k in range(prepared.network.problem.workload.microbatches):
                    ends = _tasks(prepared, parts, Pass(PassKind.W, stage, k))
                    starts = _tasks(prepared, parts, Pass(PassKind.B, stage, k))
                    arcs += _leaving(prepared, starts, ends)
    return arcs


def _tasks(
    prepared: Prepared, parts: Mapping[tuple[int, PassKind], Sequence[int]], one: Pass
) -> list[int]:
    index = prepared.network.task_index
    return [index[operator, one.microbatch] for operator in parts.get((one.stage, one.kind), ())]


def _overlaps(prepared: Prepared, call: Sequence[int]) -> bool:
    """Return whether tasks are of several microbatches and hold different engines."""
    network = prepared.network
    if len({network.tasks[task][1] for task in call}) < 2:
        return False
    operators = network.problem.graph.operators
    modes = (
        operators[network.tasks[task][0]].modes[network.alternative(task).mode] for task in call
    )
    return len({mode.engines for mode in modes}) > 1


def _ends(prepared: Prepared, call: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the tasks of a call that wait for no other one of it, and those none waits for."""
    inside = set(call)
    after = {
        task: [later for later, _ in prepared.network.successors[task] if later in inside]
        for task in call
    }
    waiting = {later for row in after.values() for later in row}
    return [t for t in call if t not in waiting], [t for t in call if not after[t]]


def _passes(prepared: Prepared) -> dict[tuple[int, PassKind], list[int]]:
    """Coarse operators of each (stage, kind of pass), in the order they can run."""
    kinds = {"forward": PassKind.F, "backward": PassKind.B, "weight": PassKind.W}
    problem = prepared.coarse.problem
    parts: dict[tuple[int, PassKind], list[int]] = {}
    for operator, chunk in enumerate(prepared.chunk_of):
        if _runs_in_passes(problem, operator):
            kind = CLASSES.get(problem.graph.operators[operator].kind, "forward")
            parts.setdefault((chunk, kinds[kind]), []).append(operator)
    index, heads = prepared.network.task_index, prepared.profile.heads
    for row in parts.values():
        row.sort(key=lambda o: heads[index[o, 0]])
    return parts


def pass_tasks(prepared: Prepared) -> dict[tuple[int, PassKind], list[list[int]]]:
    """Return the tasks of each (stage, kind of pass), microbatch by microbatch."""
    index, workload = prepared.network.task_index, prepared.network.problem.workload
    return {
        key: [[index[operator, k] for operator in row] for k in range(workload.microbatches)]
        for key, row in _passes(prepared).items()
    }


def _leaving(
    prepared: Prepared, before: Sequence[int], last: Sequence[int]
) -> list[tuple[int, int]]:
    """Arcs from the last tasks of a call to whatever takes the results of those before elsewhere.

    Elsewhere is a transfer, or another stage.
    """
    network = prepared.network
    count = len(network.tasks)
    inside = {*before, *last}
    targets = [
        after
        for task in before
        for after, _ in network.successors[task]
        if after >= count
        or (after not in inside and _stage(prepared, after) != _stage(prepared, task))
    ]
    return [(end, after) for end in last for after in targets]


def _stage(prepared: Prepared, task: int) -> int:
    return prepared.chunk_of[prepared.network.tasks[task][0]]


@frozen(eq=False)
class Finisher:
    """Turns candidates into schedules of the fine problem."""

    placer: Placer

    def expand(self, candidate: Candidate) -> Schedule:
        """Return the fine schedule with every task at its time inside its merged task."""
        fine, starts = self._starts(candidate)
        return fine.network.schedule(starts)

    def finish(self, candidate: Candidate) -> Schedule:
        """Return the fine schedule, tightened with the same orders where that helps.

        What a search for short spans has delayed stays as it is.
        """
        fine, starts = self._starts(candidate)
        if candidate.prepared.criterion is Criterion.MAKESPAN:
            starts = tightened(fine, starts)
        return fine.network.schedule(starts)

    def _starts(self, candidate: Candidate) -> tuple[ListScheduler, list[int]]:
        prepared = candidate.prepared
        coarse = prepared.coarse
        if coarse.problem is coarse.fine and coarse.rules is self.placer.rules:
            return prepared.scheduler, candidate.starts.tolist()
        fine = build_network(coarse.fine, self.placer.rules, coarse.fine_assignment)
        given = candidate.starts.tolist()
        tasks = coarse.expand(prepared.network, given)
        moves = coarse.expand_transfers(prepared.network, given)
        starts = [tasks[key] for key in fine.tasks]
        starts += [moves[t, m, target] for t, m, _, target in fine.transfers]
        return ListScheduler(fine), starts


def tighten(network: Network, starts: list[int]) -> list[int]:
    """Return starts no later than these, with the same order of tasks on each unit resource.

    The starts given come back where starting early would not fit memory.
    """
    return tightened(ListScheduler(network), starts)


def tightened(scheduler: ListScheduler, starts: list[int]) -> list[int]:
    """Return what ``tighten`` does, for a network whose tables are there already."""
    network = scheduler.network
    arcs: list[tuple[int, int]] = []
    rows: dict[int, list[int]] = {}
    for task in range(len(network.tasks)):
        for r, _ in network.amounts[task]:
            if network.capacities[r] == 1:
                rows.setdefault(r, []).append(task)
    for row in rows.values():
        row.sort(key=lambda i: (starts[i], i))
        arcs += pairwise(row)
    found = scheduler.run(np.asarray(starts, dtype=float), arcs_of(arcs))
    if not isinstance(found, Deadlock) and scheduler.makespan(found) <= scheduler.makespan(starts):
        return [int(start) for start in found]
    return starts
