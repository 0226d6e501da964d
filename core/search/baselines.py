"""The hand-made schedules beside the plan: uniform and best contiguous splits, same rules."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen

from parplan.contracts import Strategy
from parplan.errors import InfeasibleError
from parplan.graph import Kind
from parplan.pipeline import PipelineShape
from parplan.reporting import summary
from parplan.rules import Rules, overrides
from parplan.search.evaluation import Candidate, Finisher, prepare, schedule_by_recipe
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


def is_pipeline(placer: Placer) -> bool:
    """Return whether hand-made pipeline schedules make sense: training, several microbatches."""
    kinds = {operator.kind for operator in placer.problem.graph.operators}
    backward = {Kind.BACKWARD, Kind.BACKWARD_INPUT}
    return (
        Kind.FORWARD in kinds
        and bool(kinds & backward)
        and placer.problem.workload.microbatches > 1
        and placer.problem.workload.group_count == 1
        and not placer.problem.workload.steady_state
    )


def baselines(
    placer: Placer, recipes: Sequence[Strategy], deadline: float, seed: int
) -> Iterator[Baseline]:
    """Yield each recipe on the uniform and on the best split found by ``deadline``.

    The time is shared equally; ``deadline`` is on ``time.monotonic``'s clock.
    """
    microbatches = placer.problem.workload.microbatches
    orders = device_orders(placer)
    jobs: list[tuple[Strategy, int, PipelineShape]] = []
    for recipe in recipes:
        if not overrides(recipe, "shape", Strategy):
            continue
        for chunks in range(1, MOST_CHUNKS + 1):
            try:
                shape = recipe.shape(len(orders[0]), microbatches, chunks)
            except Exception as error:  # noqa: BLE001  # somebody's code: its row says what it did
                yield Baseline(recipe.name, "", chunks, None, _raised(error))
                break
            if shape is not None and shape.stages <= len(placer.blocks):
                jobs.append((recipe, chunks, shape))
    for number, (recipe, chunks, shape) in enumerate(jobs):
        uniform = uniform_split(placer, _stages(orders[0], shape))
        yield _baseline(placer, recipe, shape, chunks, uniform, "uniform")
        share = (deadline - time.monotonic()) / (len(jobs) - number)
        until = time.monotonic() + max(share, 0.0)
        yield _best_split(placer, recipe, shape, chunks, orders, until, seed)


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


def _baseline(
    placer: Placer,
    recipe: Strategy,
    shape: PipelineShape,
    chunks: int,
    placement: Placement | None,
    name: str,
) -> Baseline:
    if placement is None:
        return Baseline(recipe.name, name, chunks, None, "some block cannot run on its device")
    found = _try(placer, recipe, shape, placement)
    if isinstance(found, str):
        return Baseline(recipe.name, name, chunks, None, found)
    return Baseline(recipe.name, name, chunks, found)


def _best_split(
    placer: Placer,
    recipe: Strategy,
    shape: PipelineShape,
    chunks: int,
    orders: Sequence[tuple[int, ...]],
    until: float,
    seed: int,
) -> Baseline:
    """Return the best of the balanced splits of every order, improved by shifting cuts."""
    starts = []
    note = "no contiguous split fits the devices"
    for order in orders:
        stages = _stages(order, shape)
        # What balances load alone may not fit memory: leave room for more and more microbatches.
        for in_flight in range(0, 2 * shape.devices + 1, max(1, shape.devices // 4)):
            placement = split(placer, stages, in_flight)
            found = None if placement is None else _try(placer, recipe, shape, placement)
            if isinstance(found, str):
                note = found
            elif found is not None:
                starts.append(found)
                break
        else:
            placement = uniform_split(placer, stages)
            found = None if placement is None else _try(placer, recipe, shape, placement)
            if isinstance(found, Candidate):
                starts.append(found)
    if not starts:
        return Baseline(recipe.name, "best", chunks, None, note)

    def step(current: Candidate, random_: random.Random) -> Candidate | None:
        placement = near_placement(placer, current.prepared.placement, random_)
        found = None if placement is None else _try(placer, recipe, shape, placement)
        return None if isinstance(found, str) else found

    best = anneal(min(starts, key=lambda c: c.makespan), step, until, seed)
    return Baseline(recipe.name, "best", chunks, best)


def baseline_row(
    placer: Placer, rules: Rules, baseline: Baseline, bound_s: float | None
) -> dict[str, Any]:
    """Return the figures of a baseline for the plan's provenance."""
    row: dict[str, Any] = {
        "name": baseline.name if baseline.chunks == 1 else f"{baseline.name} x{baseline.chunks}",
        "split": baseline.split,
        "chunks": baseline.chunks,
        "makespan_s": None,
        "bubble": None,
        "peak_memory_bytes": None,
        "gap": None,
        "note": baseline.note,
    }
    if baseline.candidate is not None:
        schedule = Finisher(placer).expand(baseline.candidate)
        figures = summary(schedule)
        row["makespan_s"] = figures.makespan_s
        row["bubble"] = figures.bubble
        row["peak_memory_bytes"] = {d.name: d.peak_bytes for d in figures.devices}
        if bound_s is not None:
            row["gap"] = (figures.makespan_s - bound_s) / figures.makespan_s
    return row
