"""The steps of a search: each brings candidates or bounds until an instant, and can be left out."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from typing import Any

from parplan import clock
from parplan.contracts import Solver
from parplan.errors import InfeasibleError, SolverError
from parplan.portfolio import knows_intervals, racers_of
from parplan.schedule import Schedule
from parplan.scheduling.network import build_network
from parplan.search.assigning.loop import can_assign, search_assignments
from parplan.search.bounds import machine_bounds
from parplan.search.coarsening.candidates import can_be_coarsened, candidate_by_levels
from parplan.search.decisions import Narrowing, assignments_to_decide, can_decide
from parplan.search.exact import intervals, solver_for
from parplan.search.given import given_candidate
from parplan.search.graphs.from_problem import can_be_placed
from parplan.search.graphs.schedules import graph_candidates
from parplan.search.hand_made.baselines import Baseline, baseline_row, is_pipeline, recipes_of
from parplan.search.hand_made.pinned_recipes import recipe_candidates
from parplan.search.improving.crew import searched_by_sequences
from parplan.search.improving.filling import with_weights_filled
from parplan.search.improving.heuristics import first_candidates, gang_candidates
from parplan.search.improving.improvement import under_rules
from parplan.search.improving.islands import can_relink, searched_by_relinking
from parplan.search.improving.robust import improved_by_scenarios, nearly_shortest
from parplan.search.improving.team import improved_by_team
from parplan.search.neighbourhoods.search import ELITE, can_redo_parts, search_neighbourhoods
from parplan.search.objective_bounds import is_makespan
from parplan.search.partitioning.candidates import candidates_of_lines
from parplan.search.placing.economy import economies
from parplan.search.placing.evaluation import Candidate, Finisher, Prepared, prepare
from parplan.search.placing.placement import Placer
from parplan.search.run import Run
from parplan.search.walks.course import can_walk
from parplan.search.walks.searching import searched_by_walks
from parplan.simulation.criterion import ScenarioCriterion

GIVEN = "given schedule"
"""What the schedule that a search is given goes by."""

FILLED_ACTIVITIES = 30_000
"""Largest network, in activities, whose weight passes are put anew."""


SPLIT_BLOCKS = 300
"""Blocks of a graph that is no pipeline up to which it is split like a chain, too."""

MOST_IN_LINE = 2_000
"""Blocks of the largest graph that is put in a line and cut."""

STATED_PER_SECOND = 4_000
"""Intervals of a problem for which an upper model states its rows in a second, about; it is made
where that leaves half of the time to solve it."""

STAGES_OF_V = 2
"""Stages that each device has in a V."""

WALKED_TASKS = 5_000
"""Tasks of a pipeline above which walks take the place of list schedules by rules."""

WALKED_MICROBATCHES = 64
"""Most microbatches of them: each pass of a walk looks at all that are under way."""

WALKED = 4
"""Placements that walks start from beside their own."""

FINISHING = 1.1
"""How many times the best figure one may be before it is finished, and still become the best."""


def schedule_as_graph(run: Run, until: float) -> None:
    """Find schedules by heuristics for graphs of any shape, where blocks run on single devices."""
    if not can_be_placed(run.placer):
        return
    heuristics = run.registry.heuristics.values()
    target = run.target() if is_makespan(run.problem) else 0
    found = graph_candidates(run.placer, run.lists, heuristics, until, run.options.seed, target)
    for name, candidate in found:
        run.take(candidate, name)


def start_from(run: Run, schedule: Schedule) -> None:
    """Take a schedule that is given, as it is and as early as its orders allow."""
    run.incumbent.offer(schedule, GIVEN)
    try:
        candidate = given_candidate(run.placer, schedule)
    except InfeasibleError as error:
        run.incumbent.fail(GIVEN, str(error))
    else:
        run.take(candidate, GIVEN)


def place_by_levels(run: Run, until: float) -> None:
    """Find a schedule by placing the parts of a coarse graph, refined from level to level."""
    placer = run.placer
    if not run.is_open or placer.is_fixed or not can_be_placed(placer):
        return
    if not can_be_coarsened(placer, until - clock.now()):
        return
    run.incumbent.tell("levels")
    limit = min((candidate.makespan for candidate in run.candidates), default=math.inf)
    found = candidate_by_levels(placer, run.lists, limit, until, run.options.seed)
    if found is not None:
        run.incumbent.accounts["coarsening"] = found.figures.in_seconds(run.problem.tick_s)
    if found is not None and found.candidate is not None:
        run.take(found.candidate, "levels")


def cut_lines(run: Run, until: float) -> None:
    """Find schedules in which each device runs one stretch of the graph, where blocks are few."""
    placer = run.placer
    if not run.is_open or placer.is_fixed or len(placer.blocks) > MOST_IN_LINE:
        return
    run.incumbent.tell("lines")
    for candidate in candidates_of_lines(placer, until, run.options.seed):
        run.take(candidate, "lines")


def find_first_schedules(run: Run, until: float, last: float) -> None:
    """Find schedules by rules, placement after placement; at ``last`` even if there is none."""
    if run.candidates and len(run.placer.blocks) > SPLIT_BLOCKS:
        return
    decided = run.rules.objectives[0].follows is not None and len(run.rules.objectives) == 1
    for name, candidate in first_candidates(
        run.placer, until, run.target() if decided else 0, last
    ):
        run.candidates.append(candidate)
        if candidate.figure == min(c.figure for c in run.candidates):
            run.incumbent.offer(Finisher(run.placer).finish(candidate), name)


def find_stages_on_groups(run: Run, until: float) -> None:
    """Find schedules of stages on groups of devices, where operators can run on several at once."""
    for name, candidate in gang_candidates(run.placer, until):
        run.incumbent.offer(Finisher(run.placer).finish(candidate), name)


def find_recipes_as_pinned(run: Run, until: float) -> None:
    """Find schedules by recipes made for such pins, where every block is pinned to a device."""
    if not (run.is_open and run.placer.is_fixed and run.candidates and is_pipeline(run.placer)):
        return
    recipes = recipes_of(run.registry)
    made = [
        found
        for prepared in _as_pinned(run, until)
        for found in recipe_candidates(run.placer, prepared, recipes, until)
    ]
    for name, candidate in sorted(made, key=lambda found: found[1].figure):
        if not run.is_open:
            return
        # A recipe's calls may hand on late; finished, they are shorter than their figure.
        run.take(candidate, f"{name} as pinned")


def _as_pinned(run: Run, until: float) -> Iterator[Prepared]:
    """Yield the only placement in the ways of its first schedule, then in others until an instant.

    Ways in which rules end earlier need not be those in which recipes do.
    """
    placer, first = run.placer, run.candidates[0].prepared
    yield from _with_stages_apart(placer, first)
    for ways in economies(placer, first.placement):
        if clock.now() > until:
            return
        if ways != first.ways:
            with contextlib.suppress(InfeasibleError):
                yield from _with_stages_apart(placer, prepare(placer, first.placement, ways))


def _with_stages_apart(placer: Placer, prepared: Prepared) -> Iterator[Prepared]:
    """Yield a placement as it is, and with a stage per block where blocks of one device met.

    The two stages in which a V turns are on one device, and follow one another.
    """
    yield prepared
    blocks = len(placer.blocks)
    if len(set(prepared.stage_of_block)) < blocks == STAGES_OF_V * len(set(prepared.placement[0])):
        stages = tuple(range(blocks))
        yield prepare(placer, prepared.placement, prepared.ways, stage_of_block=stages)


def stand_beside(
    run: Run, made: Iterable[Baseline], until: float, rows: dict[tuple[str, str], dict[str, Any]]
) -> None:
    """Take hand-made schedules; a row of figures of each goes to ``rows`` by its title."""
    bound = run.incumbent.bound
    comparable = is_makespan(run.problem)
    for baseline in made:
        if clock.now() > until:
            return
        value = bound.value if bound is not None and comparable else None
        as_made = baseline.expand()
        own = not baseline.is_variant
        if baseline.candidate is not None and as_made is not None and own:
            found_by = f"{baseline.name} on the {baseline.split} split"
            if _may_be_best(run, baseline.candidate):
                run.take(baseline.candidate, found_by)
                # What is earlier may be worse by other objectives.
                run.incumbent.offer(as_made, found_by)
            else:
                run.candidates.append(baseline.candidate)
        row = baseline_row(baseline, as_made, value if own else None)
        rows[row["name"], row["split"]] = row


def _may_be_best(run: Run, candidate: Candidate) -> bool:
    """Return whether a candidate may be the best once it is finished: that costs a network."""
    if run.rules.objectives[0].follows is None or run.incumbent.schedule is None:
        return True
    return candidate.figure <= FINISHING * min((c.figure for c in run.candidates), default=0)


def fill_weight_passes(run: Run, until: float) -> None:
    """Put the weight passes of the best candidates anew."""
    few = tuple(c for c in run.candidates if len(c.prepared.network) <= FILLED_ACTIVITIES)
    for candidate in with_weights_filled(few, until, run.target()):
        run.take(candidate, "weight passes")


def raise_bound(run: Run, until: float) -> None:
    """Raise the bound of the problem by exact machines."""
    known, incumbent = run.incumbent.bound, run.incumbent
    target = None if incumbent.schedule is None else incumbent.values[0]
    if known is not None and is_makespan(run.problem):
        for bound in machine_bounds(run.problem, run.rules, None, known.value, target, until):
            incumbent.add_bounds([bound])


def decide_makespans(run: Run, until: float) -> None:
    """Decide makespans between the bound and the best schedule of a problem's only placement."""
    if not (can_decide_makespans(run) and run.candidates and run.is_open):
        return
    options, assignments = run.options, assignments_to_decide(run.placer, run.candidates)

    def work(crew: Executor | None) -> None:
        for number, assignment in enumerate(assignments):
            if not run.is_open:
                return
            now = clock.now()
            end = now + (until - now) / (len(assignments) - number)
            network = build_network(run.problem, run.rules, assignment)
            own = assignment if number else None
            Narrowing(network, run.rules, run.incumbent, options.gap, options.workers, own).run(
                crew, end
            )

    run.with_workers("decided makespans", work)


