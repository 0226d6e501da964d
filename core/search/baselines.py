"""The hand-made schedules beside the plan: uniform and best contiguous splits, same rules."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen

from parplan.contracts import Strategy
from parplan.errors import InfeasibleError, InputError
from parplan.graph import Kind
from parplan.pipeline import PipelineShape
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.reporting import summary
from parplan.rules import guarded, overrides
from parplan.schedule import Schedule
from parplan.search.evaluation import Candidate, prepare, schedule_by_recipe
from parplan.search.improvement import anneal, near_placement
from parplan.search.placement import Placement, Placer
from parplan.search.splits import device_orders, split, uniform_split

MOST_CHUNKS = 4
"""Most stages per device that hand-made schedules are tried with."""


@frozen(eq=False)
class Baseline:
    """One hand-made schedule: which recipe on which split, and what came of it.

    Attributes
    ----------
    candidate
        None where the recipe does not fit; ``note`` says why.
    """

    name: str
    split: str
    chunks: int
    candidate: Candidate | None
    note: str = ""


def no_pipeline(problem: Problem) -> str:
    """Return why hand-made pipeline schedules make no sense for a problem; empty if they do."""
    kinds = {operator.kind for operator in problem.graph.operators}
    if Kind.FORWARD not in kinds or not kinds & {Kind.BACKWARD, Kind.BACKWARD_INPUT}:
        return "the problem has no forward and backward passes"
    if problem.workload.microbatches < 2:
        return "the problem has one microbatch only"
    if problem.workload.steady_state:
        return "the problem is a steady state, without a flush"
    if problem.workload.group_count > 1:
        return "the problem has several placement groups"
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
    known = {
        name: recipe
        for name, entry in registry.strategies.items()
        if overrides(recipe := guarded(entry, "parplan_strategies", entry.value), "shape", Strategy)
    }
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
    jobs: list[tuple[Strategy, int, PipelineShape]] = []
    for recipe in recipes:
        shapes = _shapes(placer, recipe, len(orders[0]))
        if isinstance(shapes, str):
            yield Baseline(recipe.name, "", 1, None, shapes)
        else:
            jobs += [(recipe, chunks, shape) for chunks, shape in shapes]
    for number, (recipe, chunks, shape) in enumerate(jobs):
        uniform = _uniform_split(placer, recipe, shape, chunks, orders[0])
        yield uniform
        share = (deadline - time.monotonic()) / (len(jobs) - number)
        until = time.monotonic() + max(share, 0.0)
        yield _best_split(placer, recipe, shape, chunks, orders, uniform, until, seed)


def _shapes(
    placer: Placer, recipe: Strategy, devices: int
) -> list[tuple[int, PipelineShape]] | str:
    """Return (stages per device, shape) of every shape that a recipe may have, or why none."""
    microbatches, blocks = placer.problem.workload.microbatches, len(placer.blocks)
    found: list[tuple[int, PipelineShape]] = []
    too_deep = ""
    for chunks in range(1, MOST_CHUNKS + 1):
        try:
            shape = recipe.shape(devices, microbatches, chunks)
        except Exception as error:  # noqa: BLE001  # somebody's code: its row says what it did
            return _raised(error)
        if shape is not None and shape.stages <= blocks:
            found.append((chunks, shape))
        elif shape is not None and not too_deep:
            too_deep = f"needs {shape.stages} stages; the model has {blocks} blocks"
    refusal = f"does not apply to {devices} devices and {microbatches} microbatches"
    return found or too_deep or refusal


def _stages(order: Sequence[int], shape: PipelineShape) -> tuple[int, ...]:
    return tuple(order[rank] for rank in shape.placement)


def _try(
    placer: Placer, recipe: Strategy, shape: PipelineShape, placement: Placement
) -> Candidate | str:
    """Return the recipe's schedule on a split, or why there is none."""
    if len(placer.chunks(placement)) != shape.stages:
        return "fewer stages than the recipe needs"
    try:
        prepared = prepare(placer, placement)
    except InfeasibleError as error:
        return str(error)
    try:
        found = schedule_by_recipe(prepared, recipe, shape)
    except Exception as error:  # noqa: BLE001  # somebody's code: its row says what it did
        return _raised(error)
    return "does not fit memory" if found is None else found


def _raised(error: Exception) -> str:
    return f"raised {type(error).__name__}: {error}"


def _uniform_split(
    placer: Placer, recipe: Strategy, shape: PipelineShape, chunks: int, order: Sequence[int]
) -> Baseline:
    placement = uniform_split(placer, _stages(order, shape))
    if placement is None:
        note = "some block cannot run on its device"
        return Baseline(recipe.name, "uniform", chunks, None, note)
    found = _try(placer, recipe, shape, placement)
    if isinstance(found, str):
        return Baseline(recipe.name, "uniform", chunks, None, found)
    return Baseline(recipe.name, "uniform", chunks, found)


def _best_split(
    placer: Placer,
    recipe: Strategy,
    shape: PipelineShape,
    chunks: int,
    orders: Sequence[tuple[int, ...]],
    uniform: Baseline,
    until: float,
    seed: int,
) -> Baseline:
    """Return the best of the uniform and the balanced splits, improved by shifting cuts."""
    starts = [] if uniform.candidate is None else [uniform.candidate]
    note = "no contiguous split fits the devices"
    for order in orders:
        if starts and time.monotonic() > until:
            break
        found = _balanced(placer, recipe, shape, _stages(order, shape))
        if isinstance(found, Candidate):
            starts.append(found)
        elif found:
            note = found
    if not starts:
        return Baseline(recipe.name, "best", chunks, None, note)

    def step(current: Candidate, random_: random.Random) -> Candidate | None:
        placement = near_placement(placer, current.prepared.placement, random_)
        found = None if placement is None else _try(placer, recipe, shape, placement)
        return None if isinstance(found, str) else found

    best = anneal(min(starts, key=lambda c: c.makespan), step, until, seed)
    return Baseline(recipe.name, "best", chunks, best)


def _balanced(
    placer: Placer, recipe: Strategy, shape: PipelineShape, stages: tuple[int, ...]
) -> Candidate | str:
    """Return a schedule on a split that balances load, or why there is none (empty: no split)."""
    note = ""
    # What balances load alone may not fit memory: leave room for more and more microbatches.
    for in_flight in range(0, 2 * shape.devices + 1, max(1, shape.devices // 4)):
        placement = split(placer, stages, in_flight)
        found = "" if placement is None else _try(placer, recipe, shape, placement)
        if isinstance(found, Candidate):
            return found
        note = found or note
    placement = uniform_split(placer, stages)  # of this order of devices
    found = "" if placement is None else _try(placer, recipe, shape, placement)
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
