"""Family piper: tensor parallelism, data parallelism and recomputation for every stage.

The reference is an exhaustive search over the degrees of all stages: for each sequence of degrees
that the devices allow, the best cuts of the layers in their order, by dynamic programming. It knows
nothing of parplan. What a plan takes is told by Piper's formula, too (``piper_s``); its own value,
which is compared, is no better: see ``benchmarks.piper_files``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from benchmarks.cases import Case, Context, Outcome
from benchmarks.piper_files import Choice, Degrees, Layers, problem_of, read_layers
from parplan.api import load_registry, plan
from parplan.schedule import Schedule

FOLDER = "piper/inputs"

WORKLOADS = ("bert32a100", "resnet")

PLUGIN = "benchmarks.piper_rule"

LIMIT_S = 60.0


@frozen
class Stage:
    """Layers ``first`` up to ``end``, with the choice of each."""

    first: int
    end: int
    degrees: Degrees
    choices: tuple[Choice, ...]


def cases(_: Path | None = None) -> tuple[Case, ...]:
    """Return a case for each workload."""
    return tuple(
        Case(
            f"piper/{name}",
            partial(workload_case, name),
            needs=f"{FOLDER}/{name}.json",
            time_limit_s=LIMIT_S,
        )
        for name in WORKLOADS
    )


def workload_case(name: str, context: Context) -> Outcome:
    """Plan a workload, and search all degrees."""
    layers = read_layers(context.file(f"{FOLDER}/{name}.json"))
    registry = load_registry([PLUGIN])
    found = plan(problem_of(layers), registry=registry, time_limit_s=context.time_limit_s)
    best = exhaustive(layers)
    return Outcome(
        plan=found,
        registry=registry,
        reference=time_per_sample(layers, best),
        reference_source="exhaustive search over degrees on the chain of layers",
        details={
            "piper_s": time_per_sample(layers, stages_of(layers, found.schedule)),
            "stages": [[s.end - s.first, s.degrees.t, s.degrees.d] for s in best],
        },
    )


def time_per_sample(layers: Layers, stages: Sequence[Stage]) -> float:
    """Return what Piper's formula says of stages; infinite if one does not fit.

    Stages come in the order of the layers, each with all of its layers in a row.
    """
    worst = 0.0
    for index, stage in enumerate(stages):
        degrees, inside = stage.degrees, range(stage.first, stage.end)
        under_way = math.ceil(sum(s.degrees.d for s in stages[index:]) / degrees.d)
        if sum(c.a * under_way + c.b for c in stage.choices) > layers.memory:
            return math.inf
        seconds = sum(layers.seconds(choice, degrees) for choice in stage.choices)
        for e, (u, v, _) in enumerate(layers.edges):
            seconds += layers.sent(e, degrees) if u in inside and v not in inside else 0.0
            seconds += layers.received(e, degrees) if v in inside and u not in inside else 0.0
        worst = max(worst, seconds)
    return worst


def stages_of(layers: Layers, schedule: Schedule) -> list[Stage]:
    """Return the stages of a plan: layers in a row on one group of devices, in one pair of degrees.

    Raises
    ------
    AssertionError
        If the plan is no pipeline: a stage in two pairs of degrees, or two stages on one device.
    """
    problem = schedule.problem
    tasks = zip(schedule.tasks.operator.tolist(), schedule.tasks.alternative.tolist(), strict=True)
    stages: list[tuple[tuple[int, ...], Degrees, list[int], list[Choice]]] = []
    for operator, row in sorted(tasks):
        alternative = problem.alternatives[operator][row]
        t, d, name = problem.graph.operators[operator].modes[alternative.mode].name.split(" ", 2)
        degrees = Degrees(int(t[1:]), int(d[1:]))
        choice = next(c for c in layers.choices[operator][degrees.t] if c.name == name)
        if not stages or stages[-1][:2] != (alternative.devices, degrees):
            stages.append((alternative.devices, degrees, [], []))
        stages[-1][2].append(operator)
        stages[-1][3].append(choice)
    used = [device for devices, *_ in stages for device in devices]
    assert len(set(used)) == len(used), "two stages share a device"
    return [Stage(own[0], own[-1] + 1, g, tuple(choices)) for _, g, own, choices in stages]


def exhaustive(layers: Layers) -> list[Stage]:
    """Return the stages with the least time per sample, over all sequences of degrees.

    Layers lie in their order. For every sequence the cuts are the best ones, where each stage takes
    the fastest choices, or if these do not fit, as many others as it needs, those first that cost
    least time per byte (as Piper does).
    """
    tables: dict[tuple[Degrees, int], NDArray[np.float64]] = {}
    best: list[Stage] = []
    least = math.inf
    for sequence in sorted(_sequences(layers, layers.devices), key=len):
        under_way = [
            math.ceil(sum(g.d for g in sequence[i:]) / g.d) for i, g in enumerate(sequence)
        ]
        keys = list(zip(sequence, under_way, strict=True))
        for key in keys:
            if key not in tables:
                tables[key] = _table(layers, *key, least)
        cuts = _best_cuts([tables[key] for key in keys], least)
        if cuts is not None:
            edges = itertools.pairwise(cuts)
            best = [
                Stage(first, end, g, _chosen(layers, g, y, first, end) or ())
                for (first, end), (g, y) in zip(edges, keys, strict=True)
            ]
            least = time_per_sample(layers, best)
    return best


def _sequences(layers: Layers, devices: int) -> Iterator[tuple[Degrees, ...]]:
    """Yield the degrees of every sequence of stages on so many devices, or fewer."""
    for degrees in layers.degrees:
        if degrees.devices <= devices:
            yield (degrees,)
            for rest in _sequences(layers, devices - degrees.devices):
                yield (degrees, *rest)


def _chosen(
    layers: Layers, degrees: Degrees, under_way: int, first: int, end: int
) -> tuple[Choice, ...] | None:
    """Return the choice of each layer of a stage; None if no choices fit."""
    rows = [layers.choices[v][degrees.t] for v in range(first, end)]
    chosen = [min(row, key=lambda c: layers.seconds(c, degrees)) for row in rows]
    too_much = sum(c.a * under_way + c.b for c in chosen) - layers.memory
    swaps: list[tuple[float, int, Choice]] = []
    for i, row in enumerate(rows):
        for choice in row:
            saved = (chosen[i].a - choice.a) * under_way + chosen[i].b - choice.b
            if saved > 0:
                lost = layers.seconds(choice, degrees) - layers.seconds(chosen[i], degrees)
                swaps.append((lost / saved, i, choice))
    for _, i, choice in sorted(swaps, key=lambda swap: swap[0]):
        if too_much <= 0:
            break
        too_much -= (chosen[i].a - choice.a) * under_way + chosen[i].b - choice.b
        chosen[i] = choice
    return None if too_much > 0 else tuple(chosen)


def _table(layers: Layers, degrees: Degrees, under_way: int, most: float) -> NDArray[np.float64]:
    """Return the time per sample of layers i..j-1 as ``[i, j]``; infinite where above ``most``."""
    count = len(layers.choices)
    rows = [layers.choices[v][degrees.t] for v in range(count)]
    fastest = [min(row, key=lambda c: layers.seconds(c, degrees)) for row in rows]
    sums = np.cumsum([0.0, *(layers.seconds(c, degrees) for c in fastest)])
    held = np.cumsum([0.0, *(c.a * under_way + c.b for c in fastest)])
    exchanged = np.zeros((count + 1, count + 1))
    for e, (u, v, _) in enumerate(layers.edges):
        exchanged[: u + 1, u + 1 : v + 1] += layers.sent(e, degrees)
        exchanged[u + 1 : v + 1, v + 1 :] += layers.received(e, degrees)
    table: NDArray[np.float64] = sums[None, :] - sums[:, None] + exchanged
    table[np.tril_indices(count + 1)] = np.inf
    table[table > most] = np.inf
    full = np.argwhere(np.isfinite(table) & (held[None, :] - held[:, None] > layers.memory))
    for first, end in full.tolist():
        choices = _chosen(layers, degrees, under_way, first, end)
        seconds = math.inf
        if choices is not None:
            seconds = sum(layers.seconds(c, degrees) for c in choices) + exchanged[first, end]
        table[first, end] = seconds
    return table


def _best_cuts(tables: Sequence[NDArray[np.float64]], most: float) -> list[int] | None:
    """Return where the stages begin and the last one ends, if the slowest takes less than that."""
    count = len(tables[0]) - 1
    best = np.full(count + 1, np.inf)
    best[0] = 0.0
    begins: list[NDArray[Any]] = []
    for table in tables:
        worst = np.maximum(best[:, None], table)
        begins.append(worst.argmin(axis=0))
        best = worst.min(axis=0)
    if not best[count] < most:
        return None
    cuts = [count]
    for begin in reversed(begins):
        cuts.append(int(begin[cuts[-1]]))
    return cuts[::-1]
