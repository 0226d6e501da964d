"""Recipes on their best splits: all by sums over blocks, the promising ones scheduled and refined.

Scheduling a split costs some hundred times what judging it by sums does, and the sums come close;
so they choose the cuts, and the schedule of what they chose tells what it is worth.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import attrs
from attrs import frozen

from parplan import clock
from parplan.search.hand_made.recipes import (
    FittedRecipe,
    RecipeSchedule,
    Stages,
    balanced,
    near,
    schedule,
    uniform,
)
from parplan.search.hand_made.stages.balancing import Estimate, Line, estimated_splits
from parplan.search.hand_made.stages.figures import BlockFigures
from parplan.search.improving.improvement import anneal

ROOMS = (1.0, 0.97, 0.93, 0.85)
"""Parts of the usable memory that sums over blocks may fill, until the schedule fits as well."""

SURELY = 0.5
"""Missing memory, in parts of a device's, with which no schedule is tried: sums count at most a
group of parameters twice, if blocks of one stage share it."""

CLOSE = 0.01
"""Relative distance of an estimate from the schedule up to which sums over blocks tell enough."""

FIRST_EFFORT = 4
"""How many times the usual steps of annealing the first round of refinement takes."""

MOST_ANNEALED = 3
"""How many of the best are annealed by their schedules where sums over blocks were off."""

NO_MEMORY = "does not fit memory"


@frozen(eq=False)
class Trial:
    """A recipe with a shape, on the best split known so far.

    Attributes
    ----------
    blocks
        Sums over the blocks of the problem that the recipe runs.
    orders
        Orders of devices to choose from.
    estimate
        None where sums over blocks cannot tell.
    order, made
        Order of devices and schedule, or why there is none; empty before it was tried.
    """

    job: FittedRecipe
    blocks: BlockFigures
    orders: Sequence[tuple[int, ...]]
    estimate: Estimate | None = None
    order: tuple[int, ...] = ()
    made: RecipeSchedule | str = ""

    @property
    def has_choice(self) -> bool:
        """Whether there is more than one split, or order of devices."""
        return len(self.job.placer.blocks) > self.job.shape.stages or len(self.orders) > 1

    @property
    def stages(self) -> Stages:
        """The split of the schedule; empty without one."""
        if isinstance(self.made, str):
            return ()
        return tuple(self.made.candidate.prepared.stage_of_block)

    @property
    def rank(self) -> tuple[bool, float]:
        """A key by which better trials come first, and variants of the problem last.

        The figure of the schedule if there is one, else that of the estimate.
        """
        ticks = float("inf")
        if isinstance(self.made, RecipeSchedule):
            ticks = self.made.figure
        elif self.estimate is not None:
            ticks = self.estimate.cost
        return bool(self.job.note), ticks * self.job.placer.problem.tick_s

    def or_better(self, order: tuple[int, ...], made: RecipeSchedule) -> Trial:
        """Return this trial, or one with another schedule if that is better."""
        other = attrs.evolve(self, order=order, made=made)
        return other if isinstance(self.made, str) or other.rank < self.rank else self

    @property
    def is_close(self) -> bool:
        """Whether sums over blocks and the schedule tell about the same."""
        if self.estimate is None or isinstance(self.made, str):
            return False
        return abs(self.estimate.ticks - self.made.figure) <= CLOSE * self.made.figure


def estimated(trial: Trial, seed: int) -> Trial:
    """Return a trial with its best split by sums over blocks, if there is any choice."""
    if not trial.has_choice:
        return trial
    try:
        found = estimated_splits(trial.job, trial.blocks, trial.orders, seed)
    except Exception:  # noqa: BLE001  # somebody's code: its schedule says later what it did
        return trial
    return attrs.evolve(trial, estimate=found[0]) if found else trial


def scheduled(trial: Trial, seed: int) -> Trial:
    """Return a trial with the schedule of its estimated split, or of one that leaves more room."""
    if trial.estimate is None:
        return _by_loads(trial)
    estimate = trial.estimate
    note = NO_MEMORY
    for room in ROOMS:
        if room < 1.0:
            found = estimated_splits(trial.job, trial.blocks, trial.orders, seed, room)
            estimate = found[0] if found else estimate
        if estimate.missing > SURELY:
            break
        made = tried(trial.job, estimate.order, estimate.stages)
        if isinstance(made, RecipeSchedule):
            return attrs.evolve(trial, estimate=estimate, order=estimate.order, made=made)
        note = made
        if made != NO_MEMORY:
            break
    return attrs.evolve(trial, made=note)


def _by_loads(trial: Trial) -> Trial:
    """Return a trial with the schedule of the split that balances loads."""
    order = trial.orders[0]
    made: RecipeSchedule | str = "no contiguous split fits the devices"
    stages = balanced(trial.job, order)
    if stages is not None:
        made = tried(trial.job, order, stages)
    return attrs.evolve(trial, order=order, made=made)


def on_uniform_split(trial: Trial) -> RecipeSchedule | str:
    """Return the schedule on as many blocks in each stage, or why there is none."""
    order, stages = trial.orders[0], uniform(trial.job)
    if isinstance(trial.made, RecipeSchedule) and (trial.order, trial.stages) == (order, stages):
        return trial.made
    if trial.estimate is not None:
        found = Line(trial.job, trial.blocks, order).estimate(stages)
        if found is not None and found.missing > SURELY:
            return NO_MEMORY
    return tried(trial.job, order, stages)


def tried(job: FittedRecipe, order: Sequence[int], stages: Stages) -> RecipeSchedule | str:
    """Return the recipe's schedule on a split, or why there is none."""
    try:
        return schedule(job, order, stages)
    except Exception as error:  # noqa: BLE001  # somebody's code: its row says what it did
        return raised(error)


