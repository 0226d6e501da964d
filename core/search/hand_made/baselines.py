"""The hand-made schedules beside the plan: uniform and best contiguous splits, same rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
from attrs import frozen

from parplan import clock
from parplan.contracts import Strategy
from parplan.errors import InputError
from parplan.figures.usage import summary
from parplan.graph import Kind
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import guarded, overrides
from parplan.schedule import Schedule
from parplan.search.hand_made.recipes import FittedRecipe, RecipeSchedule, fit
from parplan.search.hand_made.stages.figures import BlockFigures, block_figures
from parplan.search.hand_made.trials import (
    Trial,
    estimated,
    on_uniform_split,
    raised,
    refined,
    scheduled,
)
from parplan.search.placing.evaluation import Candidate, Finisher
from parplan.search.placing.placement import Placer
from parplan.search.placing.splits import device_orders

MOST_CHUNKS = 4
"""Most stages per device that hand-made schedules are tried with."""

ESTIMATE_SHARE = 0.5
"""Part of the time in which splits are judged by sums over blocks; the rest is for schedules."""

UNIFORM, BEST = "uniform", "best"
"""Names of splits."""

FEW_TASKS = 1000
"""Schedules of so few tasks are made even where time is up: they take some milliseconds each."""

NO_TIME = "no time was left for it"
NO_DEVICE_ALONE = "its stages are of one device each, and no device runs all of an operator alone"


@frozen(eq=False)
class Baseline:
    """One hand-made schedule: which recipe on which split, and what came of it.

    Attributes
    ----------
    candidate
        None where the recipe does not fit; ``note`` says why.
    note
        Else how the problem it runs differs from the one asked for, e.g. two copies of parameters.
    placer
        Of the problem that the candidate solves.
    flushes
        Whether the schedule ends before the next step begins.
    savings
        How it saves memory, where it does not fit by itself; this makes it no other problem.
    """

    name: str
    split: str
    chunks: int
    candidate: Candidate | None
    note: str = ""
    placer: Placer | None = None
    flushes: bool = True
    savings: str = ""

    @property
    def remark(self) -> str:
        """What a reader should know of it: ``note`` and ``savings``."""
        return "; ".join(text for text in (self.note, self.savings) if text)

    @property
    def is_variant(self) -> bool:
        """Whether it solves another problem than the one asked for, as ``note`` says."""
        return self.candidate is not None and bool(self.note)

    def expand(self) -> Schedule | None:
        """Return the schedule just as the recipe made it; None where it does not fit."""
        if self.candidate is None or self.placer is None:
            return None
        return Finisher(self.placer).expand(self.candidate)


def no_pipeline(problem: Problem) -> str:
    """Return why hand-made pipeline schedules make no sense for a problem; empty if they do."""
    kinds = {operator.kind for operator in problem.graph.operators}
    if Kind.FORWARD not in kinds or not kinds & {Kind.BACKWARD, Kind.BACKWARD_INPUT}:
        return "the problem has no forward and backward passes"
    if problem.workload.microbatches < 2:
        return "the problem has one microbatch only"
    return ""


def is_pipeline(placer: Placer) -> bool:
    """Return whether hand-made pipeline schedules make sense: training, several microbatches."""
    return not no_pipeline(placer.problem)


def recipes_of(registry: Registry, names: Sequence[str] = ()) -> list[Strategy]:
    """Return the installed strategies that are hand-made schedules, or those of them in ``names``.

    Raises
    ------
    InputError
        If a name is of no strategy, or of one that is no schedule.
    """
    made = {
        name: guarded(registry.get("strategies", name), "parplan_strategies", entry.value)
        for name, entry in registry.strategies.items()
    }
    known = {name: one for name, one in made.items() if overrides(one, "shape", Strategy)}
    for name in names:
        if name not in known:
            registry.get("strategies", name)
            raise InputError(
                f"strategy '{name}' is no schedule; schedules are: {', '.join(sorted(known))}"
            )
    return [known[name] for name in dict.fromkeys(names)] if names else list(known.values())


def baselines(
    placer: Placer, recipes: Sequence[Strategy], deadline: float, seed: int
) -> Iterator[Baseline]:
    """Yield each recipe on the uniform and on the best split found by ``deadline``.

    A row takes the place of one before it of the same title and split. A recipe that does not apply
    has one row, which says why; what there was no time for has rows that say so, unless it is
    small.

    Parameters
    ----------
    deadline
        On ``parplan.clock``.
    """
    orders = device_orders(placer)
    if not orders[0]:
        yield from (Baseline(one.name, "", 1, None, NO_DEVICE_ALONE) for one in recipes)
        return
    jobs: list[FittedRecipe] = []
    for recipe in recipes:
        fitted = _fitted(placer, recipe, len(orders[0]))
        if isinstance(fitted, str):
            yield Baseline(recipe.name, "", 1, None, fitted)
        else:
            jobs += fitted
    trials: dict[FittedRecipe, Trial] = {}
    found = False

    def in_time(trial: Trial) -> bool:
        small = trial.job.placer.problem.task_count <= FEW_TASKS
        return not found or small or clock.now() < deadline

    for trial in _estimated(jobs, orders, deadline, seed):
        made = scheduled(trial, seed) if in_time(trial) else attrs.evolve(trial, made=NO_TIME)
        found = found or isinstance(made.made, RecipeSchedule)
        trials[trial.job] = made
        yield _row(made.job, BEST, made.made)
    for trial in trials.values():
        made_so = on_uniform_split(trial) if in_time(trial) else NO_TIME
        yield _row(trial.job, UNIFORM, made_so)
        if isinstance(made_so, RecipeSchedule):
            better = trial.or_better(orders[0], made_so)
            if better is not trial:
                trials[trial.job] = better
                yield _row(better.job, BEST, better.made)
    for trial in refined(list(trials.values()), deadline, seed):
        yield _row(trial.job, BEST, trial.made)


def _estimated(
    jobs: Sequence[FittedRecipe], orders: Sequence[tuple[int, ...]], deadline: float, seed: int
) -> list[Trial]:
    """Return the jobs, the most promising first; what there is no time to estimate comes last."""
    sums: dict[Placer, BlockFigures] = {}
    until = clock.now() + ESTIMATE_SHARE * (deadline - clock.now())
    found: list[Trial] = []
    # Recipes whose orders depend on times take longer.
    for job in sorted(jobs, key=lambda job: overrides(job.recipe, "timed_orders", Strategy)):
        if job.placer not in sums:
            sums[job.placer] = block_figures(job.placer)
        in_time = not found or clock.now() < until
        trial = Trial(job, sums[job.placer], orders)
        found.append(estimated(trial, seed) if in_time else trial)
    return sorted(found, key=lambda trial: trial.rank)


def _fitted(placer: Placer, recipe: Strategy, devices: int) -> list[FittedRecipe] | str:
    """Return a recipe with every shape that it may have, or why it has none."""
    found: list[FittedRecipe] = []
    refusal = ""
    for chunks in range(1, MOST_CHUNKS + 1):
        try:
            fitted = fit(placer, recipe, devices, chunks)
        except InputError as error:
            refusal = refusal or str(error)
        except Exception as error:  # noqa: BLE001  # somebody's code: its row says what it did
            return raised(error)
        else:
            found += [fitted] if fitted is not None else []
    microbatches = placer.problem.workload.microbatches
    none = f"does not apply to {devices} devices and {microbatches} microbatches"
    return found or refusal or none


def _row(job: FittedRecipe, split: str, made: RecipeSchedule | str) -> Baseline:
    name, chunks = job.recipe.name, job.chunks
    if isinstance(made, str):
        return Baseline(name, split, chunks, None, made)
    flushes, savings = job.recipe.flushes, made.savings
    return Baseline(name, split, chunks, made.candidate, job.note, made.placer, flushes, savings)


def title(baseline: Baseline) -> str:
    """Return the name of a hand-made schedule, with its stages per device where it has several.

    >>> title(Baseline("interleaved-1f1b", "best", 2, None))
    'interleaved-1f1b x2'
    """
    return baseline.name if baseline.chunks == 1 else f"{baseline.name} x{baseline.chunks}"


def baseline_row(
    baseline: Baseline, schedule: Schedule | None, bound_s: float | None
) -> dict[str, Any]:
    """Return the figures of a baseline and its schedule for the plan's provenance."""
    row: dict[str, Any] = {
        "name": title(baseline),
        "split": baseline.split,
        "chunks": baseline.chunks,
        "makespan_s": None,
        "bubble": None,
        "peak_memory_bytes": None,
        "gap": None,
        "variant": baseline.is_variant,
        "note": baseline.remark,
    }
    if schedule is not None:
        figures = summary(schedule)
        row["makespan_s"] = figures.makespan_s
        row["bubble"] = figures.bubble
        row["peak_memory_bytes"] = {d.name: d.peak_bytes for d in figures.devices}
        if bound_s is not None:
            row["gap"] = (figures.makespan_s - bound_s) / figures.makespan_s
    return row