def can_decide_makespans(run: Run) -> bool:
    """Return whether makespans are decided: there is one placement, and size and objective fit."""
    return run.placer.is_fixed and can_decide(run.problem)


def assign_by_model(run: Run, until: float) -> None:
    """Let an upper model assign and the lower level time it, where its size allows.

    The first solver that runs here does so; in another's place, it goes on from what that one left.
    """
    if run.incumbent.schedule is None or not is_makespan(run.problem):
        return
    seconds = intervals(run.problem, run.rules) / STATED_PER_SECOND
    if not can_assign(run.rules) or seconds > (until - clock.now()) / 2:
        return
    for solver in _assigning_solvers(run):
        run.incumbent.tell("assignment")
        try:
            search_assignments(run.placer, solver, run.options, run.incumbent, until)
        except SolverError as error:
            run.incumbent.fail(solver.name, str(error))
        else:
            return


def _assigning_solvers(run: Run) -> list[Solver]:
    """Return who may assign, one in the place of another: the MIP solvers first of those that race.

    Its models are many, small and soon solved: a race would start all of them each time.
    """
    solver = solver_for(run.registry, run.options)
    return [] if solver is None else sorted(racers_of(solver), key=knows_intervals)


def gains_by_assigning_first(run: Run) -> bool:
    """Return whether to assign by a model before the whole problem is solved.

    MIP solvers gain by it, and so do races that one is in: one model of assignment and orders
    together has binaries for each pair of tasks on each device. CP-SAT does as well with the whole.
    """
    mip = any(not knows_intervals(solver) for solver in _assigning_solvers(run))
    return mip and not is_pipeline(run.placer)