def raised(error: Exception) -> str:
    """Return what a row says of code that raised something."""
    return f"raised {type(error).__name__}: {error}"


def refined(trials: Sequence[Trial], deadline: float, seed: int) -> Iterator[Trial]:
    """Yield trials that became better: the best half is refined, of these the best half, and so on.

    Each round has twice the effort of the one before (successive halving, Jamieson and Talwalkar,
    AISTATS 2016). At the end cuts are annealed by schedules where sums over blocks were off.
    """
    ranked = sorted((t for t in trials if isinstance(t.made, RecipeSchedule)), key=_rank)
    count, effort = len(ranked) // 2, FIRST_EFFORT
    while count:
        for number, trial in enumerate(ranked[:count]):
            if clock.now() > deadline:
                return
            better = _by_sums(trial, seed + effort, effort)
            if better.rank < trial.rank:
                ranked[number] = better
                yield better
        ranked.sort(key=_rank)
        count, effort = count // 2, 2 * effort
    off = [trial for trial in ranked[:MOST_ANNEALED] if not trial.is_close]
    for number, trial in enumerate(off):
        now = clock.now()
        until = now + max(deadline - now, 0.0) / (len(off) - number)
        better = _by_schedules(trial, until, seed)
        if better.rank < trial.rank:
            yield better


def _rank(trial: Trial) -> tuple[bool, float]:
    return trial.rank


def _by_sums(trial: Trial, seed: int, effort: int) -> Trial:
    """Return a trial after so much more annealing by sums: from where it is, and from anew.

    With more effort another order of devices may turn out to be the better one.
    """
    if trial.estimate is None:
        return trial
    line = Line(trial.job, trial.blocks, trial.estimate.order)
    anew = estimated_splits(trial.job, trial.blocks, trial.orders, seed, effort=effort)
    found = min([line.improved(trial.estimate, seed, effort), *anew], key=lambda one: one.cost)
    if found.cost >= trial.estimate.cost:
        return trial
    made = tried(trial.job, found.order, found.stages)
    return attrs.evolve(trial, estimate=found, order=found.order, made=made)


def _by_schedules(trial: Trial, deadline: float, seed: int) -> Trial:
    """Return a trial whose cuts were annealed by its schedules."""
    assert isinstance(trial.made, RecipeSchedule)  # what ``refined`` chose

    def step(current: RecipeSchedule, random_: random.Random) -> RecipeSchedule | None:
        stages = near(tuple(current.candidate.prepared.stage_of_block), random_)
        found = None if stages is None else tried(trial.job, trial.order, stages)
        return None if isinstance(found, str) else found

    return attrs.evolve(trial, made=anneal(trial.made, step, deadline, seed))
