"""Search on sequences by several workers: trials of all starts, then rounds on the best of them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor

import attrs
from attrs import frozen

from parplan import clock
from parplan.scheduling.list_scheduler import Arcs, Deadlock
from parplan.scheduling.priorities import PriorityRule, priorities, waiting_kinds
from parplan.scheduling.tables import Whole
from parplan.search.improving.improvement import EAGER, deepest_first
from parplan.search.improving.rounds import improved
from parplan.search.improving.shares import share_windows
from parplan.search.placing.evaluation import Candidate, Prepared, as_candidate, prepare
from parplan.search.placing.placement import Placement, Placer
from parplan.search.placing.ways import Ways
from parplan.search.sequences.annealing import Annealer

MOST_ACTIVITIES = 20_000
"""Largest network, in activities, that is searched by sequences."""

PLACEMENTS = 3
"""Placements whose sequences are searched."""

CREW = 4
"""Sequences that are kept from round to round."""

ALIKE = 2
"""How many of them may come from the same start."""

ROUND_S = 2.0
"""Seconds of a round, for up to 500 activities; more in proportion."""

FIRST_S = 0.05
"""Seconds of search before the first round, where workers are to be forked."""

HEATS = (1.0, 0.4, 0.15)
"""Heats of rounds, drawn at random: hot ones leave where they start, cold ones refine it."""

PATIENT = (frozenset[str](), frozenset({"weight"}), frozenset({"forward", "weight"}))
"""Kinds that are patient, in turn, under each rule and share."""

RULES = (
    *deepest_first(),
    PriorityRule(0.0, {"backward": -EAGER, "weight": EAGER}),
    PriorityRule(0.0, {"weight": EAGER}),
    PriorityRule(0.25, {"backward": -3.0, "weight": EAGER}),
    PriorityRule(1.0, {"backward": -1.0, "weight": 2.0}),
    PriorityRule(0.0, {"backward": -EAGER}),
    PriorityRule(0.0, {"backward": -EAGER, "weight": -EAGER}),
)
"""Rules under which shares of memory are tried."""


@frozen(eq=False)
class Sequenced:
    """A schedule of a placement whose sequences are searched: enough to go on in any process.

    Attributes
    ----------
    ways
        The way of each of the placer's coupled operators.
    stages
        Stage of each block: operators of one stage may be merged.
    starts
        Of each activity of the placement's network, in ticks.
    origin
        Number of the starting sequence that it comes from.
    """

    placement: Placement
    ways: Ways
    split_weights: bool
    stages: tuple[int, ...]
    starts: Whole
    figure: int
    origin: int = 0


def searched_by_sequences(
    placer: Placer,
    candidates: Sequence[Candidate],
    executor: Executor | None,
    workers: int,
    deadline: float,
    seed: int,
    target: int,
) -> Iterator[Candidate]:
    """Yield better and better candidates until the deadline, or until one meets ``target``.

    Parameters
    ----------
    candidates
        Their placements are searched, those of the shortest first.
    executor
        Where the runs go; None runs them here, one after the other.
    workers
        Runs at the same time.
    """
    crew: list[Sequenced] = []
    for candidate in starting_sequences(placer, candidates):
        if executor is not None and not crew:
            _run_for_a_moment(candidate)
        crew.append(sequenced(candidate, origin=len(crew)))
        if candidate.figure < min(c.figure for c in candidates):
            yield candidate
    crew.sort(key=lambda s: s.figure)
    best = min((s.figure for s in crew), default=0)
    waiting, turn = list(crew), 0
    while crew and best > target and (left := deadline - clock.now()) > 0.05:
        chosen = waiting[:workers] or [crew[(turn + t) % len(crew)] for t in range(workers)]
        waiting = waiting[workers:]
        share = left if executor is not None else left / len(chosen)
        size = max(1.0, max(len(s.starts) for s in chosen) / 500)
        seconds = min(ROUND_S * size, share)
        found = improved(improve, placer, chosen, executor, seconds, seed + turn, target)
        turn += len(chosen)
        crew = different([*crew, *found, *waiting])
        if crew[0].figure < best:
            best = crew[0].figure
            yield candidate_of(placer, crew[0])


def _run_for_a_moment(candidate: Candidate) -> None:
    """Anneal the sequences of a candidate, so that workers forked later find the code compiled."""
    prepared = candidate.prepared
    if prepared.view is not None:
        annealer = Annealer(prepared.view, prepared.criterion)
        annealer.run(prepared.view.order(candidate.starts), FIRST_S, 0)


def different(sequences: Iterable[Sequenced]) -> list[Sequenced]:
    """Return a crew: the best of all, of which not too many come from the same start.

    Two of the same start and the same figure count as one.
    """
    best = sorted(sequences, key=lambda s: s.figure)
    distinct = {(s.origin, s.figure): s for s in best}
    found: list[Sequenced] = []
    alike: Counter[int] = Counter()
    for sequence in distinct.values():
        if alike[sequence.origin] < ALIKE and len(found) < CREW:
            alike[sequence.origin] += 1
            found.append(sequence)
    return found


def starting_sequences(placer: Placer, candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    """Yield the best candidates of a few placements, and the best under shares of each.

    Schedules that differ in what is patient differ much: of the best placement, the best of each
    are starts, whichever is shorter.

    A placement counts anew with other ways, and with other stages: where two stages that follow
    one another share a device, they are one in list schedules and may be two in hand-made ones.
    """
    seen: set[object] = set()
    for candidate in sorted(candidates, key=lambda c: c.figure):
        prepared = candidate.prepared
        choice = (prepared.placement, prepared.ways, (*prepared.stage_of_block,))
        if choice in seen or not prepared.placement or len(prepared.network) > MOST_ACTIVITIES:
            continue
        if len(seen) == PLACEMENTS:
            return
        seen.add(choice)
        yield candidate
        yield from schedules_by_shares(prepared)[: None if len(seen) == 1 else 1]


def schedules_by_shares(prepared: Prepared) -> list[Candidate]:
    """Return schedules in which every chain keeps to a share of the memory, the shortest first.

    They are the shortest for each choice of what is patient.
    """
    windows = list(share_windows(prepared))
    found = [_by_shares(prepared, windows, kinds) for kinds in PATIENT]
    return sorted((c for c in found if c is not None), key=lambda c: c.figure)


def _by_shares(
    prepared: Prepared, windows: Iterable[Arcs], patient: frozenset[str]
) -> Candidate | None:
    """Return the shortest schedule under any of some windows, with some kinds patient."""
    found: list[Candidate] = []
    for rule in (attrs.evolve(rule, patient=patient) for rule in RULES):
        urgency = priorities(prepared.profile, rule, prepared.chunk_of)
        waits = waiting_kinds(prepared.profile, rule)
        for arcs in windows:
            starts = prepared.scheduler.run(urgency, arcs, waits)
            if not isinstance(starts, Deadlock):
                found.append(as_candidate(prepared, starts))
    return min(found, key=lambda c: c.figure, default=None)


def improve(
    placer: Placer, sequence: Sequenced, seconds: float, seed: int, target: int
) -> Sequenced:
    """Return a schedule at least as good, after so many seconds; runs in any process."""
    begun = clock.now()
    prepared = prepared_of(placer, sequence)
    view = prepared.view
    if view is None:
        return sequence
    annealer = Annealer(view, prepared.criterion)
    left = seconds - (clock.now() - begun)
    heat = random.Random(seed).choice(HEATS)
    found = annealer.run(view.order(sequence.starts), left, seed, target, heat)
    if not 0 <= found.figure < sequence.figure:
        return sequence
    starts = view.starts(annealer.times(found.order)[1])
    return attrs.evolve(sequence, starts=starts, figure=found.figure)


def sequenced(candidate: Candidate, origin: int = 0) -> Sequenced:
    """Return what a candidate of a placement is to the workers."""
    prepared = candidate.prepared
    return Sequenced(
        prepared.placement,
        prepared.ways,
        prepared.split_weights,
        (*prepared.stage_of_block,),
        candidate.starts,
        candidate.figure,
        origin,
    )


def candidate_of(placer: Placer, sequence: Sequenced) -> Candidate:
    """Return the candidate that a sequence stands for."""
    return Candidate(prepared_of(placer, sequence), sequence.starts, sequence.figure)


def prepared_of(placer: Placer, sequence: Sequenced) -> Prepared:
    """Return the placement of a sequence, made ready."""
    return prepare(
        placer,
        sequence.placement,
        sequence.ways,
        split_weights=sequence.split_weights,
        stage_of_block=sequence.stages,
    )