def is_raced(run: Run) -> bool:
    """Return whether a solver that knows intervals is among those that race."""
    return any(knows_intervals(solver) for solver in _assigning_solvers(run))


def search_placements(run: Run, until: float) -> None:
    """Search placements and rules near the best candidates."""
    if run.placer.is_fixed or clock.now() >= until:
        return
    for ruled in under_rules(run.placer, run.candidates, until):
        run.take(ruled, "rules on a hand-made placement")
    options = run.options

    def work(crew: Executor | None) -> None:
        starts = [c for c in run.candidates if c.rule is not None] or list(run.candidates)
        for candidate in improved_by_team(
            run.placer, starts, crew, options.workers, until, options.seed, run.target()
        ):
            run.take(candidate, "local search")

    run.with_workers("local search", work)


def can_search_walks(run: Run) -> bool:
    """Return whether walks are searched: devices differ, and list schedules by rules take long."""
    problem = run.problem
    unequal = len({device.kind for device in problem.cluster.devices}) > 1
    few = problem.workload.microbatches <= WALKED_MICROBATCHES
    return problem.task_count > WALKED_TASKS and unequal and few and can_walk(run.placer)


def search_walks(run: Run, until: float) -> None:
    """Search the devices of a chain's blocks, timed as whole pipelines."""
    if clock.now() >= until:
        return
    ranked = [c.prepared.placement for c in sorted(run.candidates, key=_figure)]
    placements = [row for (row,) in dict.fromkeys(p for p in ranked if p)][:WALKED]
    options = run.options

    def work(crew: Executor | None) -> None:
        for candidate in searched_by_walks(
            run.placer, placements, crew, options.workers, until, options.seed, run.target()
        ):
            run.take(candidate, "walks")

    run.with_workers("walks", work)


