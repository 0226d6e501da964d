"""The hand-made schedules beside the plan: uniform and best contiguous splits, same rules."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen

from parplan.contracts import Strategy
from parplan.errors import InputError
from parplan.graph import Kind
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.reporting import summary
from parplan.rules import guarded, overrides
from parplan.schedule import Schedule
from parplan.search.evaluation import Candidate, Finisher
from parplan.search.improvement import anneal
from parplan.search.placement import Placer
from parplan.search.recipes import (
    FittedRecipe,
    RecipeSchedule,
    Stages,
    balanced,
    fit,
    near,
    schedule,
    uniform,
)
from parplan.search.splits import device_orders

MOST_CHUNKS = 4
"""Most stages per device that hand-made schedules are tried with."""


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
    """

    name: str
    split: str
    chunks: int
    candidate: Candidate | None
    note: str = ""
    placer: Placer | None = None

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
    if problem.workload.steady_state:
        return "the problem is a steady state, without a flush"
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

    A recipe that does not apply has one row, which says why. The time is shared equally;
    ``deadline`` is on ``time.monotonic``'s clock.
    """
    orders = device_orders(placer)
    jobs: list[FittedRecipe] = []
    for recipe in recipes:
        fitted = _fitted(placer, recipe, len(orders[0]))
        if isinstance(fitted, str):
            yield Baseline(recipe.name, "", 1, None, fitted)
        else:
            jobs += fitted
    for number, job in enumerate(jobs):
        first = _try(job, orders[0], uniform(job))
        yield _row(job, "uniform", first)
        share = (deadline - time.monotonic()) / (len(jobs) - number)
        until = time.monotonic() + max(share, 0.0)
        yield _row(job, "best", _best(job, orders, first, until, seed))


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
            return _raised(error)
        else:
            found += [fitted] if fitted is not None else []
    microbatches = placer.problem.workload.microbatches
    none = f"does not apply to {devices} devices and {microbatches} microbatches"
    return found or refusal or none


def _try(job: FittedRecipe, order: Sequence[int], stages: Stages) -> RecipeSchedule | str:
    """Return the recipe's schedule on a split, or why there is none."""
    try:
        return schedule(job, order, stages)
    except Exception as error:  # noqa: BLE001  # somebody's code: its row says what it did
        return _raised(error)


def _raised(error: Exception) -> str:
    return f"raised {type(error).__name__}: {error}"


def _row(job: FittedRecipe, split: str, made: RecipeSchedule | str) -> Baseline:
    name, chunks = job.recipe.name, job.chunks
    if isinstance(made, str):
        return Baseline(name, split, chunks, None, made)
    return Baseline(name, split, chunks, made.candidate, job.note, made.placer)


def _best(
    job: FittedRecipe,
    orders: Sequence[tuple[int, ...]],
    first: RecipeSchedule | str,
    until: float,
    seed: int,
) -> RecipeSchedule | str:
    """Return the best of the uniform and the balanced splits, improved by shifting cuts."""
    starts = [] if isinstance(first, str) else [(orders[0], first)]
    note = "no contiguous split fits the devices"
    for order in orders:
        if starts and time.monotonic() > until:
            break
        found = _balanced(job, order)
        if isinstance(found, str):
            note = found or note
        else:
            starts.append((order, found))
    if not starts:
        return note
    order, start = min(starts, key=lambda entry: entry[1].figure)

    def step(current: RecipeSchedule, random_: random.Random) -> RecipeSchedule | None:
        stages = near(tuple(current.candidate.prepared.stage_of_block), random_)
        found = None if stages is None else _try(job, order, stages)
        return None if isinstance(found, str) else found

    return anneal(start, step, until, seed)


def _balanced(job: FittedRecipe, order: Sequence[int]) -> RecipeSchedule | str:
    """Return a schedule on a split that balances load, or why there is none (empty: no split)."""
    note = ""
    # What balances load alone may not fit memory: leave room for more and more microbatches.
    devices = job.shape.devices
    for in_flight in range(0, 2 * devices + 1, max(1, devices // 4)):
        stages = balanced(job, order, in_flight)
        found = "" if stages is None else _try(job, order, stages)
        if not isinstance(found, str):
            return found
        note = found or note
    found = _try(job, order, uniform(job))  # of this order of devices
    return found or note


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
        "note": baseline.note,
    }
    if schedule is not None:
        figures = summary(schedule)
        row["makespan_s"] = figures.makespan_s
        row["bubble"] = figures.bubble
        row["peak_memory_bytes"] = {d.name: d.peak_bytes for d in figures.devices}
        if bound_s is not None:
            row["gap"] = (figures.makespan_s - bound_s) / figures.makespan_s
    return row