def redo_parts(run: Run, until: float) -> None:
    """Free parts of the best schedule and let a solver do them again, where its size allows."""
    solver = solver_for(run.registry, run.options)
    schedule = run.incumbent.schedule
    if solver is None or schedule is None or not can_redo_parts(run.rules, solver, schedule):
        return
    run.incumbent.tell("neighbourhoods")
    finisher = Finisher(run.placer)
    others = [finisher.finish(c) for c in sorted(run.candidates, key=_figure)[:ELITE]]
    search_neighbourhoods(
        run.rules, run.registry.neighbourhoods, solver, run.options, run.incumbent, others, until
    )
    better = run.incumbent.schedule
    if better is not None and better is not schedule:
        run.candidates.append(given_candidate(run.placer, better))


def search_sequences(run: Run, until: float) -> None:
    """Search the sequences of the best candidates' placements."""
    if clock.now() >= until:
        return
    options = run.options
    best = min(run.candidates, key=lambda candidate: candidate.figure)
    searched = searched_by_relinking if can_relink(best) else searched_by_sequences

    def work(crew: Executor | None) -> None:
        for candidate in searched(
            run.placer, run.candidates, crew, options.workers, until, options.seed, run.target()
        ):
            run.take(candidate, "sequence search")

    run.with_workers("sequence search", work)


def bend(run: Run, criterion: ScenarioCriterion, until: float) -> None:
    """Compare all good candidates by the objective, and change the orders of the best by it."""
    run.incumbent.tell("scenario search")
    finisher = Finisher(run.placer)
    ranked: list[tuple[float, Candidate]] = []
    for candidate in nearly_shortest(run.candidates):
        schedule = finisher.finish(candidate)
        run.incumbent.offer(schedule, "comparison by scenarios")
        ranked.append((criterion.value(schedule, run.rules), candidate))
        if clock.now() > until:
            break
    best = [c for _, c in sorted(ranked, key=lambda row: row[0])]
    for candidate in improved_by_scenarios(run.placer, best, criterion, until, run.options.seed):
        run.incumbent.offer(finisher.finish(candidate), "scenario search")


def _figure(candidate: Candidate) -> int:
    return candidate.figure
